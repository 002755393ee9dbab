"""The stages of learning, in their order; each leaves its network in a folder of the run's own.

A run takes an hour. One that was broken off begins again at the stage in which it was.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar
from zipfile import is_zipfile

import torch
from torch import nn

from converters.training.data.annotations import ATTRIBUTES
from converters.training.data.dataset import Sample
from converters.training.learning.coarse_schedule import CoarsePool, CoarseSchedule, train_coarse
from converters.training.learning.schedule import Pool, Schedule, train
from converters.training.learning.settings import TrainingSettings
from converters.training.networks.averaging import average_weights
from converters.training.networks.coarse_network import CoarseNetwork, load_imagenet_stages
from converters.training.networks.network import LesionNetwork, load_imagenet
from converters.training.sampling.coarse_views import coarse_recipe, soften_sample
from converters.training.sampling.coarse_windows import CoarseView
from converters.training.sampling.peaks import cut_peaks
from models.errors import OperatorError

FINE = "fine"
COARSE = "coarse"
SETTINGS = "settings.toml"

Network = TypeVar("Network", bound=nn.Module)


READING_FAULTS = (
    RuntimeError, UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError,
)  # fmt: skip
"""What torch may raise at a file of networks that is damaged or holds something else."""


class ResumeError(OperatorError, ValueError):
    """What an earlier run left cannot be gone on with: other settings, or a damaged file."""


AFTER_LEARNING = {"pooling", "fusion", "evidence", "operating_points"}
"""Tables of settings that no stage of learning reads: to change them, nothing is learnt again."""


def _learning(settings: Path) -> dict[str, object]:
    try:
        tables = tomllib.loads(settings.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        message = f"{settings}: {fault}"
        raise ResumeError(message) from fault
    return {name: table for name, table in tables.items() if name not in AFTER_LEARNING}


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Networks by the name of the stage that made them, NAME.pt; those there are not made again."""

    folder: Path
    """Of these networks alone: what else lies beside the file that is written stays as it is."""

    def made(self, name: str, network: Network, learn: Callable[[Network], Network]) -> Network:
        """`learn(network)`, or `network` with the weights that an earlier run left."""
        path = self.folder / f"{name}.pt"
        if path.exists():
            print(f"{name}: {path} is there", flush=True)
            network.load_state_dict(_read(path, network))
            return network
        learnt = learn(network)
        part = path.with_suffix(".part")
        torch.save(learnt.state_dict(), part)
        part.replace(path)
        return learnt


def _read(path: Path, network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights in a file of `made`. Raises ResumeError: it is damaged, or of another network."""
    own = {name: value.shape for name, value in network.state_dict().items()}
    try:
        # What is no archive torch reads as a pickle of old.
        weights = torch.load(path, weights_only=True) if is_zipfile(path) else {}
        fits = {name: value.shape for name, value in weights.items()} == own
    except READING_FAULTS:
        fits = False
    if not fits:
        message = f"{path}: damaged, or of another network; remove it to learn it again"
        raise ResumeError(message)
    return dict(weights)


def check_resumed(folder: Path, settings: Path) -> None:
    """Nothing, where what `folder` holds was learnt with these settings, or holds nothing.

    Raises:
        ResumeError: the earlier run learnt with other settings, or its copy of them is damaged.
    """
    copied = folder / SETTINGS
    if copied.exists() and _learning(copied) != _learning(settings):
        raise ResumeError(
            f"{copied} differs from {settings}: resume with --settings {copied}, or not at all"
        )


def checkpoints(folder: Path, settings: Path, *, resume: bool) -> Checkpoints:
    """Those of `folder`, which is made; unless `resume`, what an earlier run left there goes.

    Raises:
        ResumeError: see `check_resumed`.
    """
    if resume:
        check_resumed(folder, settings)
    text = settings.read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    left = list(folder.glob("*.pt"))
    if resume and not left:
        print(f"{folder}: no network to resume from, all is learnt anew", flush=True)
    if not resume:
        for old in left:
            old.unlink()
    (folder / SETTINGS).write_text(text, encoding="utf-8")
    return Checkpoints(folder=folder)


def learn_fine(
    lesions: Sequence[Sample],
    views: Sequence[Sample],
    settings: TrainingSettings,
    kept: Checkpoints,
) -> LesionNetwork:
    """First the lesions alone; then views too, from the places where that network is drawn.

    The result is the mean of the first network and of the runs on views.
    """

    def run(pool: Pool, schedule: Schedule) -> Callable[[LesionNetwork], LesionNetwork]:
        def learn(network: LesionNetwork) -> LesionNetwork:
            counts = f"{len(pool.lesions)} lesions, {len(pool.tissue)} views"
            print(f"{counts}, {len(pool.pieces)} pieces", flush=True)
            return train(network, pool, schedule, settings.augmentation, settings.recipe)

        return learn

    def mean(network: LesionNetwork) -> LesionNetwork:
        tissue = [view for view in views if not view.is_malignant]
        load_imagenet(network)
        pool = Pool(lesions=lesions, tissue=tissue)
        first = kept.made("lesions", network, run(pool, settings.lesion_schedule))
        pool = Pool(lesions=lesions, tissue=tissue, pieces=_pieces(first, views, settings))
        runs = [first]
        for number in range(settings.peaks.runs):
            schedule = replace(settings.view_schedule, seed=settings.view_schedule.seed + number)
            start = copy.deepcopy(first)
            runs.append(kept.made(f"views{number + 1}", start, run(pool, schedule)))
        return average_weights(runs)

    torch.manual_seed(settings.lesion_schedule.seed)
    network = LesionNetwork(classes=1 + len(ATTRIBUTES), **asdict(settings.network))
    return kept.made(FINE, network, mean)


def _pieces(
    network: LesionNetwork, views: Sequence[Sample], settings: TrainingSettings
) -> list[Sample]:
    peaks = settings.peaks
    side_px = round(peaks.side_mm / settings.recipe.spacing_mm)

    def cut(views: list[Sample], count: int) -> list[Sample]:
        return cut_peaks(network, views, settings.recipe, count=count, side_px=side_px)

    malignant = cut([view for view in views if view.is_malignant], peaks.of_malignant)
    others = cut([view for view in views if not view.is_malignant], peaks.of_others)
    return malignant * peaks.malignant_repeats + others


def learn_coarse(
    film: Sequence[CoarseView],
    views: Sequence[Sample],
    settings: TrainingSettings,
    kept: Checkpoints,
) -> CoarseNetwork:
    """The coarse network from ImageNet's weights; then refined; the mean of both."""
    pool = CoarsePool(
        film=[view for view in film if view.is_located],
        digital=[soften_sample(view) for view in views],
    )

    def run(schedule: CoarseSchedule) -> Callable[[CoarseNetwork], CoarseNetwork]:
        def learn(network: CoarseNetwork) -> CoarseNetwork:
            print(f"{len(pool.film)} film views, {len(pool.digital)} digital", flush=True)
            recipe = coarse_recipe(settings.recipe)
            return train_coarse(network, pool, schedule, settings.coarse_augmentation, recipe)

        return learn

    def mean(network: CoarseNetwork) -> CoarseNetwork:
        load_imagenet_stages(network)
        first = kept.made("coarse_schedule", network, run(settings.coarse_schedule))
        start = copy.deepcopy(first)
        refined = kept.made("coarse_refinement", start, run(settings.coarse_refinement))
        return average_weights([first, refined])

    # Whether the fine branch was learnt in this process must not change where this one starts.
    torch.manual_seed(settings.coarse_schedule.seed)
    return kept.made(COARSE, CoarseNetwork(), mean)
