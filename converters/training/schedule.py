"""The training loop: windows in, averaged weights out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from converters.training.annotations import OF_NORMAL_TISSUE
from converters.training.augmentation import (
    Augmentation,
    change_tone,
    cut_film,
    cut_tissue,
    cut_window,
    finish_window,
    graft,
    pass_through_film,
)
from converters.training.coarse_windows import CoarseView
from converters.training.dataset import Sample
from converters.training.graph import CLAMP, Pooling, content_cells, pool_logits
from converters.training.network import LesionNetwork
from converters.training.optimisation import fit, made_ahead
from converters.training.preparation import Picture, Recipe

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
    film_windows: int
    """Windows of film views of 1 mm per pixel in each epoch."""
    tissue_weight: float
    """Weight of a window from a view in the loss; a lesion crop's is 1."""
    seed: int


class Drawn(NamedTuple):
    """One window with what it is to be told as, and its weight in the loss."""

    pixels: Picture
    target: float
    attributes: NDArray[np.float32]
    weight: float


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

    `pieces` are crops cut from views (`peaks`), a share of which is drawn each epoch; `film` are
    film views of 1 mm per pixel, whose tissue outside malignant lesions is normal.
    """

    lesions: Sequence[Sample]
    tissue: Sequence[Sample]
    pieces: Sequence[Sample] = ()
    film: Sequence[CoarseView] = ()


def draw_window(
    sample: Sample,
    pool: Pool,
    generator: np.random.Generator,
    amount: Augmentation,
    recipe: Recipe,
    *,
    is_tissue: bool,
) -> Picture:
    """An augmented, normalised window of one sample: a random part of a view, or a whole crop."""
    if is_tissue:
        window = cut_tissue(sample.picture, generator, amount, recipe)
        return finish_window(change_tone(window, generator, amount), amount, recipe)
    window = cut_window(sample.picture, generator, amount)
    is_coarse = bool(pool.film) and generator.random() < amount.through_film
    if is_coarse:
        window = pass_through_film(window)
    window = change_tone(window, generator, amount)
    if pool.tissue and generator.random() < amount.transplant:
        tissue = _donor(pool, generator, amount, recipe, is_coarse=is_coarse)
        if tissue is not None:
            window = graft(window, change_tone(tissue, generator, amount), generator)
    return finish_window(window, amount, recipe)


def _donor(
    pool: Pool,
    generator: np.random.Generator,
    amount: Augmentation,
    recipe: Recipe,
    *,
    is_coarse: bool,
) -> Picture | None:
    """Tissue to graft into, as coarse as what is grafted: else sharpness would tell the lesion."""
    if is_coarse:
        return draw_film(pool, generator, amount, recipe)
    donor = pool.tissue[int(generator.integers(len(pool.tissue)))]
    return cut_tissue(donor.picture, generator, amount, recipe)


def draw_film(
    pool: Pool, generator: np.random.Generator, amount: Augmentation, recipe: Recipe
) -> Picture | None:
    """A window of a random film view, before tone and normalisation."""
    view = pool.film[int(generator.integers(len(pool.film)))]
    return cut_film(view, generator, amount, recipe)


def draw_batches(
    pool: Pool, schedule: Schedule, amount: Augmentation, recipe: Recipe, epoch: int
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
    films = schedule.film_windows if pool.film else 0
    order = generator.permutation(len(samples) + films)
    starts = range(0, len(order) - schedule.batch + 1, schedule.batch)

    def lesion_or_tissue(sample: Sample, own: np.random.Generator, *, is_tissue: bool) -> Drawn:
        is_lesion = sample.data_set == "cbis-ddsm-lesions"
        is_normal = is_tissue and sample.label == "normal"
        return Drawn(
            pixels=draw_window(sample, pool, own, amount, recipe, is_tissue=is_tissue),
            target=float(sample.is_malignant),
            attributes=OF_NORMAL_TISSUE if is_normal else sample.attributes,
            weight=1.0 if is_lesion else schedule.tissue_weight,
        )

    def make(start: int) -> Windows:
        own = np.random.default_rng((schedule.seed, epoch, start))
        chosen = [int(index) for index in order[start : start + schedule.batch]]
        drawn = [
            lesion_or_tissue(samples[index][0], own, is_tissue=samples[index][1])
            if index < len(samples)
            else Drawn(
                pixels=_film(pool, own, amount, recipe),
                target=0.0,
                attributes=OF_NORMAL_TISSUE,
                weight=schedule.tissue_weight,
            )
            for index in chosen
        ]
        views = np.stack([window.pixels for window in drawn])
        attributes: NDArray[np.float32] = np.stack([window.attributes for window in drawn])
        return Windows(
            views=torch.from_numpy(views)[:, None].contiguous(memory_format=torch.channels_last),
            targets=torch.tensor([window.target for window in drawn]),
            attributes=torch.from_numpy(attributes),
            weights=torch.tensor([window.weight for window in drawn]),
        )

    return made_ahead(make, starts)


def _film(
    pool: Pool, generator: np.random.Generator, amount: Augmentation, recipe: Recipe
) -> Picture:
    side = amount.window_px + 2 * amount.context_px
    window = draw_film(pool, generator, amount, recipe)
    if window is None:
        # An empty window has no content, so nothing is learnt from it.
        window = np.zeros((side, side), dtype=np.float32)
    return finish_window(change_tone(window, generator, amount), amount, recipe)


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
        Pooling(smoothing_cells=1, fraction=schedule.pooled_fraction, minimum_cells=POOLED_CELLS),
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
    recipe: Recipe,
    *,
    after_epoch: Callable[[int, LesionNetwork], None],
) -> LesionNetwork:
    """Train `network` in place; returns the exponential moving average of its weights."""
    drawn = len(pool.lesions) + bool(pool.tissue) * schedule.tissue_windows
    drawn += bool(pool.pieces) * schedule.piece_windows
    drawn += bool(pool.film) * schedule.film_windows
    return fit(
        network,
        lambda epoch: draw_batches(pool, schedule, amount, recipe, epoch),
        lambda trained, batch: loss_of(trained, batch, schedule),
        schedule,
        steps_per_epoch=drawn // schedule.batch,
        after_epoch=after_epoch,
    )
