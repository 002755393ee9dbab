"""What a model is given, and the way back from it to the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.breast_gate.breast import Box
    from runtime.image.reasons import Remark


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelInput:
    """A tensor, and how it lies on the image it was made of."""

    tensor: NDArray[np.generic]
    """As the recipe's last runtime step left it: rows x columns, or with batch and channels."""
    source_box: Box
    """The part of the image that was used, in its pixels; may reach beyond its borders."""
    scale: tuple[float, float]
    """(row, column) pixels of the tensor for each pixel of the image."""
    offset: tuple[int, int]
    """(row, column) of the tensor at which the image's part begins."""
    mirrored: bool
    """Left and right were exchanged."""
    remarks: tuple[Remark, ...] = ()

    def to_source(self, row: float, column: float) -> tuple[float, float]:
        """The (row, column) of the image at a place of the tensor.

        Places are continuous: pixel i reaches from i to i + 1. For a cell of an evidence map of
        n rows, row i begins at tensor row i * height / n. The result may lie outside the image
        for places in the padding.
        """
        down = (row - self.offset[0]) / self.scale[0]
        across = (column - self.offset[1]) / self.scale[1]
        if self.mirrored:
            across = self.source_box.columns - across
        return self.source_box.top + down, self.source_box.left + across
