"""Are the images of an exam those of one patient? Pure, and without knowing who that is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, kw_only=True)
class PatientKeys:
    """Keyed hashes of what an image says of its patient, normalised; "" where it says nothing."""

    patient_id: str = ""
    issuer: str = ""
    """Of the Patient ID (PS3.3 C.7.1.1): the same number of two issuers is two patients."""
    name: str = ""
    birth_date: str = ""

    def contradicts(self, other: PatientKeys) -> bool:
        """Whether the two are two patients: Patient ID decides, the rest only without it.

        What only one of them says is no contradiction.
        """
        if self.patient_id and other.patient_id:
            return self.patient_id != other.patient_id or _differ(self.issuer, other.issuer)
        return _differ(self.name, other.name) or _differ(self.birth_date, other.birth_date)


def two_patients(images: Collection[PatientKeys]) -> bool:
    """Whether any two of the images say that they are of different patients."""
    return any(one.contradicts(other) for one, other in combinations(set(images), 2))


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other
