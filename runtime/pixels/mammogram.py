"""A mammogram with its pixels, and what it takes to display them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from runtime.dicom.attributes import binary, integer, items, numbers, texts
from runtime.image.reasons import Remark
from runtime.pixels.pixel_format import PixelFormat, PixelLimits, pixel_format
from runtime.pixels.voi_lut import LookupTable, VoiWindow, WindowFunction

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
    remarks: tuple[Remark, ...] = ()

    def modality_values(self) -> NDArray[np.float64]:
        """The modality value of each possible pixel, 2**bits_stored of them."""
        return (
            np.arange(2**self.bits_stored, dtype=np.float64) * self.rescale_slope
            + self.rescale_intercept
        )


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
    slope, intercept = _rescale(ds)
    pixels, bits_stored = _without_padding(ds, pixels, layout), layout.bits_stored
    low = -(2 ** (layout.bits_stored - 1)) if layout.signed else 0
    intercept += low * slope
    table = next(iter(_tables(ds, "ModalityLUTSequence", signed=layout.signed)), None)
    if table is not None:
        values = np.arange(2**bits_stored, dtype=np.float64) + low
        pixels, bits_stored = _looked_up(pixels, table.look_up(values)), table.bits
        slope, intercept = 1.0, 0.0
    top = (2**bits_stored - 1) * slope + intercept
    windows, faults = _windows(ds, *sorted((intercept, top)))
    voi_luts = _tables(ds, "VOILUTSequence", signed=layout.signed and table is None)
    remarks = faults if not voi_luts else ()
    if header.lossy:
        remarks += (Remark.LOSSY_COMPRESSION,)
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
        remarks=remarks,
    )


def _rescale(ds: Dataset) -> tuple[float, float]:
    """Rescale Slope and Intercept where they are believable, else the identity."""
    slope = next(iter(numbers(ds, "RescaleSlope")), 1.0)
    intercept = next(iter(numbers(ds, "RescaleIntercept")), 0.0)
    if not (np.isfinite(slope) and np.isfinite(intercept)) or not 1e-6 < abs(slope) < 1e6:
        return 1.0, 0.0
    return slope, intercept if abs(intercept) < 1e9 else 0.0


def _windows(
    ds: Dataset, low: float, high: float
) -> tuple[tuple[VoiWindow, ...], tuple[Remark, ...]]:
    """The usable windows, and a remark if there are none."""
    words = texts(ds, "VOILUTFunction") or ("LINEAR",)
    known = words[0].upper() in tuple(WindowFunction)
    function = WindowFunction(words[0].upper()) if known else WindowFunction.LINEAR
    centers, widths = texts(ds, "WindowCenter"), texts(ds, "WindowWidth")
    if not centers or not widths:
        return (), (Remark.WINDOW_MISSING,)
    pairs = zip(numbers(ds, "WindowCenter"), numbers(ds, "WindowWidth"), strict=False)
    windows = (VoiWindow(center=c, width=w, function=function) for c, w in pairs)
    usable = tuple(window for window in windows if window.fits(low, high))
    return usable, () if usable else (Remark.WINDOW_ABSURD,)


def _tables(ds: Dataset, keyword: str, *, signed: bool) -> tuple[LookupTable, ...]:
    """The lookup tables of a sequence; those that contradict themselves are left out."""
    found = (_table(item, signed=signed) for item in items(ds, keyword))
    return tuple(table for table in found if table is not None)


def _table(item: Dataset, *, signed: bool) -> LookupTable | None:
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    # PS3.3 C.11.2.1.1: 0 stands for 65,536 entries; the first input is signed as the pixels are.
    count = int(descriptor[0]) & 0xFFFF or 1 << 16
    first = int(descriptor[1]) & 0xFFFF
    first -= 0x10000 if signed and first & 0x8000 else 0
    bits = int(descriptor[2])
    data, little = binary(item, "LUTData")
    entries = np.frombuffer(data, "<u2" if little else ">u2", count=len(data) // 2)
    if not 8 <= bits <= 16 or entries.size != count:
        return None
    entries = entries.astype(np.uint16)
    # Units are about that announce 16 bits and use 12: white is where their table ends.
    used = max(8, int(entries.max()).bit_length())
    return LookupTable(first=first, entries=entries, bits=max(bits, used))


def _without_padding(
    ds: Dataset, pixels: NDArray[np.uint16], layout: PixelFormat
) -> NDArray[np.uint16]:
    """Pixel padding (PS3.3 C.7.5.1.1.2) brought to the darkest value of the image.

    It marks what was never exposed and is not to be displayed. Nothing is done, and nothing copied,
    where the padding is the darkest value that there can be.
    """
    if not texts(ds, "PixelPaddingValue") and not numbers(ds, "PixelPaddingValue"):
        return pixels
    value = integer(ds, "PixelPaddingValue")
    limit = integer(ds, "PixelPaddingRangeLimit", value)
    top = 2**layout.bits_stored - 1
    shift = 2 ** (layout.bits_stored - 1) if layout.signed else 0
    low, high = sorted(min(max(x + shift, 0), top) for x in (value, limit))
    if (high == top) if layout.monochrome1 else (low == 0):
        return pixels
    padding = cv2.inRange(pixels, low, high).astype(bool)
    image = pixels[~padding]
    if image.size in (0, pixels.size):
        return pixels
    cleaned = pixels.copy()
    cleaned[padding] = image.max() if layout.monochrome1 else image.min()
    return cleaned


def _looked_up(pixels: NDArray[np.uint16], table: NDArray[np.uint16]) -> NDArray[np.uint16]:
    full = np.full(1 << 16, table[-1], np.uint16)
    full[: table.size] = table
    return np.asarray(cv2.LUT(pixels, full), np.uint16)
