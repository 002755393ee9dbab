"""What the radiologists wrote about a lesion, as 0/1 attributes beside its label.

Attributes are extra targets in training only: a network that must tell a spiculated margin from a
circumscribed one learns more from 2,000 lesions than their benign/malignant labels alone teach.
Source: the official CBIS-DDSM CSV files (BI-RADS lexicon).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MASS_WORDS = (
    "SPICULATED", "CIRCUMSCRIBED", "ILL_DEFINED", "OBSCURED", "MICROLOBULATED",
    "IRREGULAR", "OVAL", "ROUND", "LOBULATED", "ARCHITECTURAL_DISTORTION",
)  # fmt: skip
CALC_WORDS = (
    "PLEOMORPHIC", "AMORPHOUS", "PUNCTATE", "LUCENT_CENTER", "ROUND_AND_REGULAR",
    "FINE_LINEAR_BRANCHING", "VASCULAR", "COARSE", "CLUSTERED", "SEGMENTAL", "LINEAR", "REGIONAL",
)  # fmt: skip
ASSESSMENTS_FROM = (3, 4, 5)
ATTRIBUTES = (
    "is_mass", *MASS_WORDS, *CALC_WORDS, *(f"assessment_{grade}" for grade in ASSESSMENTS_FROM),
)  # fmt: skip
UNKNOWN = -1.0


class LesionKey(NamedTuple):
    """What identifies an abnormality in CBIS-DDSM."""

    kind: str
    patient: str
    side: str
    view: str
    abnormality: str


class Annotation(NamedTuple):
    """Attributes (0, 1 or UNKNOWN, in the order of ATTRIBUTES) and BI-RADS density (1 to 4)."""

    attributes: NDArray[np.float32]
    density: str


def key_of(path: Path) -> LesionKey:
    """Key from a crop's name, e.g. `mass/malignant/P_00001_LEFT_CC_3_1.jpg`."""
    parts = path.stem.split("_")
    return LesionKey(path.parent.parent.name, "_".join(parts[:2]), parts[2], parts[3], parts[-1])


def read_annotations(folder: Path) -> dict[LesionKey, Annotation]:
    """What the CSV files of `folder` say about each lesion."""
    found: dict[LesionKey, Annotation] = {}
    for kind in ("mass", "calc"):
        with (folder / f"{kind}_case_description_train_set.csv").open(
            encoding="utf-8-sig", newline=""
        ) as lines:
            for row in csv.DictReader(lines):
                key = LesionKey(
                    kind, row["patient_id"], row["left or right breast"], row["image view"],
                    row["abnormality id"],
                )  # fmt: skip
                # The two files spell this column differently.
                density = row.get("breast density") or row["breast_density"]
                found[key] = Annotation(_attributes(kind, row), density)
    return found


def _attributes(kind: str, row: Mapping[str, str]) -> NDArray[np.float32]:
    is_mass = kind == "mass"
    columns = ("mass margins", "mass shape") if is_mass else ("calc type", "calc distribution")
    words = {word for column in columns for word in row[column].split("-")}
    mass = [float(word in words) if is_mass else UNKNOWN for word in MASS_WORDS]
    calc = [UNKNOWN if is_mass else float(word in words) for word in CALC_WORDS]
    grade = int(row["assessment"])
    # BI-RADS 0 asks for more images: it is no grade.
    grades = [float(grade >= limit) if grade else UNKNOWN for limit in ASSESSMENTS_FROM]
    return np.array([float(is_mass), *mass, *calc, *grades], dtype=np.float32)
