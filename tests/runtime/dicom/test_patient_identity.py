"""Whom an exam belongs to: read at the intake, shown on the page, and nowhere else."""

from __future__ import annotations

import pytest
from pydicom import dcmread

from runtime.dicom.arrived_file import read_arrived_file
from runtime.dicom.header_reader import read_image_header
from runtime.dicom.patient_identity import IdentityField, PatientIdentity, initials
from tests.support.exams import write_exam

ALL = frozenset(IdentityField)


def identity_in(path, shown):
    """What the intake reads of it."""
    with path.open("rb") as stream:
        return read_arrived_file(stream, shown).identity


@pytest.fixture
def file(tmp_path):
    """A mammogram with an identity."""
    path = write_exam(tmp_path, 1, views=("RCC",)).files["RCC"]
    ds = dcmread(path)
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.AccessionNumber = "Östlund^Åsa", "ACC-0815"
    ds.StudyDate, ds.StudyTime = "20260203", "0405"
    ds.save_as(path)
    return path


def test_the_fields_that_a_site_shows_are_read(file):
    """Accession number, initials with their accents, time of the study."""
    identity = identity_in(file, ALL)
    assert identity.accession_number == "ACC-0815"
    assert identity.initials == "Ö.Å."
    assert identity.study_time == "20260203040500"


def test_what_a_site_does_not_show_is_not_even_kept(file):
    """Of two fields that are off nothing is read."""
    identity = identity_in(file, {IdentityField.INITIALS})
    assert identity == PatientIdentity(initials="Ö.Å.")
    assert identity_in(file, ()) == PatientIdentity()


def test_it_cannot_be_logged_by_accident(file):
    """Its repr is empty."""
    assert repr(identity_in(file, ALL)) == "PatientIdentity()"


def test_no_identity_is_no_reason_to_refuse_an_image(tmp_path, file):
    """A broken sequence where the name belongs: empty fields. Control characters go."""
    content = file.read_bytes()
    name = content.index(b"\x10\x00\x10\x00PN")
    length = int.from_bytes(content[name + 6 : name + 8], "little")
    hostile = b"\x10\x00\x10\x00SQ\x00\x00\x08\x00\x00\x00no items"
    file.write_bytes(content[:name] + hostile + content[name + 8 + length :])
    assert identity_in(file, ALL) == PatientIdentity()
    with file.open("rb") as stream:
        assert read_arrived_file(stream, ALL).header == read_image_header(file)
    path = write_exam(tmp_path, 2, views=("RCC",)).files["RCC"]
    ds = dcmread(path)
    ds.AccessionNumber = "\x1b[31mred" + "x" * 500
    ds.save_as(path)
    assert identity_in(path, ALL).accession_number == ("[31mred" + "x" * 500)[:64]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Müller^Anna Lena", "M.A."),
        ("Mononym", "M."),
        ("^Given", "G."),
        ("", ""),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Y.T."),
        ("van der Berg^ida^^Dr", "V.I."),
    ],
)
def test_initials(name, expected):
    """Family name, then given name, of the alphabetic group (PS3.5 6.2.1)."""
    assert initials(name) == expected
