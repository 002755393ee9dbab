"""Measures an image's descriptors, on the picture in which its breast was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from runtime.image.descriptors import ImageDescriptors, manufacturer_of

if TYPE_CHECKING:
    from runtime.breast_gate.breast import Breast
    from runtime.pixels.mammogram import Mammogram

SKIN_LINE_PX = 9
"""About 9 mm of the reduced picture: the breast is thinner there, and dark for that reason."""


def describe(mammogram: Mammogram, breast: Breast) -> ImageDescriptors:
    """The descriptors of an image in which `breast` was found. Takes less than a millisecond.

    Brightness follows the scanner and its processing. Density does not: it is the share of the
    breast, without its skin line, above the middle between its 5th and its 95th percentile, which
    no linear change of gray moves. It is a proxy for drift, not a density in any class of BI-RADS.
    """
    inside = breast.picture[breast.mask > 0]
    kernel = np.ones((SKIN_LINE_PX, SKIN_LINE_PX), np.uint8)
    inner = cv2.erode(breast.mask, kernel, borderType=cv2.BORDER_REPLICATE) > 0
    tissue = breast.picture[inner] if inner.any() else inside
    low, high = np.percentile(tissue, [5, 95])
    return ImageDescriptors(
        brightness=float(inside.mean()) / (2**mammogram.bits_stored - 1),
        breast_area_cm2=_area_cm2(mammogram, float((breast.mask > 0).mean())),
        density=float((tissue > (low + high) / 2).mean()),
        pixel_spacing_mm=mammogram.pixel_spacing_mm,
        manufacturer=manufacturer_of(mammogram.header.manufacturer),
    )


def _area_cm2(mammogram: Mammogram, share: float) -> float | None:
    if mammogram.pixel_spacing_mm is None:
        return None
    rows, columns = mammogram.pixels.shape
    row_mm, column_mm = mammogram.pixel_spacing_mm
    return float(share * rows * row_mm * columns * column_mm / 100)
