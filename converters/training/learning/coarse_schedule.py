"""The coarse branch's training loop: whole views, a target for each cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from converters.training.data.augmentation import Augmentation
from converters.training.data.preparation import PreparationOptions
from converters.training.learning.optimisation import fit, made_ahead
from converters.training.networks.coarse_network import CELL_PX, CoarseNetwork
from converters.training.networks.graph import CLAMP, Pooling, content_cells, pool_logits
from converters.training.sampling.coarse_windows import CoarseView, CoarseWindow, draw_coarse_window

CLASS_WEIGHTS = (1.0, 0.5, 0.3)
POOLED_CELLS = 6.0
FOCUS = 2.0
"""Exponent of the focal loss (T.-Y. Lin et al., arXiv:1708.02002)."""


@dataclass(frozen=True, kw_only=True)
class CoarseSchedule:
    """How long and how fast the coarse branch learns."""

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    warmup_share: float
    averaging: float
    digital_windows: int
    """Windows of digital views in each epoch; each film view gives one."""
    window_weight: float
    """Of telling windows that hold a malignant lesion, against 1 for telling cells."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class CoarsePool:
    """What the coarse branch draws from: each film view once an epoch, and digital ones."""

    film: Sequence[CoarseView]
    digital: Sequence[CoarseView]


@dataclass(frozen=True, kw_only=True)
class CoarseBatch:
    """Pixels (n, 1, side, side), cell targets (n, classes, grid, grid), window targets (n)."""

    pixels: Tensor
    cells: Tensor
    holds_malignant: Tensor


def _stack(windows: Sequence[CoarseWindow]) -> CoarseBatch:
    pixels = torch.from_numpy(np.stack([window.pixels for window in windows]))[:, None]
    return CoarseBatch(
        pixels=pixels.contiguous(memory_format=torch.channels_last),
        cells=torch.from_numpy(np.stack([window.cells for window in windows])),
        holds_malignant=torch.tensor([window.holds_malignant for window in windows]),
    )


def draw_coarse_batches(
    pool: CoarsePool,
    schedule: CoarseSchedule,
    amount: Augmentation,
    recipe: PreparationOptions,
    epoch: int,
) -> Iterator[CoarseBatch]:
    """One epoch, made ahead in one background thread; the seed fixes every window."""
    generator = np.random.default_rng((schedule.seed, 7, epoch))
    views = list(pool.film)
    if pool.digital:
        drawn = generator.integers(len(pool.digital), size=schedule.digital_windows)
        views += [pool.digital[int(index)] for index in drawn]
    order = generator.permutation(len(views))
    starts = list(range(0, len(order) - schedule.batch + 1, schedule.batch))

    def make(start: int) -> CoarseBatch:
        own = np.random.default_rng((schedule.seed, 7, epoch, start))
        chosen = order[start : start + schedule.batch]
        return _stack([draw_coarse_window(views[int(i)], own, amount, recipe) for i in chosen])

    return made_ahead(make, starts)


def coarse_loss(network: CoarseNetwork, batch: CoarseBatch, schedule: CoarseSchedule) -> Tensor:
    """Focal loss of the cells that are known, and cross entropy of the windows that are."""
    content = content_cells(batch.pixels, CELL_PX)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.clamp(batch.pixels, -CLAMP, CLAMP))
    logits = logits.float()
    known = (batch.cells >= 0).float() * content
    targets = batch.cells.clamp(min=0)
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = torch.abs(torch.sigmoid(logits) - targets) ** FOCUS
    per_class = (missed * entropy * known).sum(dim=(0, 2, 3))
    cells = per_class / (targets * known).sum(dim=(0, 2, 3)).clamp(min=8.0)
    cell_loss = (cells * torch.tensor(CLASS_WEIGHTS)).sum()
    highest = pool_logits(
        logits[:, :1],
        content,
        Pooling(fraction=0.0, minimum_cells=POOLED_CELLS),
    )[:, 0]
    has_content = content.sum(dim=(1, 2, 3)) > 0
    told = ((batch.holds_malignant >= 0) & has_content).float()
    window = functional.binary_cross_entropy_with_logits(
        highest, batch.holds_malignant.clamp(min=0), reduction="none"
    )
    window_loss = (window * told).sum() / told.sum().clamp(min=1.0)
    return cell_loss + schedule.window_weight * window_loss


def train_coarse(
    network: CoarseNetwork,
    pool: CoarsePool,
    schedule: CoarseSchedule,
    amount: Augmentation,
    recipe: PreparationOptions,
) -> CoarseNetwork:
    """Train `network` in place; returns the exponential moving average of its weights."""
    windows = len(pool.film) + bool(pool.digital) * schedule.digital_windows
    return fit(
        network,
        lambda epoch: draw_coarse_batches(pool, schedule, amount, recipe, epoch),
        lambda trained, batch: coarse_loss(trained, batch, schedule),
        schedule,
        steps_per_epoch=windows // schedule.batch,
    )
