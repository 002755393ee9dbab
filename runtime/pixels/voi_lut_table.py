"""The window step: from stored values to gray, as a table with one entry for each stored value.

A pixel-wise step on uint16 is a table of at most 65,536 entries, computed in float64 exactly as
the standard has it, and looked up once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.manifest import WindowStep
    from runtime.pixels.mammogram import Mammogram


class ShownBy(StrEnum):
    """What a window step leads gray values by."""

    VOI_LUT = "VOI LUT"
    WINDOW = "window"
    STORED_RANGE = "range of possible values"
    EXTREMES = "lowest and highest value of the image"
    PERCENTILES = "percentiles of the image"
    NOTHING = "stored values as they are"


def shown_by(step: WindowStep, mammogram: Mammogram) -> ShownBy:
    """What `step` uses of an image: its table, else its window, else what the recipe says."""
    if step.mode == "none":
        return ShownBy.NOTHING
    if step.mode == "percentile":
        return ShownBy.PERCENTILES
    if step.mode == "voi_lut":
        if mammogram.voi_luts:
            return ShownBy.VOI_LUT
        if mammogram.windows:
            return ShownBy.WINDOW
        if step.absent == "stored_range":
            return ShownBy.STORED_RANGE
    return ShownBy.EXTREMES


def window_table(
    step: WindowStep, mammogram: Mammogram, values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What `step` makes of `values`.

    Args:
        step: its statistics are those of the whole image.
        mammogram: its pixels, windows and tables.
        values: the value, at this point of the recipe, of each possible pixel.

    Returns:
        One entry for each of `values`, 0 to `step.to`; mode `none` returns `values`.
    """
    used = shown_by(step, mammogram)
    modality = values * mammogram.rescale_slope + mammogram.rescale_intercept
    if used is ShownBy.NOTHING:
        return values
    if used is ShownBy.VOI_LUT:
        return mammogram.voi_luts[0].apply(modality) * step.to
    if used is ShownBy.WINDOW:
        return mammogram.windows[0].apply(modality) * step.to
    if used is ShownBy.STORED_RANGE:
        stored: NDArray[np.float64] = values / (2**mammogram.bits_stored - 1)
        # A slope below 0 turns the picture around, with a window or without (PS3.3 C.11.1).
        return (1 - stored if mammogram.rescale_slope < 0 else stored) * step.to
    if used is ShownBy.PERCENTILES:
        counts = histogram(mammogram.pixels, values.size)
        low = percentile_of(counts, modality, step.low_percent)
        high = percentile_of(counts, modality, step.high_percent)
    else:
        low, high = _extremes(mammogram.pixels, modality)
    if high <= low:
        return np.zeros_like(values)
    gray: NDArray[np.float64] = np.clip((modality - low) / (high - low), 0, 1) * step.to
    return gray


def histogram(pixels: NDArray[np.uint16], size: int) -> NDArray[np.int64]:
    """How often each of the values 0 to `size`-1 occurs."""
    # calcHist counts in float32, exact up to 2**24; a part of the image stays below.
    rows = max(1, (1 << 24) // pixels.shape[1] - 1)
    counts = np.zeros(size, np.int64)
    for start in range(0, pixels.shape[0], rows):
        part = pixels[start : start + rows]
        counts += cv2.calcHist([part], [0], None, [size], [0, size]).ravel().astype(np.int64)
    return counts


def percentile_of(counts: NDArray[np.int64], values: NDArray[np.float64], percent: float) -> float:
    """The percentile of an image, interpolated linearly between ranks (NumPy's default).

    Args:
        counts: how often each stored value occurs.
        values: what each stored value stands for.
        percent: 0 to 100.
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(counts[order])
    rank = percent / 100 * (cumulative[-1] - 1)
    below, above = int(np.floor(rank)), int(np.ceil(rank))
    at = [values[order[int(np.searchsorted(cumulative, r, side="right"))]] for r in (below, above)]
    return float(at[0] + (at[1] - at[0]) * (rank - below))


def _extremes(pixels: NDArray[np.uint16], values: NDArray[np.float64]) -> tuple[float, float]:
    """Lowest and highest value of the image; `values` rise or fall with the stored value."""
    darkest, brightest, _, _ = cv2.minMaxLoc(pixels)
    ends = float(values[int(darkest)]), float(values[int(brightest)])
    return min(ends), max(ends)
