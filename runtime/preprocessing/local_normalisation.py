"""Deviation from the local mean in local standard deviations, fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def box_side_px(box_mm: float, spacing_mm: float) -> int:
    """round(box_mm / spacing_mm), made odd by adding 1 where it is even."""
    side = max(1, round(box_mm / spacing_mm))
    return side if side % 2 else side + 1


def normalise_local(
    x: NDArray[np.float32], *, counted: NDArray[np.uint8], side_px: int, epsilon: float
) -> NDArray[np.float32]:
    """(x - mean) / max(deviation, epsilon) of a box around each pixel; 0 where not counted.

    Mean and deviation are those of the counted pixels of the box of `side_px` x `side_px`,
    clipped to the picture: neither air nor padding changes a value.

    Args:
        x: rows x columns.
        counted: 1 where a pixel enters the statistics, else 0; rows x columns.
        side_px: odd.
        epsilon: the smallest deviation to divide by, in units of x.
    """
    inside = cv2.multiply(x, counted, dtype=cv2.CV_32F)

    def box_sum(values: NDArray[np.generic]) -> NDArray[np.float32]:
        return np.asarray(
            cv2.boxFilter(
                values,
                cv2.CV_32F,
                (side_px, side_px),
                normalize=False,
                borderType=cv2.BORDER_CONSTANT,
            ),
            np.float32,
        )

    count = np.maximum(box_sum(counted), 1.0)
    mean = box_sum(inside)
    mean /= count
    variance = box_sum(cv2.multiply(inside, inside))
    variance /= count
    variance -= mean * mean
    # Sums in float32 may leave a negative trace where there is no contrast.
    deviation = np.sqrt(np.maximum(variance, 0.0, out=variance), out=variance)
    np.maximum(deviation, np.float32(epsilon), out=deviation)
    result = np.subtract(x, mean, out=mean)
    result /= deviation
    result *= counted
    return result
