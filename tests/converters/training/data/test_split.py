"""The split is by patient, disjoint, and the same on every machine."""

from __future__ import annotations

import csv
from pathlib import Path

from converters.training.data.split import is_validation, write_split

SPLIT = Path(__file__).parents[4] / "converters" / "training" / "split.csv"


def test_a_patient_is_always_on_one_side() -> None:
    """The identifier alone decides, so all images of a patient go together."""
    patients = [f"P_{number:05d}" for number in range(2000)]
    held = [is_validation(patient, share=0.2, seed=0) for patient in patients]
    assert held == [is_validation(patient, share=0.2, seed=0) for patient in patients]
    assert 340 < sum(held) < 460


def test_the_recorded_split_is_disjoint() -> None:
    """No patient trains and validates; mini-MIAS never trains, nor do the demo's patients."""
    with SPLIT.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    parts = {
        part: {(row["data_set"], row["patient"]) for row in rows if row["part"] == part}
        for part in ("training", "validation")
    }
    assert parts["training"]
    assert parts["validation"]
    assert not parts["training"] & parts["validation"]
    assert not any(name == "mini-mias" for name, _ in parts["training"])
    assert not {"P_00173", "P_00820"} & {patient for _, patient in parts["training"]}


def test_the_split_file_has_each_patient_once(tmp_path: Path) -> None:
    """Two images of one patient are one row."""
    path = tmp_path / "split.csv"
    write_split(path, [("a", "2", "training"), ("a", "1", "validation"), ("a", "2", "training")])
    assert path.read_text() == "data_set,patient,part\na,1,validation\na,2,training\n"
