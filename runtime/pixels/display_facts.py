"""How an image says that it is to be displayed: rescale, table, window, polarity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from runtime.dicom_header.attributes import numbers, text, texts
from runtime.image.reasons import Remark
from runtime.image.witness import Use, Witness
from runtime.pixels.lookup_tables import first_table
from runtime.pixels.voi_lut import LookupTable, VoiWindow, WindowFunction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydicom.dataset import Dataset

    from runtime.pixels.lookup_tables import FirstTable
    from runtime.pixels.pixel_format import PixelFormat


@dataclass(frozen=True, kw_only=True)
class DisplayFacts:
    """The way from stored values to gray, as far as the header tells it, and who told it."""

    slope: float
    intercept: float
    """Modality value = stored value * slope + intercept, of `bits` bits."""
    bits: int
    modality_lut: LookupTable | None
    """Leads from stored values to those that slope and intercept begin with."""
    windows: tuple[VoiWindow, ...]
    voi_luts: tuple[LookupTable, ...]
    falls: bool
    """Low stored values display bright."""
    witnesses: tuple[Witness, ...]


def display_facts(ds: Dataset, layout: PixelFormat, places: Mapping[str, str]) -> DisplayFacts:
    """What `ds` says of its display.

    Args:
        ds: with the elements of its one frame at the top.
        layout: of its pixels.
        places: keyword to functional group, of the elements that came from one.
    """
    has_rescale, slope, intercept, told = _rescale(ds, places)
    bits = layout.bits_stored
    modality = first_table(ds, "ModalityLUTSequence", signed=layout.signed)
    intercept += layout.lowest * slope
    if modality.tables:
        told += (_modality_witness(modality),)
    if modality.table is not None:
        slope, intercept, bits = 1.0, 0.0, with_all_bits(modality.table).bits
    ends = sorted((intercept, (2**bits - 1) * slope + intercept))
    # PS3.3 C.11.2.1.1: signed where the values that enter can be negative; what no rescale has
    # touched is signed as the pixels are, which is the same question.
    plain = not has_rescale and modality.table is None
    signed = layout.signed if plain else ends[0] < 0
    voi_luts, windows, told_of_voi = _voi(ds, ends, places, signed=signed)
    falls = layout.monochrome1 ^ (slope < 0)
    if modality.table is not None:
        falls ^= modality.table.falls(layout.lowest, layout.lowest + 2**layout.bits_stored - 1)
    falls ^= any(table.falls(*ends) for table in voi_luts)
    return DisplayFacts(
        slope=slope,
        intercept=intercept,
        bits=bits,
        modality_lut=modality.table,
        windows=windows,
        voi_luts=voi_luts,
        falls=falls,
        witnesses=(*told, *told_of_voi, *_polarity(ds, layout)),
    )


def _rescale(
    ds: Dataset, places: Mapping[str, str]
) -> tuple[bool, float, float, tuple[Witness, ...]]:
    """Whether there is a rescale; its slope and intercept where believable, else the identity.

    Rescale and table are one module, the Modality LUT (PS3.3 C.11.1), and have one remark.
    """
    unusable = Remark.MODALITY_LUT_UNUSABLE
    slopes, intercepts = numbers(ds, "RescaleSlope"), numbers(ds, "RescaleIntercept")
    if not slopes and not intercepts:
        return False, 1.0, 0.0, ()
    slope, intercept = next(iter(slopes), 1.0), next(iter(intercepts), 0.0)
    source = _source("RescaleSlope", places) if slopes else _source("RescaleIntercept", places)
    told = Witness(about="rescale", source=source, said=f"slope {slope:g}, intercept {intercept:g}")
    if not (np.isfinite(slope) and np.isfinite(intercept)) or not 1e-6 < abs(slope) < 1e6:
        return True, 1.0, 0.0, (_passed_over(told, "beyond belief", unusable),)
    if abs(intercept) >= 1e9:
        return True, slope, 0.0, (_passed_over(told, "the intercept is beyond belief", unusable),)
    return True, slope, intercept, (told,)


def _passed_over(told: Witness, why: str, remark: Remark | None = None) -> Witness:
    return replace(told, use=Use.PASSED_OVER, why=why, remark=remark)


def _source(keyword: str, places: Mapping[str, str]) -> str:
    """Where an element stood: at the top, or in a functional group."""
    return f"{places[keyword]}/{keyword}" if keyword in places else keyword


def _modality_witness(found: FirstTable) -> Witness:
    told = Witness(about="modality LUT", source="ModalityLUTSequence", said=found.said)
    if found.table is not None:
        return told
    return _passed_over(told, found.fault, Remark.MODALITY_LUT_UNUSABLE)


def _voi(
    ds: Dataset, ends: list[float], places: Mapping[str, str], *, signed: bool
) -> tuple[tuple[LookupTable, ...], tuple[VoiWindow, ...], tuple[Witness, ...]]:
    """The image's own choice: its first table, else its first window (PS3.3 C.11.2).

    The further tables and windows are alternatives for a reader to choose from. They do not take
    the place of a first one that cannot be used: the other kind's first does.
    """
    found = first_table(ds, "VOILUTSequence", signed=signed)
    windows, told_of_windows = _windows(ds, places, *ends)
    source = _source("VOILUTSequence", places)
    told = Witness(about="VOI LUT", source=source, said=found.said)
    more = (
        Witness(
            about="VOI LUT",
            source=source,
            said=f"{found.tables - 1} more",
            use=Use.PASSED_OVER,
            why="alternatives for a reader",
        ),
    )[: found.tables - 1]
    if found.table is None:
        unusable = (_passed_over(told, found.fault, Remark.VOI_LUT_UNUSABLE),)[: found.tables]
        return (), windows, (*unusable, *more, *told_of_windows)
    complete = with_all_bits(found.table)
    if complete.bits > found.table.bits:
        told = replace(told, why="all of the used bits count", remark=Remark.VOI_LUT_BITS)
    # A table goes before a window, so what is wrong with that matters only to who explains.
    others = tuple(
        _passed_over(window, window.why or "a table goes before it")
        for window in told_of_windows
        if window.use is not Use.MISSING
    )
    return (complete,), windows, (told, *more, *others)


def with_all_bits(table: LookupTable) -> LookupTable:
    """The same; an entry that needs more bits than declared is believed, not cut off."""
    return replace(table, bits=max(table.bits, table.used_bits))


def _windows(
    ds: Dataset, places: Mapping[str, str], low: float, high: float
) -> tuple[tuple[VoiWindow, ...], tuple[Witness, ...]]:
    """The usable windows, none if the first is not; and who told them."""
    words = texts(ds, "VOILUTFunction") or ("LINEAR",)
    known = words[0].upper() in tuple(WindowFunction)
    function = WindowFunction(words[0].upper()) if known else WindowFunction.LINEAR
    centers, widths = texts(ds, "WindowCenter"), texts(ds, "WindowWidth")
    told = Witness(about="window", source=_source("WindowCenter", places), said="none")
    if not centers or not widths:
        return (), (replace(told, use=Use.MISSING, remark=Remark.WINDOW_MISSING),)
    pairs = zip(numbers(ds, "WindowCenter"), numbers(ds, "WindowWidth"), strict=False)
    windows = tuple(VoiWindow(center=c, width=w, function=function) for c, w in pairs)
    if not windows:
        return (), (_passed_over(replace(told, said="no numbers"), "", Remark.WINDOW_ABSURD),)
    told = replace(told, said=windows[0].said)
    if not windows[0].fits(low, high):
        why = f"values lie in {low:g} to {high:g}"
        return (), (_passed_over(told, why, Remark.WINDOW_ABSURD),)
    usable = tuple(window for window in windows if window.fits(low, high))
    if not known:
        told = replace(told, why="its function is unknown", remark=Remark.VOI_FUNCTION_UNKNOWN)
    more = replace(told, said=f"{len(windows) - 1} more", remark=None)
    further = (_passed_over(more, "alternatives for a reader"),)[: len(windows) - 1]
    return usable, (told, *further)


def _polarity(ds: Dataset, layout: PixelFormat) -> tuple[Witness, ...]:
    """Presentation LUT Shape says the same as Photometric Interpretation, or it is remarked.

    PS3.3 C.8.11.3: IDENTITY goes with MONOCHROME2, INVERSE with MONOCHROME1; they are one
    inversion said twice, never two. Photometric Interpretation is what counts.
    """
    kind, same, other = "MONOCHROME2", "IDENTITY", "INVERSE"
    if layout.monochrome1:
        kind, same, other = "MONOCHROME1", other, same
    told = Witness(about="polarity", source="PhotometricInterpretation", said=kind)
    shape = text(ds, "PresentationLUTShape").upper()
    if shape not in (same, other):
        return (told,)
    beside = Witness(about="polarity", source="PresentationLUTShape", said=shape, use=Use.AGREES)
    if shape == other:
        beside = replace(
            beside,
            use=Use.CONTRADICTS,
            why=f"{kind} goes with {same}",
            remark=Remark.POLARITY_CONTRADICTS,
        )
    return told, beside
