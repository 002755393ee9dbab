"""Real radiographs of other parts of the body: a chest and a limb, from NEMA's sample images.

They come with the PyPI package `pydicom-data` (MIT), stored as MONOCHROME1.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import data_store
import numpy as np
from pydicom import dcmread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

    Picture = NDArray[np.float32]

FILES = {"chest": "RG1_UNCI.dcm", "limb": "RG3_UNCI.dcm"}


def radiographs() -> dict[str, Picture]:
    """Name and gray picture as it is read at the light box, 0 (black) to 1."""
    found = {}
    for name, file in FILES.items():
        stored = dcmread(Path(data_store.__file__).parent / "data" / file).pixel_array
        gray = stored.astype(np.float32)
        found[name] = (gray.max() - gray) / (gray.max() - gray.min())
    return found


def ways_to_lie(picture: Picture) -> Iterator[Picture]:
    """As it is, turned and mirrored; then all of it as a negative."""
    for shade in (picture, 1 - picture):
        for quarters in range(4):
            turned = np.rot90(shade, quarters)
            yield np.ascontiguousarray(turned)
            yield np.ascontiguousarray(turned[:, ::-1])


def piece(draw: Generator, picture: Picture) -> Picture:
    """Any part of it, at least a quarter of each side."""
    rows, columns = picture.shape
    high, wide = (int(draw.integers(side // 4, side)) for side in (rows, columns))
    top, left = int(draw.integers(0, rows - high)), int(draw.integers(0, columns - wide))
    return np.ascontiguousarray(picture[top : top + high, left : left + wide])
