"""Pixel padding (PS3.3 C.7.5.1.1.2): what was never exposed and is not to be displayed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from runtime.dicom_header.attributes import pixel_value
from runtime.image.reasons import Remark
from runtime.image.witness import Use, Witness

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from runtime.pixels.pixel_format import PixelFormat

MOST_BEYOND = 0.01
"""Share of the image that may lie on the padding's far side: noise, markers."""


def without_padding(
    ds: Dataset, pixels: NDArray[np.uint16], layout: PixelFormat, *, bright_is_low: bool
) -> tuple[NDArray[np.uint16], tuple[Witness, ...]]:
    """`pixels` with the padding brought to the darkest value of the image, and who told it.

    `bright_is_low`: a low value displays bright. Nothing is done, and nothing copied, where the
    padding is the darkest value that there can be. A value that the stored bits cannot hold marks
    no pixel, nor does one among the image's own values (it lies outside of these, PS3.3
    C.7.5.1.1.2, note 1): it is ignored, with a remark; an impossible limit leaves the value alone.
    """
    value, told_of_value = _stored_value(ds, "PixelPaddingValue", layout)
    limit, told_of_limit = _stored_value(ds, "PixelPaddingRangeLimit", layout)
    told = (*told_of_value, *told_of_limit)
    if value is None:
        return pixels, told
    low, high = sorted((value, value if limit is None else limit))
    top = 2**layout.bits_stored - 1
    if (high == top) if bright_is_low else (low == 0):
        return pixels, told
    padding = cv2.inRange(pixels, low, high).astype(bool)
    image = pixels[~padding]
    if image.size in (0, pixels.size):
        return pixels, told
    below, above = (float(np.mean(side)) for side in (image < low, image > high))
    if min(below, above) > MOST_BEYOND:
        return pixels, tuple(_ignored(word, "among the image's own values") for word in told)
    cleaned = pixels.copy()
    cleaned[padding] = image.max() if bright_is_low else image.min()
    is_bright = (above < below) ^ bright_is_low
    if is_bright:
        why = "it displays bright and was made dark"
        told = (replace(told[0], why=why, remark=Remark.PADDING_DARKENED), *told[1:])
    return cleaned, told


def _stored_value(
    ds: Dataset, keyword: str, layout: PixelFormat
) -> tuple[int | None, tuple[Witness, ...]]:
    """As an unsigned pixel; None where there is none that the stored bits can hold."""
    found = pixel_value(ds, keyword, signed=layout.signed)
    if found is None:
        return None, ()
    told = Witness(about="padding", source=keyword, said=str(found))
    value = found - layout.lowest
    if 0 <= value < 2**layout.bits_stored:
        return value, (told,)
    return None, (_ignored(told, f"{layout.bits_stored} bits cannot hold it"),)


def _ignored(told: Witness, why: str) -> Witness:
    return replace(told, use=Use.PASSED_OVER, why=why, remark=Remark.PADDING_IGNORED)
