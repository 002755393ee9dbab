"""Display transforms: from values to gray, as PS3.3 C.11.2 has them. Pure arithmetic on arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WindowFunction(StrEnum):
    """VOI LUT Function (0028,1056)."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, kw_only=True)
class VoiWindow:
    """Window Center and Width, in modality values."""

    center: float
    width: float
    function: WindowFunction = WindowFunction.LINEAR

    @property
    def said(self) -> str:
        """The window in words."""
        return f"center {self.center:g}, width {self.width:g}, {self.function}"

    def fits(self, low: float, high: float) -> bool:
        """Can a picture whose values may lie in `low`..`high` be seen through this window?

        PS3.3 C.11.2.1.2: a width of at least 1 (LINEAR) or above 0. A window that misses all
        values shows black or white only (a SIGMOID never quite), one that is sixteen times wider
        than they are shows gray. What any other shows of the breast is asked where the breast is
        known (`runtime.breast_gate.displayed_breast`).
        """
        if not (math.isfinite(self.center) and math.isfinite(self.width)):
            return False
        if self.width < (1 if self.function is WindowFunction.LINEAR else 1e-6):
            return False
        missed = self.center + self.width / 2 <= low or self.center - self.width / 2 >= high
        missed = missed and self.function is not WindowFunction.SIGMOID
        return not missed and self.width <= 16 * (high - low)

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gray, 0 to 1, of modality `values` (PS3.3 C.11.2.1.2.1 and C.11.2.1.3)."""
        if self.function is WindowFunction.SIGMOID:
            exponent = np.clip(-4 * (values - self.center) / self.width, -700, 700)
            gray: NDArray[np.float64] = 1 / (1 + np.exp(exponent))
            return gray
        if self.function is WindowFunction.LINEAR_EXACT:
            return np.clip((values - self.center) / self.width + 0.5, 0, 1)
        if self.width <= 1:
            return (values > self.center - 0.5).astype(np.float64)
        return np.clip((values - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class LookupTable:
    """A VOI or Modality LUT (PS3.3 C.11.2.1.1, C.11.1.1): an output for each input from `first` on.

    Inputs below give the first entry, above the last.
    """

    first: int
    entries: NDArray[np.uint16]
    bits: int
    """Of an entry, as declared: 8 to 16."""

    @property
    def used_bits(self) -> int:
        """What the largest entry needs, at least 8."""
        return max(8, int(self.entries.max()).bit_length())

    def falls(self, low: float, high: float) -> bool:
        """Do the outputs of the upper half of `low`..`high` lie below those of the lower half?"""
        shown = self.look_up(np.linspace(low, high, 64)).astype(np.float64)
        return bool(shown[32:].mean() < shown[:32].mean())

    def look_up(self, values: NDArray[np.float64]) -> NDArray[np.uint16]:
        """The entries for `values`, rounded to the nearest input."""
        index = np.clip(np.rint(values) - self.first, 0, self.entries.size - 1)
        found: NDArray[np.uint16] = self.entries[index.astype(np.intp)]
        return found

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gray, 0 to 1, of modality `values`."""
        return self.look_up(values) / float(2**self.bits - 1)
