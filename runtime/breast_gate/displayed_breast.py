"""Whether the displayed picture can be one of a breast: what the model sees, not what is stored.

The limits and their margins on real views: `python -m benches.breast_gate --displayed-only`,
docs/breast-gate.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from runtime.image.header import PresentationIntent
from runtime.image.reasons import Remark
from runtime.image.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from runtime.breast_gate.breast import Breast
    from runtime.pixels.display import Display
    from runtime.pixels.mammogram import Mammogram
    from runtime.pixels.voi_lut import LookupTable, VoiWindow

LEAST_ABOVE_AIR = 0.03
"""Of the gray range. Real views have 0.098 and more."""
LEAST_RANGE = 0.08
"""Of the gray range, between the 1st and the 99th percentile of the tissue. Real views: 0.239."""
LEAST_RANGE_OF_RAW = 0.01
"""The same of pixels For Processing that a recipe leaves as the detector gave them."""
MOST_BLACK_OR_WHITE = 0.5
"""Share of the tissue. Real views have 0.25 and less."""
LEVEL = 1 / 255
"""A gray this near to an end is black or white on an 8-bit display."""
LEAST_AIR_PX = 16
SKIN_PX = 7
NEAR_PX = 15
FAR_PX = 45
"""Sides of the squares by which the breast is made smaller and larger, about 1 mm each: its skin
line is left out, and air is what lies 7 to 22 mm beyond it."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A figure against its limit."""

    what: str
    value: float
    limit: str
    kept: bool


def _range(share: float, least: float) -> Check:
    what = "tissue's share of the gray range"
    return Check(what=what, value=share, limit=f"at least {least}", kept=share >= least)


