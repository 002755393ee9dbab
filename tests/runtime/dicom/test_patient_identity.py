"""Whom an exam belongs to: read at the intake, shown on the page, and nowhere else."""

from __future__ import annotations

import pytest
from pydicom import dcmread

from runtime.dicom.patient_identity import (
    IdentityField,
    PatientIdentity,
    initials,
    read_patient_identity,
)
from tests.support.exams import write_exam

ALL = frozenset(IdentityField)


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
    identity = read_patient_identity(file, ALL)
    assert identity.accession_number == "ACC-0815"
    assert identity.initials == "Ö.Å."
    assert identity.study_time == "20260203040500"


def test_what_a_site_does_not_show_is_not_even_kept(file):
    """Of two fields that are off nothing is read."""
    identity = read_patient_identity(file, {IdentityField.INITIALS})
    assert identity == PatientIdentity(initials="Ö.Å.")
    assert read_patient_identity(file, ()) == PatientIdentity()


def test_it_cannot_be_logged_by_accident(file):
    """Its repr is empty."""
    assert repr(read_patient_identity(file, ALL)) == "PatientIdentity()"


def test_no_identity_is_no_reason_to_refuse_an_image(tmp_path):
    """Rubbish, a missing file, an unknown character set: empty fields."""
    rubbish = tmp_path / "rubbish.dcm"
    rubbish.write_bytes(b"no DICOM")
    assert read_patient_identity(rubbish, ALL) == PatientIdentity()
    assert read_patient_identity(tmp_path / "missing.dcm", ALL) == PatientIdentity()
    path = write_exam(tmp_path, 2, views=("RCC",)).files["RCC"]
    ds = dcmread(path)
    ds.AccessionNumber = "\x1b[31mred" + "x" * 500
    ds.save_as(path)
    assert read_patient_identity(path, ALL).accession_number == ("[31mred" + "x" * 500)[:64]


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
