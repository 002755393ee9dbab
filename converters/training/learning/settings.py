"""settings.toml as frozen types; an unknown or missing key is an error that names it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from converters.training.data.augmentation import Augmentation
from converters.training.data.preparation import PreparationOptions
from converters.training.learning.coarse_schedule import CoarseSchedule
from converters.training.learning.schedule import Schedule
from converters.training.networks.graph import EvidenceMap, Fusion, Pooling
from models.errors import OperatorError


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Options of `LesionNetwork`."""

    unshuffle: int
    dropout: float
    drop_path: float


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """Shares of patients that validate."""

    share: float
    view_share: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class OperatingPointSettings:
    """What the outer operating points must reach on the validation views."""

    high_sensitivity: float
    high_specificity: float


@dataclass(frozen=True, kw_only=True)
class PeakSettings:
    """How many peaks of each view become crops of `side_mm`, and how often the malignant count."""

    side_mm: float
    of_malignant: int
    of_others: int
    malignant_repeats: int
    runs: int
    """On views, each with a seed of its own, before the weights of all are averaged."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """All of settings.toml, a field for each table."""

    recipe: PreparationOptions
    network: NetworkSettings
    augmentation: Augmentation
    lesion_schedule: Schedule
    peaks: PeakSettings
    view_schedule: Schedule
    coarse_augmentation: Augmentation
    coarse_schedule: CoarseSchedule
    coarse_refinement: CoarseSchedule
    split: SplitSettings
    pooling: Pooling
    fusion: Fusion
    evidence: EvidenceMap
    operating_points: OperatingPointSettings


TABLES: dict[str, type[Any]] = {
    "recipe": PreparationOptions,
    "network": NetworkSettings,
    "augmentation": Augmentation,
    "lesion_schedule": Schedule,
    "peaks": PeakSettings,
    "view_schedule": Schedule,
    "coarse_augmentation": Augmentation,
    "coarse_schedule": CoarseSchedule,
    "coarse_refinement": CoarseSchedule,
    "split": SplitSettings,
    "pooling": Pooling,
    "fusion": Fusion,
    "evidence": EvidenceMap,
    "operating_points": OperatingPointSettings,
}


class TrainingSettingsError(OperatorError, ValueError):
    """All faults of a settings file, one a line."""


def _differences(where: str, found: set[str], expected: set[str]) -> list[str]:
    unknown = [f"{where}{key}: unknown key" for key in sorted(found - expected)]
    missing = [f"{where}{key}: missing" for key in sorted(expected - found)]
    return unknown + missing


def load_settings(path: Path) -> TrainingSettings:
    """Read and check a settings file.

    Raises:
        TrainingSettingsError: with every key that is unknown or missing, or what else is wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        message = f"{path}: {fault}"
        raise TrainingSettingsError(message) from fault
    faults = _differences("", set(document), set(TABLES))
    for name, table in TABLES.items():
        found = document.get(name, {})
        if not isinstance(found, dict):
            faults.append(f"{name}: no table")
        elif name in document:
            faults += _differences(f"{name}.", set(found), {field.name for field in fields(table)})
    if faults:
        raise TrainingSettingsError("\n".join(f"{path}: {fault}" for fault in faults))
    try:
        return TrainingSettings(**{name: table(**document[name]) for name, table in TABLES.items()})
    except (TypeError, ValueError) as fault:
        message = f"{path}: {fault}"
        raise TrainingSettingsError(message) from fault
