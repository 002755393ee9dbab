"""A small picture of a mammogram for the page at the unit, unfit for diagnosis and saying so."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.manifest import WindowStep
from runtime.image.outcome import PREVIEW_SUFFIX, Artefact
from runtime.pixels.voi_lut_table import window_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from runtime.pixels.mammogram import Mammogram

LONG_SIDE_PX = 320
LABEL = ("NOT FOR", "DIAGNOSTIC", "USE")
LABEL_LINE_PX = 30
LEAST_WIDTH_PX = 200
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_SCALE = 0.9
"""A third of it on the screen is still legible."""
JPEG_QUALITY = 70


def preview(mammogram: Mammogram) -> NDArray[np.uint8]:
    """Gray, at most 320 pixels long, with the warning burnt in below the image."""
    pixels = mammogram.pixels
    # A full INTER_AREA of 13 megapixels costs 10 ms on the way to the flag; every n-th pixel, then
    # the average of four, costs less than one and is good enough to tell a view.
    stride = max(1, max(pixels.shape) // (2 * LONG_SIDE_PX))
    thin = np.ascontiguousarray(pixels[::stride, ::stride])
    share = LONG_SIDE_PX / max(thin.shape)
    rows, columns = (max(1, round(side * share)) for side in thin.shape)
    small = cv2.resize(thin, (columns, rows), interpolation=cv2.INTER_AREA)
    values = np.arange(2**mammogram.bits_stored, dtype=np.float64)
    step = WindowStep(step="window", mode="voi_lut", to=255.0)
    table = window_table(step, mammogram, values)
    if mammogram.monochrome1:
        table = 255.0 - table  # the lowest value displays white (PS3.3 C.7.6.3.1.2)
    gray = np.rint(table).astype(np.uint8)[np.minimum(small, values.size - 1)]
    return _labelled(gray)


def _labelled(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = gray.shape
    width = max(columns, LEAST_WIDTH_PX)
    picture = np.zeros((rows + LABEL_LINE_PX * len(LABEL) + 10, width), np.uint8)
    left = (width - columns) // 2
    picture[:rows, left : left + columns] = gray
    for number, line in enumerate(LABEL, 1):
        size, _ = cv2.getTextSize(line, FONT, FONT_SCALE, 2)
        place = ((width - size[0]) // 2, rows + LABEL_LINE_PX * number)
        cv2.putText(picture, line, place, FONT, FONT_SCALE, 255, 2, lineType=cv2.LINE_AA)
    return picture


def write_preview(path: Path, mammogram: Mammogram) -> Artefact:
    """Writes the preview beside the spooled object at `path`."""
    _, encoded = cv2.imencode(".jpg", preview(mammogram), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    content = encoded.tobytes()
    target = path.with_suffix(PREVIEW_SUFFIX)
    part = path.with_suffix(".preview.part")
    part.write_bytes(content)
    part.replace(target)
    return Artefact(kind="preview", path=str(target), sha256=hashlib.sha256(content).hexdigest())
