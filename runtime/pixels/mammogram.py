"""A mammogram with its pixels, and what it takes to display them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from runtime.dicom_header.attributes import integer
from runtime.image.reasons import Remark
from runtime.pixels.display_facts import (
    polarity_remarks,
    rescale,
    voi,
    with_all_bits,
)
from runtime.pixels.lookup_tables import first_table
from runtime.pixels.padding import without_padding
from runtime.pixels.pixel_format import PixelLimits, pixel_format
from runtime.pixels.voi_lut import LookupTable, VoiWindow

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from runtime.dicom.stored_image import StoredImage
    from runtime.image.header import ImageHeader


@dataclass(frozen=True, kw_only=True, eq=False)
class Mammogram:
    """One image, ready to be judged.

    `pixels` are the stored values as unsigned numbers; `modality_values` leads from them to the
    values that windows count in. Overlays play no part.
    """

    header: ImageHeader
    pixels: NDArray[np.uint16]
    """rows x columns, 0 to 2**bits_stored-1, read-only. Padding has the darkest value."""
    bits_stored: int
    monochrome1: bool
    pixel_spacing_mm: tuple[float, float] | None
    """(row, column) spacing."""
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    """Modality value = pixel * slope + intercept; undoes the shift of signed pixels as well."""
    windows: tuple[VoiWindow, ...] = ()
    """Those that can be used, the first is the unit's own choice."""
    voi_luts: tuple[LookupTable, ...] = ()
    """The first of the sequence, where it can be used; it goes before the windows."""
    intensity_sign: int = 0
    """Pixel Intensity Relationship Sign: 1, low values are little X-ray intensity; -1; 0 unsaid."""
    remarks: tuple[Remark, ...] = ()

    def modality_values(self) -> NDArray[np.float64]:
        """The modality value of each possible pixel, 2**bits_stored of them."""
        return (
            np.arange(2**self.bits_stored, dtype=np.float64) * self.rescale_slope
            + self.rescale_intercept
        )

    def modality_range(self) -> tuple[float, float]:
        """The lowest and the highest modality value that a pixel can have."""
        ends = (0.0, (2**self.bits_stored - 1) * self.rescale_slope)
        return min(ends) + self.rescale_intercept, max(ends) + self.rescale_intercept


def load_mammogram(image: StoredImage, limits: PixelLimits | None = None) -> Mammogram:
    """Decodes `image` and reads how it is to be displayed.

    Raises:
        PixelsRefusedError: damaged or absent pixels, kinds that are not read, too many.
    """
    from runtime.pixels.decoding import decoded

    found = decoded(image, limits)
    lost = found.codestream is not None and found.codestream.lossy
    header = replace(image.header, lossy=True) if lost else image.header
    return mammogram_from(image.file.elements, found.pixels, header)


def mammogram_from(ds: Dataset, pixels: NDArray[np.uint16], header: ImageHeader) -> Mammogram:
    """The mammogram of a data set and its decoded `pixels` (`PixelFormat.to_unsigned`).

    Raises:
        PixelsRefusedError: the Image Pixel module is not one of a gray image.
    """
    layout = pixel_format(ds, PixelLimits(pixels=pixels.size))
    has_rescale, slope, intercept = rescale(ds)
    bits_stored = layout.bits_stored
    low = -(2 ** (bits_stored - 1)) if layout.signed else 0
    intercept += low * slope
    _, modality_lut = first_table(ds, "ModalityLUTSequence", signed=layout.signed)
    if modality_lut is not None:
        slope, intercept, bits_stored = 1.0, 0.0, with_all_bits(modality_lut).bits
    ends = sorted((intercept, (2**bits_stored - 1) * slope + intercept))
    # PS3.3 C.11.2.1.1: signed where the values that enter can be negative; what no rescale has
    # touched is signed as the pixels are, which is the same question.
    signed = ends[0] < 0 if has_rescale or modality_lut is not None else layout.signed
    voi_luts, windows, remarks = voi(ds, ends, signed=signed)
    remarks += polarity_remarks(ds, layout)
    if header.lossy:
        remarks += (Remark.LOSSY_COMPRESSION,)
    falling = layout.monochrome1 ^ (slope < 0)
    if modality_lut is not None:
        falling ^= modality_lut.falls(low, low + 2**layout.bits_stored - 1)
    falling ^= any(table.falls(*ends) for table in voi_luts)
    pixels, padding_remarks = without_padding(ds, pixels, layout, bright_is_low=falling)
    remarks += padding_remarks
    if modality_lut is not None:
        values = np.arange(2**layout.bits_stored, dtype=np.float64) + low
        pixels = _looked_up(pixels, modality_lut.look_up(values))
    pixels.flags.writeable = False
    return Mammogram(
        header=header,
        pixels=pixels,
        bits_stored=bits_stored,
        monochrome1=layout.monochrome1,
        pixel_spacing_mm=header.pixel_spacing_mm,
        rescale_slope=slope,
        rescale_intercept=intercept,
        windows=windows,
        voi_luts=voi_luts,
        intensity_sign=integer(ds, "PixelIntensityRelationshipSign"),
        remarks=remarks,
    )


def _looked_up(pixels: NDArray[np.uint16], table: NDArray[np.uint16]) -> NDArray[np.uint16]:
    full = np.full(1 << 16, table[-1], np.uint16)
    full[: table.size] = table
    return np.asarray(cv2.LUT(pixels, full), np.uint16)
