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


# --- which patient -------------------------------------------------------------------------------


def patient_in(path, **elements):
    """What is compared of a file with these elements."""
    ds = dcmread(path)
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.save_as(path)
    with path.open("rb") as stream:
        return read_arrived_file(stream, ()).patient


LATIN, UTF_8, JAPANESE = "ISO_IR 100", "ISO_IR 192", ["", "ISO 2022 IR 87"]
# Two ways to write one patient.
SAME = {
    "case": ({"PatientName": "DOE^JANE"}, {"PatientName": "Doe^Jane"}),
    "carets at the end": ({"PatientName": "Doe^Jane^^^"}, {"PatientName": "Doe^Jane"}),
    "padding": ({"PatientName": " Doe ^Jane "}, {"PatientName": "Doe^Jane"}),
    "titles": ({"PatientName": "Doe^Jane^^Dr.^MD"}, {"PatientName": "Doe^Jane"}),
    "character set": (
        {"SpecificCharacterSet": LATIN, "PatientName": "Müller^Åsa"},
        {"SpecificCharacterSet": UTF_8, "PatientName": "MÜLLER^ÅSA"},
    ),
    "ideographs beside the letters": (
        {"SpecificCharacterSet": JAPANESE, "PatientName": "Yamada^Tarou=山田^太郎"},
        {"PatientName": "YAMADA^TAROU"},
    ),
    "letters of full width": (
        {"SpecificCharacterSet": UTF_8, "PatientName": "ＤＯＥ^ｊａｎｅ"},  # noqa: RUF001
        {"PatientName": "Doe^Jane"},
    ),
    "accents in two forms": (
        {"SpecificCharacterSet": UTF_8, "PatientName": "Mu\N{COMBINING DIAERESIS}ller"},
        {"SpecificCharacterSet": LATIN, "PatientName": "Müller"},
    ),
    "number": ({"PatientID": " pid-7 "}, {"PatientID": "PID-7"}),
    "issuer": ({"IssuerOfPatientID": "Hospital  A"}, {"IssuerOfPatientID": "HOSPITAL A "}),
    "birth date of 1992": ({"PatientBirthDate": "1961.02.03"}, {"PatientBirthDate": "19610203"}),
    "a birth date that is none": ({"PatientBirthDate": "1961"}, {"PatientBirthDate": ""}),
}
DIFFERENT = {
    "name": ({"PatientName": "Doe^Jane"}, {"PatientName": "Doe^Joan"}),
    "middle name": ({"PatientName": "Doe^Jane^A"}, {"PatientName": "Doe^Jane^B"}),
    "umlaut": (
        {"SpecificCharacterSet": LATIN, "PatientName": "Müller"},
        {"PatientName": "Muller"},
    ),
    "number": ({"PatientID": "PID-7"}, {"PatientID": "PID-07"}),
    "issuer": ({"IssuerOfPatientID": "A"}, {"IssuerOfPatientID": "B"}),
    "birth date": ({"PatientBirthDate": "19610203"}, {"PatientBirthDate": "19610302"}),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_one_patient_written_in_two_ways_is_one(file, one, other):
    """PS3.5 6.2: what pads, and what only looks different."""
    assert patient_in(file, **one) == patient_in(file, **other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_another_patient_is_another(file, one, other):
    """What is left differs."""
    assert patient_in(file, **one) != patient_in(file, **other)


def test_utf_8_without_its_name_is_read(file):
    """A frequent omission: the bytes decide where no character set is named."""
    content = patient_in(file, SpecificCharacterSet=UTF_8, PatientName="Müller^Åsa")
    raw = file.read_bytes().replace(b"ISO_IR 192", b" " * 10)
    file.write_bytes(raw)
    with file.open("rb") as stream:
        assert read_arrived_file(stream, ()).patient == content


def test_a_name_that_its_character_set_does_not_have_says_nothing(file):
    """Rather no witness than a false one."""
    patient_in(file, SpecificCharacterSet=LATIN, PatientName="Müller^Åsa")
    file.write_bytes(file.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 192"))
    with file.open("rb") as stream:
        assert read_arrived_file(stream, ()).patient.name == ""


def test_the_patient_cannot_be_logged_by_accident(file):
    """Its repr is empty."""
    assert repr(patient_in(file, PatientName="Doe^Jane")) == "PatientFacts()"
