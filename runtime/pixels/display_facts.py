"""How an image says that it is to be displayed: rescale, table, window, polarity."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from runtime.dicom_header.attributes import numbers, text, texts
from runtime.image.reasons import Remark
from runtime.pixels.lookup_tables import first_table
from runtime.pixels.voi_lut import LookupTable, VoiWindow, WindowFunction

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from runtime.pixels.pixel_format import PixelFormat


def rescale(ds: Dataset) -> tuple[bool, float, float]:
    """Whether there is a rescale; its slope and intercept where believable, else the identity."""
    slopes, intercepts = numbers(ds, "RescaleSlope"), numbers(ds, "RescaleIntercept")
    has_rescale = bool(slopes or intercepts)
    slope, intercept = next(iter(slopes), 1.0), next(iter(intercepts), 0.0)
    if not (np.isfinite(slope) and np.isfinite(intercept)) or not 1e-6 < abs(slope) < 1e6:
        return has_rescale, 1.0, 0.0
    return has_rescale, slope, intercept if abs(intercept) < 1e9 else 0.0


def voi(
    ds: Dataset, ends: list[float], *, signed: bool
) -> tuple[tuple[LookupTable, ...], tuple[VoiWindow, ...], tuple[Remark, ...]]:
    """The image's own choice: its first table, else its first window (PS3.3 C.11.2).

    The further tables and windows are alternatives for a reader to choose from. They do not take
    the place of a first one that cannot be used: the other kind's first does.
    """
    announced, table = first_table(ds, "VOILUTSequence", signed=signed)
    windows, faults = _windows(ds, *ends)
    if table is None:
        unusable = (Remark.VOI_LUT_UNUSABLE,) if announced else ()
        return (), windows, (*unusable, *faults)
    complete = with_all_bits(table)
    more = complete.bits > table.bits
    return (complete,), windows, (Remark.VOI_LUT_BITS,) if more else ()


def with_all_bits(table: LookupTable) -> LookupTable:
    """The same; an entry that needs more bits than declared is believed, not cut off."""
    return replace(table, bits=max(table.bits, table.used_bits))


def _windows(
    ds: Dataset, low: float, high: float
) -> tuple[tuple[VoiWindow, ...], tuple[Remark, ...]]:
    """The usable windows, none if the first is not; and what is to be remarked."""
    words = texts(ds, "VOILUTFunction") or ("LINEAR",)
    known = words[0].upper() in tuple(WindowFunction)
    function = WindowFunction(words[0].upper()) if known else WindowFunction.LINEAR
    centers, widths = texts(ds, "WindowCenter"), texts(ds, "WindowWidth")
    if not centers or not widths:
        return (), (Remark.WINDOW_MISSING,)
    pairs = zip(numbers(ds, "WindowCenter"), numbers(ds, "WindowWidth"), strict=False)
    windows = tuple(VoiWindow(center=c, width=w, function=function) for c, w in pairs)
    if not windows or not windows[0].fits(low, high):
        return (), (Remark.WINDOW_ABSURD,)
    usable = tuple(window for window in windows if window.fits(low, high))
    return usable, () if known else (Remark.VOI_FUNCTION_UNKNOWN,)


def polarity_remarks(ds: Dataset, layout: PixelFormat) -> tuple[Remark, ...]:
    """Presentation LUT Shape says the same as Photometric Interpretation, or it is remarked.

    PS3.3 C.8.11.3: IDENTITY goes with MONOCHROME2, INVERSE with MONOCHROME1; they are one
    inversion said twice, never two. Photometric Interpretation is what counts.
    """
    other = "IDENTITY" if layout.monochrome1 else "INVERSE"
    said = text(ds, "PresentationLUTShape").upper()
    return (Remark.POLARITY_CONTRADICTS,) if said == other else ()
