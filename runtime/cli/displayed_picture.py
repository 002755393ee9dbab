"""The picture of `judge --picture`: what the model sees of an image, with the breast outlined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from runtime.breast_gate.breast import Breast
    from runtime.pixels.display import Display
    from runtime.pixels.mammogram import Mammogram

LONG_SIDE_PX = 640
OUTLINE_BGR = (0, 220, 255)


def displayed_picture(
    mammogram: Mammogram, display: Display, breast: Breast | None
) -> NDArray[np.uint8]:
    """Rows x columns x 3 (BGR), 640 pixels long, after the recipe's window and inversion."""
    rows, columns = mammogram.pixels.shape
    share = LONG_SIDE_PX / max(rows, columns)
    size = (max(1, round(columns * share)), max(1, round(rows * share)))
    # Nearest: each pixel of the picture is one of the image, and none is blended over an edge.
    sample = cv2.resize(mammogram.pixels, size, interpolation=cv2.INTER_NEAREST)
    gray = display.grays(mammogram, np.asarray(sample, np.uint16))
    picture = np.asarray(cv2.merge([np.rint(gray * 255).astype(np.uint8)] * 3), np.uint8)
    if breast is not None:
        mask = cv2.resize(breast.mask, size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, OUTLINE_BGR, 1)
    return picture


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """As PNG. Raises OSError."""
    _, encoded = cv2.imencode(".png", picture)
    path.write_bytes(encoded.tobytes())
