"""Exams of synthetic views on disk, dark or bright: a brightness package flags the bright."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.support.synthetic import breast_pixels, mammogram_dataset, write

VIEWS = ("RCC", "LCC", "RMLO", "LMLO")
DARK, BRIGHT = 0.5, 1.0


@dataclass(frozen=True)
class ExamFiles:
    """One exam on disk."""

    study_uid: str
    files: dict[str, Path]


def write_exam(
    folder: Path,
    seed: int,
    *,
    views: tuple[str, ...] = VIEWS,
    light: float = DARK,
    rows: int = 512,
    columns: int = 416,
    transfer_syntax: str = ExplicitVRLittleEndian,
    **options: object,
) -> ExamFiles:
    """Writes the views of an exam; `light` scales the tissue of all of them."""
    study_uid = generate_uid(entropy_srcs=["exam", str(seed)])
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for number, view in enumerate(views):
        pixels = breast_pixels(
            rows=rows, columns=columns, laterality=view[0], view=view[1:], seed=seed * 10 + number
        )
        ds = mammogram_dataset(
            laterality=view[0],
            view=view[1:],
            pixels=(pixels * light).astype(np.uint16),
            study_uid=study_uid,
            sop_uid=generate_uid(entropy_srcs=["image", str(seed), view]),
            seed=seed,
            **options,
        )
        path = folder / f"exam{seed}-{view}.dcm"
        files[view] = write(ds, path, transfer_syntax=transfer_syntax)
    return ExamFiles(study_uid=study_uid, files=files)
