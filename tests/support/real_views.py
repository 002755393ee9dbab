"""Every real view that is at hand, and harder ones made of them; none of them may be lost."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from pydicom import dcmread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.float32]

PICTURE_SETS = ("mini-mias", "cdd-cesm-dm", "cbis-ddsm-mass-views-256")
MORE_PICTURE_SETS = ("cdd-cesm-dm-extra", "cdd-cesm-dm-malignant-512")
SAMPLES = (
    "fodicom_GH133_GE_Essential_MLO_R_ForPresentation_JPLL.dcm",
    "nema_wg04_MG1_J2KI.dcm",
    "nema_wg04_MG1_JPLY.dcm",
)
"""Of the DICOM samples those that show a whole breast (Siemens' is a stereotactic piece)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RealView:
    """A view as it is stored."""

    source: str
    name: str
    pixels: NDArray[np.uint16]
    """rows x columns."""
    bits_stored: int
    monochrome1: bool = False
    malignant: bool = False


def picture_views(shared: Path, name: str) -> Iterator[RealView]:
    """All views of a folder of 8-bit pictures with its labels."""
    folder = shared / name
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as opened:
        labels: dict[str, bool] = {}
        for row in csv.DictReader(opened):
            labels[row["file"]] = labels.get(row["file"], False) or row["label"] == "malignant"
    for file, malignant in sorted(labels.items()):
        path = folder / file if (folder / file).exists() else folder / "images" / file
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if gray is not None:
            pixels = gray.astype(np.uint16)
            yield RealView(
                source=name, name=file, pixels=pixels, bits_stored=8, malignant=malignant
            )


def dicom_view(path: Path, source: str) -> RealView:
    """The pixels of a DICOM file; needs the runtime's decoders."""
    ds = dcmread(path)
    return RealView(
        source=source,
        name=path.name,
        pixels=ds.pixel_array.astype(np.uint16),
        bits_stored=int(ds.BitsStored),
        monochrome1=ds.PhotometricInterpretation == "MONOCHROME1",
    )


def upright(view: RealView) -> Pixels:
    """0 to 1, air dark."""
    gray = view.pixels.astype(np.float32) / (2**view.bits_stored - 1)
    return 1 - gray if view.monochrome1 else gray


def tight(gray: Pixels) -> Pixels:
    """Cropped to where the breast is brighter than air, and half a millimetre into it."""
    small = cv2.resize(gray, (256, 256), interpolation=cv2.INTER_AREA)
    bright = (small * 255).astype(np.uint8)
    level, _ = cv2.threshold(bright, 0, 255, cv2.THRESH_OTSU)
    count, _, boxes, _ = cv2.connectedComponentsWithStats((bright > level * 0.5).astype("u1"))
    if count < 2:
        return gray
    left, top, wide, high, _ = boxes[1 + int(np.argmax(boxes[1:, cv2.CC_STAT_AREA]))]
    down, across = gray.shape[0] / 256, gray.shape[1] / 256
    rows = slice(int(top * down), int((top + high) * down))
    columns = slice(int(left * across), int((left + wide) * across))
    return np.ascontiguousarray(gray[rows, columns])


def padded(gray: Pixels) -> Pixels:
    """A quarter of its size (5 cm or more) of the darkest value above, below and opposite.

    The side that is brighter is the chest wall and stays at the border.
    """
    more = max(gray.shape) // 4
    ground = float(np.percentile(gray, 1))
    left = gray[:, : gray.shape[1] // 4].mean() > gray[:, -(gray.shape[1] // 4) :].mean()
    sides = (0, more) if left else (more, 0)
    return np.pad(gray, ((more, more), sides), constant_values=ground)


def labelled(gray: Pixels) -> Pixels:
    """A bright marker in a free corner, a number beside it, and a frame of two pixels."""
    out = gray.copy()
    rows, columns = gray.shape
    left = gray[:, : columns // 4].mean() > gray[:, -(columns // 4) :].mean()
    wide, high = columns // 7, rows // 16
    column = columns - wide - columns // 30 if left else columns // 30
    out[rows // 30 : rows // 30 + high, column : column + wide] = 0.95
    place = (column, rows // 30 + high * 2)
    letters = np.zeros(gray.shape, np.uint8)
    cv2.putText(letters, "R-CC 12", place, cv2.FONT_HERSHEY_SIMPLEX, columns / 900, 255, 2)
    out[letters > 0] = 0.9
    out[[0, 1, -2, -1]] = 0.9
    out[:, [0, 1, -2, -1]] = 0.9
    return out


def noisy(gray: Pixels) -> Pixels:
    """Quantum noise of a thin exposure."""
    draw = np.random.default_rng(0)
    return np.clip(gray + draw.normal(0, 0.02, gray.shape), 0, 1).astype(np.float32)


HARDER: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda gray: gray,
    "mirrored": lambda gray: np.ascontiguousarray(gray[:, ::-1]),
    "gamma 0.5": lambda gray: gray**0.5,
    "gamma 0.7": lambda gray: gray**0.7,
    "gamma 1.5": lambda gray: gray**1.5,
    "gamma 2": lambda gray: gray**2.0,
    "brighter": lambda gray: np.clip(gray * 1.4, 0, 1),
    "darker": lambda gray: gray * 0.4,
    "low contrast": lambda gray: 0.3 + 0.3 * gray,
    "tight": tight,
    "padded": padded,
    "labels and frame": labelled,
    "noisy": noisy,
}


EXTREME: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda gray: gray,
    "very fatty": lambda gray: 0.35 * gray,
    "very dense": lambda gray: np.where(gray > 0.1, 0.45 + 0.55 * gray, gray),
    "gamma 0.5": lambda gray: gray**0.5,
    "gamma 2": lambda gray: gray**2.0,
    "dark": lambda gray: 0.5 * gray,
}
"""Of a drawn breast, whose tissue has a quarter of the gray range."""


def stored(gray: Pixels, bits_stored: int = 12) -> NDArray[np.uint16]:
    """Back to stored values."""
    return np.rint(np.clip(gray, 0, 1) * (2**bits_stored - 1)).astype(np.uint16)
