"""The network's logits of every cell of a picture, kept so that pooling can be chosen later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.training.dataset import Sample
from converters.training.graph import CLAMP, Pooling, content_cells, pool_logits, smooth_logits
from converters.training.network import LesionNetwork
from converters.training.preparation import Picture, Recipe, normalise, resize_to_spacing


@dataclass(frozen=True, kw_only=True)
class CellMap:
    """Logits and content (0 or 1) of the cells of one picture, both (1, 1, rows, columns)."""

    logits: Tensor
    content: Tensor


def normalise_sample(picture: Picture, recipe: Recipe, cell_px: int) -> Picture:
    """A picture at the recipe's spacing, padded to whole cells and normalised.

    The shipped canvas only adds more padding, which changes nothing inside; what exceeds the
    canvas is shrunk, as the runtime does. Whole multiples of four cells: few distinct shapes.
    """
    fitted = resize_to_spacing(picture, recipe.spacing_mm, recipe)
    rows, columns = (-(-side // (4 * cell_px)) * 4 * cell_px for side in fitted.shape)
    padded = np.zeros((rows, columns), dtype=np.float32)
    padded[: fitted.shape[0], : fitted.shape[1]] = fitted
    return normalise(padded, recipe)


def map_cells(network: LesionNetwork, samples: Sequence[Sample], recipe: Recipe) -> list[CellMap]:
    """Run the network over whole pictures, one at a time."""
    network.eval()
    maps = []
    for sample in samples:
        view = torch.from_numpy(normalise_sample(sample.picture, recipe, network.cell_px))
        view = view[None, None]
        content = content_cells(view, network.cell_px)
        batch = torch.clamp(view, -CLAMP, CLAMP).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(batch)[:, :1].float()
        maps.append(CellMap(logits=logits, content=content))
    return maps


def pooled_logits(maps: Sequence[CellMap], pooling: Pooling) -> NDArray[np.float64]:
    """One logit for each picture."""
    return np.array(
        [
            float(
                pool_logits(
                    smooth_logits(cells.logits, cells.content, pooling.smoothing_cells),
                    cells.content,
                    pooling,
                )
            )
            for cells in maps
        ],
        dtype=np.float64,
    )
