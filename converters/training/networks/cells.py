"""The network's logits of every cell of a picture, kept so that pooling can be chosen later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.training.data.dataset import Sample
from converters.training.data.preparation import (
    Picture,
    PreparationOptions,
    normalise,
    resize_to_spacing,
)
from converters.training.networks.graph import (
    CLAMP,
    Pooling,
    SuspicionGraph,
    content_cells,
    pool_logits,
)
from converters.training.networks.network import LesionNetwork


@dataclass(frozen=True, kw_only=True)
class CellMap:
    """Logits and content (0 or 1) of the cells of one picture, both (1, 1, rows, columns)."""

    logits: Tensor
    content: Tensor


def normalise_sample(picture: Picture, recipe: PreparationOptions, cell_px: int) -> Picture:
    """A picture at the recipe's spacing, padded to whole cells and normalised.

    The shipped canvas only adds more padding, which changes nothing inside; what exceeds the
    canvas is shrunk, as the runtime does. Whole multiples of four cells: few distinct shapes.
    """
    fitted = resize_to_spacing(picture, recipe.spacing_mm, recipe)
    rows, columns = (-(-side // (4 * cell_px)) * 4 * cell_px for side in fitted.shape)
    padded = np.zeros((rows, columns), dtype=np.float32)
    padded[: fitted.shape[0], : fitted.shape[1]] = fitted
    return normalise(padded, recipe)


CellScorer = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Prepared view (1, 1, rows, columns) to logits and content of its cells."""


def fine_cells(network: LesionNetwork) -> CellScorer:
    """The fine network alone, in bfloat16."""
    network.eval()

    def score(view: Tensor) -> tuple[Tensor, Tensor]:
        content = content_cells(view, network.cell_px)
        batch = torch.clamp(view, -CLAMP, CLAMP).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return network(batch)[:, :1].float(), content

    return score


def joined_cells(graph: SuspicionGraph) -> CellScorer:
    """Both branches, joined as the shipped graph joins them, in bfloat16."""
    graph.eval()

    def score(view: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, content = graph.cells(view.contiguous(memory_format=torch.channels_last))
        return logits.float(), content

    return score


def map_cells(
    score: CellScorer, samples: Sequence[Sample], recipe: PreparationOptions, *, cell_px: int
) -> list[CellMap]:
    """Score the cells of whole pictures, one at a time."""
    maps = []
    for sample in samples:
        view = torch.from_numpy(normalise_sample(sample.picture, recipe, cell_px))[None, None]
        with torch.inference_mode():
            logits, content = score(view)
        maps.append(CellMap(logits=logits, content=content))
    return maps


def pooled_logits(maps: Sequence[CellMap], pooling: Pooling) -> NDArray[np.float64]:
    """One logit for each picture."""
    return np.array(
        [float(pool_logits(cells.logits, cells.content, pooling)) for cells in maps],
        dtype=np.float64,
    )
