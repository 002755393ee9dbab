"""Calibration images: read and prepared exactly as a unit would."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from converters.errors import BenchFaultError
from converters.labelled.image_reading import (
    PICTURE_SUFFIXES,
    ImageRefusedError,
    SideNotes,
    images_below,
    read_image,
    side_notes,
)
from converters.quantization.tensor_store import TensorStore
from runtime.breast_gate.descriptor_measuring import describe
from runtime.breast_gate.suitability import assess_header, assess_pixels
from runtime.dicom.stored_image import open_image
from runtime.image.header import HeaderRefusedError
from runtime.image.reasons import Reason
from runtime.preprocessing.preparation import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from converters.importing.recipe import PackageRecipe
    from models.manifest import InputPort, Recipe
    from runtime.image.descriptors import ImageDescriptors

Chosen = tuple["Path", SideNotes]
UNIMPORTANT = {
    Reason.LATERALITY_MISSING,
    Reason.LATERALITY_CONTRADICTS,
    Reason.VIEW_UNKNOWN,
    Reason.UNSUPPORTED_VIEW,
}
"""What a PNG without a side-car cannot say, and the network does not ask."""


@dataclass(frozen=True, kw_only=True)
class PreparedImage:
    """One image, ready for the model."""

    tensor: NDArray[np.generic]
    descriptors: ImageDescriptors | None
    """None where no breast was looked for."""


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """What a folder gave."""

    tensors: TensorStore
    """Prepared inputs, each a tensor name -> array."""
    refused: tuple[tuple[str, str], ...]
    """(file name, reason's code) of what could not be used."""
    label: str
    """For the card and `reference.json`."""
    descriptors: tuple[ImageDescriptors, ...] = ()
    """What the images looked like."""
    key: str = ""
    """Of what it was made from, where a build keeps it."""


def read_calibration(
    folders: Sequence[Path],
    recipe: PackageRecipe,
    inputs: tuple[InputPort, ...],
    *,
    limit: int,
    pixel_spacing_mm: float | None,
    scratch: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> CalibrationSet:
    """Prepare up to `limit` images, evenly spread over the folders' sorted files.

    For a package that sees several views at once, each input is filled with images of its view;
    those of which nobody says the view go where there are fewest.

    Args:
        folders: DICOM, PNG, JPEG or TIFF files, at any depth; `labels.csv` beside them may give
            `laterality`, `view`, `pixel_spacing_mm` and `bits_stored` of each `file`.
        recipe: for the suitability gate.
        inputs: as in the manifest: with their folded recipes.
        limit: how many images to use at most.
        pixel_spacing_mm: of images of which neither file nor CSV says it.
        scratch: an empty folder for the prepared inputs.
        progress: told how many images were looked at.

    Raises:
        BenchFaultError: no image can be used.
    """
    chosen = _chosen(folders, limit, pixel_spacing_mm)
    refused: list[tuple[str, str]] = []
    described: list[ImageDescriptors] = []
    counter = count(1)

    def usable(port: InputPort, images: Sequence[Chosen]) -> Iterator[NDArray[np.generic]]:
        steps = port.preparation or recipe.steps_for(port)
        for path, notes in images:
            progress(next(counter))
            prepared = prepared_image(path, notes, recipe, steps)
            if isinstance(prepared, str):
                refused.append((path.name, prepared))
                continue
            if prepared.descriptors is not None:
                described.append(prepared.descriptors)
            yield prepared.tensor

    placed, unplaced = _placed(chosen, inputs)
    refused += [(path.name, Reason.UNSUPPORTED_VIEW) for path, _ in unplaced]
    sets = TensorStore(scratch)
    names = [port.tensor for port in inputs]
    streams = [usable(port, placed[port.view]) for port in inputs]
    # As many sets as the view with the fewest usable images allows.
    for tensors in zip(*streams, strict=False):
        sets.append(dict(zip(names, tensors, strict=True)))
    if not sets:
        some = ", ".join(f"{name}: {reason}" for name, reason in refused[:5]) or "no files"
        raise BenchFaultError([f"calibration: no image can be used ({some})"])
    return CalibrationSet(
        tensors=sets,
        refused=tuple(refused),
        label=f"{len(sets)} calibration images ({', '.join(folder.name for folder in folders)})",
        descriptors=tuple(described),
    )


def _placed(
    chosen: Sequence[Chosen], inputs: tuple[InputPort, ...]
) -> tuple[dict[str, list[Chosen]], list[Chosen]]:
    """(view of an input port -> images that feed it, images that none takes)."""
    placed: dict[str, list[Chosen]] = {port.view: [] for port in inputs}
    if list(placed) == ["any"]:
        return {"any": list(chosen)}, []
    unknown, unplaced = [], []
    for path, notes in chosen:
        laterality, view = notes.laterality, notes.view
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            try:
                header = open_image(path).header
            except HeaderRefusedError:
                pass  # its preparation will say why
            else:
                laterality, view = header.laterality or laterality, header.view or view
        slots = {f"{view}", f"{laterality}{view}"} & placed.keys()
        if slots:
            placed[slots.pop()].append((path, notes))
        elif view is None or laterality is None:
            unknown.append((path, notes))
        else:
            unplaced.append((path, notes))
    for image in unknown:
        min(placed.values(), key=len).append(image)
    return placed, unplaced


def _chosen(folders: Sequence[Path], limit: int, pixel_spacing_mm: float | None) -> list[Chosen]:
    files = [path for folder in folders for path in sorted(images_below(folder))]
    places = np.linspace(0, len(files) - 1, min(limit, len(files))).astype(int)
    chosen = [files[place] for place in places]
    unnamed = SideNotes(pixel_spacing_mm=pixel_spacing_mm)
    notes = {parent: side_notes(parent) for parent in {path.parent for path in chosen}}
    return [
        (path, notes[path.parent].get(path.name, unnamed).completed(unnamed)) for path in chosen
    ]


def prepared_image(
    path: Path, notes: SideNotes, recipe: PackageRecipe, steps: Recipe
) -> PreparedImage | str:
    """The model input and what the image looks like, or the reason's code."""
    try:
        mammogram = read_image(path, notes)
    except ImageRefusedError as fault:
        return fault.reason
    found = assess_header(mammogram.header, recipe.accepts, steps)
    reasons = [reason for reason in found.reasons if reason not in UNIMPORTANT]
    if not reasons:
        found = assess_pixels(mammogram, recipe.accepts, steps)
        reasons = [reason for reason in found.reasons if reason not in UNIMPORTANT]
    if reasons:
        return reasons[0]
    mammogram = found.mammogram or mammogram
    return PreparedImage(
        tensor=prepare(mammogram, steps, breast=found.breast).tensor,
        descriptors=None if found.breast is None else describe(mammogram, found.breast),
    )
