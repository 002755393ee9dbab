"""Pieces of views around the network's own highest cells: the places worth learning from next.

In a malignant view without a known place, the highest peak of a network that has learnt from
lesions is taken as its lesion; in a view without cancer every peak is a mistake to unlearn
(self-training and hard-negative mining).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from converters.training.data.dataset import Sample
from converters.training.data.preparation import PreparationOptions
from converters.training.networks.cells import CellMap, fine_cells, map_cells
from converters.training.networks.graph import MASKED_LOGIT, smooth_logits
from converters.training.networks.network import LesionNetwork

SMOOTHING_CELLS = 3


def highest_cells(cells: CellMap, count: int, *, apart_cells: int) -> list[tuple[int, int]]:
    """Row and column of the `count` highest content cells that lie at least so far apart."""
    smooth = smooth_logits(cells.logits, cells.content, SMOOTHING_CELLS)
    masked = (smooth * cells.content + MASKED_LOGIT * (1 - cells.content))[0, 0].numpy().copy()
    found: list[tuple[int, int]] = []
    for _ in range(count):
        row, column = (int(part) for part in np.unravel_index(masked.argmax(), masked.shape))
        if masked[row, column] <= MASKED_LOGIT / 2:
            break
        found.append((row, column))
        rows = slice(max(0, row - apart_cells + 1), row + apart_cells)
        masked[rows, max(0, column - apart_cells + 1) : column + apart_cells] = MASKED_LOGIT
    return found


def cut_peaks(
    network: LesionNetwork,
    views: Sequence[Sample],
    recipe: PreparationOptions,
    *,
    count: int,
    side_px: int,
) -> list[Sample]:
    """Squares of `side_px` around the peaks of each view, with the view's own label."""
    pieces = []
    maps = map_cells(fine_cells(network), views, recipe, cell_px=network.cell_px)
    for view, cells in zip(views, maps, strict=True):
        apart = max(1, side_px // network.cell_px)
        for number, (row, column) in enumerate(highest_cells(cells, count, apart_cells=apart)):
            centre = (np.array([row, column]) + 0.5) * network.cell_px
            top, left = (max(0, round(float(c)) - side_px // 2) for c in centre)
            piece = view.picture[top : top + side_px, left : left + side_px]
            pieces.append(replace(view, name=f"{view.name}#{number}", picture=piece, lesions=()))
    return pieces