@dataclass(frozen=True, kw_only=True)
class DisplayedBreast:
    """Three figures of a breast as it is displayed; gray is 0 (black) to 1 (white)."""

    above_air: float
    """Median gray of the tissue less that of the air around it; NaN where there is none."""
    range_share: float
    """Of the gray range, from the 1st to the 99th percentile of the tissue."""
    black_or_white: float
    """Share of the tissue."""
    raw: bool = False
    """Detector values, for which only the range counts."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """Each figure that counts, against its limit."""
        if self.raw:
            return (_range(self.range_share, LEAST_RANGE_OF_RAW),)
        return (
            Check(
                what="breast above the air",
                value=self.above_air,
                limit=f"at least {LEAST_ABOVE_AIR}",
                kept=not self.above_air < LEAST_ABOVE_AIR,
            ),
            _range(self.range_share, LEAST_RANGE),
            Check(
                what="share of the tissue that is black or white",
                value=self.black_or_white,
                limit=f"at most {MOST_BLACK_OR_WHITE}",
                kept=self.black_or_white <= MOST_BLACK_OR_WHITE,
            ),
        )

    @property
    def plausible(self) -> bool:
        """Can this be a breast as a reader would see it?"""
        return all(check.kept for check in self.checks)

    @property
    def negative(self) -> bool:
        """Is the tissue as far below the air as it should be above?"""
        return not self.raw and self.above_air <= -LEAST_ABOVE_AIR

    @property
    def detail(self) -> str:
        """The three figures, for people."""
        return (
            f"as displayed: breast {self.above_air:+.3f} above air, tissue over "
            f"{self.range_share:.3f} of the gray range, {self.black_or_white:.3f} of it black or"
            " white"
        )


def shown_raw(mammogram: Mammogram, display: Display) -> bool:
    """Is it For Processing, and left by the recipe as dark or bright as the detector gave it?"""
    return mammogram.header.intent is PresentationIntent.FOR_PROCESSING and not display.inverts


def measured(mammogram: Mammogram, breast: Breast, display: Display) -> DisplayedBreast:
    """The figures of `breast` in what `display` makes of `mammogram`. Takes less than 2 ms."""
    rows, columns = breast.mask.shape
    # Nearest, so that a sample is a stored value; about one for each mm.
    sample = cv2.resize(mammogram.pixels, (columns, rows), interpolation=cv2.INTER_NEAREST)
    gray = display.grays(mammogram, np.asarray(sample, np.uint16))
    inner = cv2.erode(breast.mask, _square(SKIN_PX), borderType=cv2.BORDER_REPLICATE) > 0
    tissue = gray[inner] if inner.any() else gray[breast.mask > 0]
    # Not the whole air: films have labels and a rim of their own, at times of the other polarity.
    far = cv2.dilate(breast.mask, _square(FAR_PX)) > 0
    air = gray[far & (cv2.dilate(breast.mask, _square(NEAR_PX)) == 0)]
    low, middle, high = np.percentile(tissue, [1, 50, 99])
    dark = float(np.median(air)) if air.size >= LEAST_AIR_PX else float("nan")
    ends = (tissue <= LEVEL) | (tissue >= 1 - LEVEL)
    return DisplayedBreast(
        above_air=float(middle) - dark,
        range_share=float(high - low),
        black_or_white=float(ends.mean()),
        raw=shown_raw(mammogram, display),
    )


def settled(
    mammogram: Mammogram, breast: Breast, display: Display
) -> tuple[Mammogram, DisplayedBreast]:
    """The mammogram by the display facts that show a breast, and its figures.

    Where its own do not, the next that does: a VOI LUT with entries of fewer bits than declared by
    the bits that are used (remark `voi_lut_bits`), the window beside it (`voi_lut_unusable`);
    without a LUT, the stored range instead of the window (`window_absurd`). A negative has no
    other choice. Where none of them helps either, the figures are those of its own.
    """
    figures = measured(mammogram, breast, display)
    if figures.negative or not display.uses_voi:
        return mammogram, figures
    if figures.plausible:
        return _dark_or_not(mammogram), figures
    for other in _choices(mammogram):
        others = measured(other, breast, display)
        if others.plausible:
            return other, others
    return mammogram, figures


def _dark_or_not(mammogram: Mammogram) -> Mammogram:
    """A table that leaves the upper three quarters of its range alone shows a dark picture."""
    table = next(iter(mammogram.voi_luts), None)
    if table is None or table.used_bits >= table.bits - 1:
        return mammogram
    said = f"shown by {table.bits} bits, {table.used_bits} used"
    told = Witness(about="VOI LUT", source="pixels", said=said, remark=Remark.BITS_UNUSED)
    return _with(mammogram, told)


def _choices(mammogram: Mammogram) -> Iterator[Mammogram]:
    """What else the image has to be displayed by, in the standard's order (PS3.3 C.11.2)."""
    if mammogram.voi_luts:
        table = mammogram.voi_luts[0]
        # PS3.3 C.11.2.1.1: the output is 0 to 2**n - 1. A table that stays below half of it for
        # its own reasons is legal; units that write the size of an entry use far less.
        if table.used_bits < table.bits - 1:
            narrower = replace(table, bits=table.used_bits)
            told = _told("VOI LUT", f"shown by {table.used_bits} bits", Remark.VOI_LUT_BITS)
            yield _with(mammogram, told, voi_luts=(narrower,))
        if mammogram.windows:
            told = _told("VOI LUT", "shown by the window instead", Remark.VOI_LUT_UNUSABLE)
            yield _with(mammogram, told, voi_luts=())
    elif mammogram.windows:
        told = _told("window", "shown by the range of stored values", Remark.WINDOW_ABSURD)
        yield _with(mammogram, told, windows=())


def _with(
    mammogram: Mammogram, told: Witness, **display: tuple[LookupTable | VoiWindow, ...]
) -> Mammogram:
    return replace(mammogram, witnesses=(*mammogram.witnesses, told), **display)  # type: ignore[arg-type]


def _told(about: str, said: str, remark: Remark) -> Witness:
    why = "as the header has it the breast is not seen"
    return Witness(about=about, source="pixels", said=said, why=why, remark=remark)


def _square(side_px: int) -> NDArray[np.uint8]:
    return np.ones((side_px, side_px), np.uint8)
