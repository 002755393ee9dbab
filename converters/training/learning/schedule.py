"""The training loop: windows in, averaged weights out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from converters.training.data.augmentation import (
    Augmentation,
    change_tone,
    cut_tissue,
    cut_window,
    finish_window,
    graft,
)
from converters.training.data.dataset import Sample
from converters.training.data.preparation import Picture, PreparationOptions
from converters.training.learning.optimisation import fit, made_ahead
from converters.training.networks.graph import CLAMP, Pooling, content_cells, pool_logits
from converters.training.networks.network import LesionNetwork

POOLED_CELLS = 2.0


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to learn."""

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    warmup_share: float
    averaging: float
    pooled_fraction: float
    """Share of a window's cells, highest first, whose mean must tell malignant from not."""
    label_smoothing: float
    attribute_weight: float
    tissue_windows: int
    """Windows of normal and benign views in each epoch."""
    piece_windows: int
    """Windows around the peaks of views in each epoch."""
    tissue_weight: float
    """Weight of a window from a view in the loss; a lesion crop's is 1."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class Windows:
    """A batch: views (n, 1, window, window), targets (n), attributes (n, k), weights (n)."""

    views: Tensor
    targets: Tensor
    attributes: Tensor
    weights: Tensor


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What training draws from: crops, each once an epoch, and views without a malignant lesion.

    `pieces` are crops cut from views (`peaks`), a share of which is drawn each epoch.
    """

    lesions: Sequence[Sample]
    tissue: Sequence[Sample]
    pieces: Sequence[Sample] = ()


def draw_window(
    sample: Sample,
    pool: Pool,
    generator: np.random.Generator,
    amount: Augmentation,
    recipe: PreparationOptions,
    *,
    is_tissue: bool,
) -> Picture:
    """An augmented, normalised window of one sample: a random part of a view, or a whole crop."""
    if is_tissue:
        window = cut_tissue(sample.picture, generator, amount, recipe)
        return finish_window(change_tone(window, generator, amount), amount, recipe)
    window = change_tone(cut_window(sample.picture, generator, amount), generator, amount)
    if pool.tissue and generator.random() < amount.transplant:
        donor = pool.tissue[int(generator.integers(len(pool.tissue)))]
        tissue = cut_tissue(donor.picture, generator, amount, recipe)
        window = graft(window, change_tone(tissue, generator, amount), generator)
    return finish_window(window, amount, recipe)


def draw_batches(
    pool: Pool, schedule: Schedule, amount: Augmentation, recipe: PreparationOptions, epoch: int
) -> Iterator[Windows]:
    """One epoch of batches, made ahead in one background thread; the seed fixes every window."""
    generator = np.random.default_rng((schedule.seed, epoch))
    samples = [(sample, False) for sample in pool.lesions]
    for source, count, is_tissue in (
        (pool.tissue, schedule.tissue_windows, True),
        (pool.pieces, schedule.piece_windows, False),
    ):
        if source:
            drawn = generator.integers(len(source), size=count)
            samples += [(source[int(index)], is_tissue) for index in drawn]
    order = generator.permutation(len(samples))
    starts = range(0, len(order) - schedule.batch + 1, schedule.batch)

    def make(start: int) -> Windows:
        own = np.random.default_rng((schedule.seed, epoch, start))
        chosen = [samples[int(index)] for index in order[start : start + schedule.batch]]
        views = np.stack(
            [
                draw_window(sample, pool, own, amount, recipe, is_tissue=is_tissue)
                for sample, is_tissue in chosen
            ]
        )
        weights = [
            1.0 if sample.data_set == "cbis-ddsm-lesions" else schedule.tissue_weight
            for sample, _ in chosen
        ]
        attributes: NDArray[np.float32] = np.stack([sample.attributes for sample, _ in chosen])
        return Windows(
            views=torch.from_numpy(views)[:, None].contiguous(memory_format=torch.channels_last),
            targets=torch.tensor([float(sample.is_malignant) for sample, _ in chosen]),
            attributes=torch.from_numpy(attributes),
            weights=torch.tensor(weights),
        )

    return made_ahead(make, starts)


def loss_of(network: LesionNetwork, batch: Windows, schedule: Schedule) -> Tensor:
    """Cross entropy of malignancy, plus that of the attributes that are known."""
    content = content_cells(batch.views, network.cell_px)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cells = network(torch.clamp(batch.views, -CLAMP, CLAMP))
    cells = cells.float()
    share = content / content.sum(dim=(2, 3), keepdim=True).clamp(min=1.0)
    means = (cells * share).sum(dim=(2, 3))
    # The mean would call the healthy tissue in a malignant window malignant; the highest cells
    # leave it free, while in a window without cancer they are what must come down.
    highest = pool_logits(
        cells[:, :1],
        content,
        Pooling(fraction=schedule.pooled_fraction, minimum_cells=POOLED_CELLS),
    )[:, 0]
    highest = torch.where(content.sum(dim=(1, 2, 3)) > 0, highest, means[:, 0])
    smoothing = schedule.label_smoothing
    targets = batch.targets * (1 - smoothing) + 0.5 * smoothing
    malignancy = functional.binary_cross_entropy_with_logits(highest, targets, reduction="none")
    known = (batch.attributes >= 0).float()
    attributes = functional.binary_cross_entropy_with_logits(
        means[:, 1:], batch.attributes.clamp(min=0), reduction="none"
    )
    attribute_loss = (attributes * known).sum() / known.sum().clamp(min=1.0)
    weighted = (malignancy * batch.weights).sum() / batch.weights.sum()
    return weighted + schedule.attribute_weight * attribute_loss


def train(
    network: LesionNetwork,
    pool: Pool,
    schedule: Schedule,
    amount: Augmentation,
    recipe: PreparationOptions,
) -> LesionNetwork:
    """Train `network` in place; returns the exponential moving average of its weights."""
    drawn = len(pool.lesions) + bool(pool.tissue) * schedule.tissue_windows
    drawn += bool(pool.pieces) * schedule.piece_windows
    return fit(
        network,
        lambda epoch: draw_batches(pool, schedule, amount, recipe, epoch),
        lambda trained, batch: loss_of(trained, batch, schedule),
        schedule,
        steps_per_epoch=drawn // schedule.batch,
    )
