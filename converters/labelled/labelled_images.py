"""The labelled images that a command line names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import BenchFaultError
from converters.labelled.labels import Labels
from converters.labelled.reading_options import EvaluationOptions

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path


def labels_of(arguments: Namespace) -> Labels:
    """`--images` with `--labels`, else labels from the names of folders; `--positive` among them.

    Raises:
        BenchFaultError: no such folder, or labels that cannot be used.
    """
    require_folders("--images", [arguments.images])
    if arguments.labels is None:
        return Labels.from_folders(arguments.images, arguments.positive)
    return Labels.from_csv(arguments.images, arguments.labels, arguments.positive)


def options_of(arguments: Namespace) -> EvaluationOptions:
    """`--regions` and `--pixel-spacing-mm`."""
    return EvaluationOptions(regions=arguments.regions, pixel_spacing_mm=arguments.pixel_spacing_mm)


def require_folders(option: str, folders: Sequence[Path]) -> None:
    """Nothing, where all of them are there.

    Raises:
        BenchFaultError: naming each that is not.
    """
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise BenchFaultError([f"{option} {folder}: no such folder" for folder in missing])
