"""Where the lesion crops of CBIS-DDSM lie in the whole views of 1 mm per pixel.

The views come without the lesions' places and without a scale. The crops of the same breast and
view hold both: each is shrunk, mirrored or not, and slid over the view; where the correlation is
highest, there it was cut out. The correlation ignores how each of the two was contrast-scaled.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.training.data.preparation import Picture

SCALES = tuple(float(s) for s in np.geomspace(0.04, 0.066, 11))
"""View pixels for a crop's pixel, down the rows: views of 3,900 to 6,400 scanned rows."""
WIDTH_RATIOS = (0.87, 0.93, 1.0, 1.07)
SMALLEST_PX = 5
SHRINK_FIRST = 0.25
"""The crops are 16 to 25 times finer than the views: most of the way once for all scales."""
LARGEST_SHARE = 0.9
LEAST_CORRELATION = 0.95
LEAST_DEVIATION = 2 / 255
"""Of a place that can be compared with anything."""


@dataclass(frozen=True, kw_only=True)
class CropPlace:
    """Box of a crop in its view, in the view's pixels, and how surely it lies there.

    `scale` and `width_ratio` are view pixels for a crop's pixel down the rows, and how much
    narrower the columns are; `correlation` is at most 1.
    """

    view: str
    crop: str
    top: int
    left: int
    rows: int
    columns: int
    scale: float
    width_ratio: float
    correlation: float

    @property
    def is_sure(self) -> bool:
        """Whether the correlation leaves little doubt (98 of 100 crops do better)."""
        return self.correlation >= LEAST_CORRELATION


def place_crop(view: Picture, crop: Picture, *, names: tuple[str, str]) -> CropPlace | None:
    """The best place of `crop` in `view`; None where no size of it fits. `names` of view, crop."""
    small = cv2.resize(crop, None, fx=SHRINK_FIRST, fy=SHRINK_FIRST, interpolation=cv2.INTER_AREA)
    best: CropPlace | None = None
    for pattern in (small, np.ascontiguousarray(small[:, ::-1])):
        for scale in SCALES:
            for ratio in WIDTH_RATIOS:
                rows = round(crop.shape[0] * scale)
                columns = round(crop.shape[1] * scale * ratio)
                fits = rows < view.shape[0] * LARGEST_SHARE
                fits = fits and columns < view.shape[1] * LARGEST_SHARE
                if min(rows, columns) < SMALLEST_PX or not fits:
                    continue
                shrunk = cv2.resize(pattern, (columns, rows), interpolation=cv2.INTER_AREA)
                found = cv2.matchTemplate(view, shrunk, cv2.TM_CCOEFF_NORMED)
                # Over flat background the correlation is 0 / 0, for which OpenCV may say 1.
                found = np.where(_varies(view, rows, columns), found, -1.0)
                top, left = (int(i) for i in np.unravel_index(found.argmax(), found.shape))
                if best is None or found[top, left] > best.correlation:
                    best = CropPlace(
                        view=names[0],
                        crop=names[1],
                        top=top,
                        left=left,
                        rows=rows,
                        columns=columns,
                        scale=scale,
                        width_ratio=ratio,
                        correlation=round(float(found[top, left]), 4),
                    )
    return best


def _varies(view: Picture, rows: int, columns: int) -> NDArray[np.bool_]:
    """Whether each box of that size within `view` differs by more than rounding does."""
    mean, square = (
        cv2.boxFilter(values, cv2.CV_64F, (columns, rows), anchor=(0, 0))
        for values in (view, view * view)
    )
    inside = slice(0, view.shape[0] - rows + 1), slice(0, view.shape[1] - columns + 1)
    return np.asarray((square - mean * mean)[inside] > LEAST_DEVIATION**2)


def write_places(path: Path, places: Iterable[CropPlace]) -> None:
    """Keep the places: to find them takes minutes. A search that is broken off leaves no file."""
    found = [asdict(place) for place in places]
    with path.open("w", newline="") as lines:
        writer = csv.DictWriter(
            lines, [field.name for field in fields(CropPlace)], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(found)


def read_places(path: Path) -> Sequence[CropPlace]:
    """What `write_places` wrote.

    Raises:
        ValueError: the file holds none, or no places.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            places = [_place(row) for row in csv.DictReader(lines)]
    except (KeyError, TypeError, ValueError, csv.Error) as fault:
        message = f"{path}: no places of lesion crops ({fault})"
        raise ValueError(message) from fault
    if not places:
        message = f"{path}: holds no place of a lesion crop; remove it to search again"
        raise ValueError(message)
    return places


def _place(row: dict[str, str]) -> CropPlace:
    return CropPlace(
        view=row["view"],
        crop=row["crop"],
        top=int(row["top"]),
        left=int(row["left"]),
        rows=int(row["rows"]),
        columns=int(row["columns"]),
        scale=float(row["scale"]),
        width_ratio=float(row["width_ratio"]),
        correlation=float(row["correlation"]),
    )
