"""One patient in an exam: Patient ID with its issuer decides, name and birth date without it."""

from __future__ import annotations

import pytest

from runtime.exam_rules.one_patient import PatientKeys, two_patients


def keys(patient_id="", issuer="", name="", birth_date=""):
    return PatientKeys(patient_id=patient_id, issuer=issuer, name=name, birth_date=birth_date)


# one image | the other | whether they are of two patients
PAIRS = {
    "nothing is said": (keys(), keys(), False),
    "one number": (keys("1"), keys("1"), False),
    "two numbers": (keys("1"), keys("2"), True),
    "one number, two names": (keys("1", name="a"), keys("1", name="b"), False),
    "two numbers, one name": (keys("1", name="a"), keys("2", name="a"), True),
    "one number of two issuers": (keys("1", "x"), keys("1", "y"), True),
    "one number, one issuer unsaid": (keys("1", "x"), keys("1"), False),
    "number in one only": (keys("1", name="a"), keys(name="a"), False),
    "number in one only, two names": (keys("1", name="a"), keys(name="b"), True),
    "issuers without numbers": (keys("", "x"), keys("", "y"), False),
    "no numbers, two names": (keys(name="a"), keys(name="b"), True),
    "no numbers, two birth dates": (
        keys(name="a", birth_date="1"),
        keys(name="a", birth_date="2"),
        True,
    ),
    "no numbers, one birth date unsaid": (keys(name="a", birth_date="1"), keys(name="a"), False),
    "name in one, birth date in the other": (keys(name="a"), keys(birth_date="1"), False),
}


@pytest.mark.parametrize(("one", "other", "two"), PAIRS.values(), ids=PAIRS)
def test_two_images_are_of_one_patient_or_of_two(one, other, two):
    """Whichever comes first; what is missing contradicts nothing."""
    assert one.contradicts(other) is two
    assert other.contradicts(one) is two


def test_any_two_of_an_exams_images_tell():
    """The first and the last contradict each other, those between say nothing."""
    one, silent = keys("1"), keys()
    assert not two_patients([])
    assert not two_patients([one, silent, one])
    assert two_patients([one, silent, silent, keys("2")])
