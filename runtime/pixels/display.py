"""What a recipe's first steps display: window and inversion, as far as they concern gray values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from models.manifest import Monochrome1Step, WindowStep
from runtime.pixels.voi_lut_table import window_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.manifest import Recipe
    from runtime.pixels.mammogram import Mammogram

ENDS_PERCENT = (0.5, 99.5)
"""Of an image without a window: black and white of the picture, as later steps may stretch it."""


@dataclass(frozen=True, kw_only=True)
class Display:
    """The window and monochrome1 steps of a recipe, in their order."""

    steps: tuple[WindowStep | Monochrome1Step, ...]

    @property
    def uses_voi(self) -> bool:
        """Does it look at the image's own windows and tables?"""
        return any(isinstance(s, WindowStep) and s.mode == "voi_lut" for s in self.steps)

    @property
    def inverts(self) -> bool:
        """Does it make the lowest value of MONOCHROME1 white?"""
        return any(isinstance(step, Monochrome1Step) for step in self.steps)

    def falls(self, mammogram: Mammogram) -> bool:
        """Is the picture the brighter, the lower the stored value is?

        By all that makes the polarity: Photometric Interpretation (PS3.3 C.7.6.3.1.2), the sign of
        the slope (C.11.1), a table that falls (C.11.2); each of them as far as a step applies it.
        """
        falling = False
        for step in self.steps:
            if isinstance(step, Monochrome1Step):
                falling ^= mammogram.monochrome1
            elif step.mode != "none":
                falling ^= mammogram.rescale_slope < 0
                if step.mode == "voi_lut" and mammogram.voi_luts:
                    low, high = mammogram.modality_range()
                    falling ^= mammogram.voi_luts[0].falls(low, high)
        return falling

    def grays(self, mammogram: Mammogram, sample: NDArray[np.uint16]) -> NDArray[np.float64]:
        """The gray, 0 (black) to 1 (white), of each pixel of `sample`.

        Args:
            mammogram: whose windows, tables and depth count.
            sample: some of its stored values, spread over the whole image; statistics that a step
                asks for (minmax, percentile) are theirs, so that the image is not counted twice.
        """
        sampled = replace(mammogram, pixels=sample)
        table = np.arange(2**mammogram.bits_stored, dtype=np.float64)
        top, windowed = table[-1], False
        for step in self.steps:
            if isinstance(step, Monochrome1Step):
                table = top - table if mammogram.monochrome1 else table
            elif step.mode != "none":
                table, top, windowed = window_table(step, sampled, table), step.to, True
        values: NDArray[np.float64] = table[sample]
        if windowed:
            return np.asarray(np.clip(values / top, 0, 1), np.float64)
        low, high = np.percentile(values, ENDS_PERCENT)
        return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)


STANDARD_DISPLAY = Display(
    steps=(WindowStep(mode="voi_lut", absent="stored_range"), Monochrome1Step())
)
"""As a viewer shows an image, PS3.3 C.11 and C.7.6.3.1.2."""


def display_of(recipe: Recipe | None) -> Display:
    """What `recipe` displays; without one, what a viewer does."""
    if recipe is None:
        return STANDARD_DISPLAY
    shown = (step for step in recipe.steps if isinstance(step, WindowStep | Monochrome1Step))
    return Display(steps=tuple(shown))
