"""Pixel padding (PS3.3 C.7.5.1.1.2): what was never exposed and is not to be displayed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from runtime.dicom_header.attributes import pixel_value
from runtime.image.reasons import Remark

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from runtime.pixels.pixel_format import PixelFormat


def without_padding(
    ds: Dataset, pixels: NDArray[np.uint16], layout: PixelFormat, *, bright_is_low: bool
) -> tuple[NDArray[np.uint16], tuple[Remark, ...]]:
    """`pixels` with the padding brought to the darkest value of the image, and what to remark.

    `bright_is_low`: a low value displays bright. Nothing is done, and nothing copied, where the
    padding is the darkest value that there can be. A value that the stored bits cannot hold marks
    no pixel: it is ignored, with a remark; an impossible limit leaves the value alone.
    """
    low, high, remarks = _range(ds, layout)
    top = 2**layout.bits_stored - 1
    if low is None or high is None or ((high == top) if bright_is_low else (low == 0)):
        return pixels, remarks
    padding = cv2.inRange(pixels, low, high).astype(bool)
    image = pixels[~padding]
    if image.size in (0, pixels.size):
        return pixels, remarks
    cleaned = pixels.copy()
    cleaned[padding] = image.max() if bright_is_low else image.min()
    return cleaned, remarks


def _range(ds: Dataset, layout: PixelFormat) -> tuple[int | None, int | None, tuple[Remark, ...]]:
    """Lowest and highest padding as unsigned pixels; None where there is none."""
    shift = 2 ** (layout.bits_stored - 1) if layout.signed else 0
    told = [
        None if found is None else found + shift
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        for found in [pixel_value(ds, keyword, signed=layout.signed)]
    ]
    value, limit = (x if x is not None and 0 <= x < 2**layout.bits_stored else None for x in told)
    ignored = (value, limit) != tuple(told)
    remarks = (Remark.PADDING_IGNORED,) if ignored else ()
    if value is None:
        return None, None, remarks
    low, high = sorted((value, value if limit is None else limit))
    return low, high, remarks
