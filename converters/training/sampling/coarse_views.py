"""Whole views as the coarse branch sees them, film and digital, with their lesions' places."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from converters.training.data.annotations import Annotation, LesionKey, key_of, read_annotations
from converters.training.data.dataset import LESION_SPACING_MM, SEVERITY, Sample, read_grey
from converters.training.data.placing import CropPlace, place_crop
from converters.training.data.preparation import Picture, PreparationOptions
from converters.training.data.split import FORBIDDEN_PATIENTS
from converters.training.networks.coarse_network import POOLED_PX
from converters.training.sampling.coarse_windows import CoarseView, Region

FOLDER = "cbis-ddsm-mass-views-256"
CROPS = "cbis-ddsm-lesions"
USUAL_SPACING_MM = 0.93
"""Median of the spacings that placing found: for views whose crops it did not find."""
LESION_SHARE = 0.85
"""A crop holds a little more than its lesion on each side."""
SOFTNESS_PX = 0.7
SPICULATED = 1
"""Index of SPICULATED among the attributes of a lesion."""


def coarse_recipe(recipe: PreparationOptions) -> PreparationOptions:
    """The recipe at the coarse branch's spacing."""
    return replace(
        recipe,
        spacing_mm=recipe.spacing_mm * POOLED_PX,
        canvas_rows_px=recipe.canvas_rows_px // POOLED_PX,
        canvas_columns_px=recipe.canvas_columns_px // POOLED_PX,
    )


def find_places(data: Path) -> Iterator[CropPlace]:
    """Places of all crops whose view is there; minutes."""
    for crop in sorted((data / CROPS).glob("*/*/*.jpg")):
        key = key_of(crop)
        view = data / FOLDER / f"{key.patient}_{key.side}_{key.view}.png"
        if not view.exists():
            continue
        name = str(crop.relative_to(data / CROPS))
        place = place_crop(read_grey(view), read_grey(crop), names=(view.name, name))
        if place is not None:
            yield place


def _region(place: CropPlace, annotation: Annotation | None, down: float, across: float) -> Region:
    rows, columns = place.rows * down * LESION_SHARE, place.columns * across * LESION_SHARE
    row = (place.top + place.rows / 2) * down
    column = (place.left + place.columns / 2) * across
    return Region(
        top=row - rows / 2,
        left=column - columns / 2,
        bottom=row + rows / 2,
        right=column + columns / 2,
        malignant=_label(place) == "malignant",
        spiculated=annotation is not None and annotation.attributes[SPICULATED] > 0,
    )


def load_film(
    data: Path, places: Sequence[CropPlace], recipe: PreparationOptions
) -> list[CoarseView]:
    """The 1 mm views, resized by the scale at which their crops fit; `recipe` is the coarse one."""
    annotations = read_annotations(data / CROPS)
    by_view: dict[str, list[CropPlace]] = {}
    for place in places:
        by_view.setdefault(place.view, []).append(place)
    views = []
    with (data / FOLDER / "labels.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        if row["patient"] in FORBIDDEN_PATIENTS:
            continue
        found = by_view.get(row["file"], [])
        sure = [place for place in found if place.is_sure]
        scales = sure or [_usual(row["file"])]
        spacing_mm = LESION_SPACING_MM / float(np.median([place.scale for place in scales]))
        ratio = float(np.median([place.width_ratio for place in scales]))
        down, across = spacing_mm / recipe.spacing_mm, spacing_mm / ratio / recipe.spacing_mm
        source = _cropped(read_grey(data / FOLDER / row["file"]), recipe)
        picture = cv2.resize(source, None, fx=across, fy=down, interpolation=cv2.INTER_LINEAR)
        regions = tuple(_region(p, annotations.get(_key(p)), down, across) for p in sure)
        labels = [row["label"], *(_label(place) for place in sure)]
        label = max(labels, key=lambda name: SEVERITY[name])
        views.append(
            CoarseView(
                name=row["file"],
                data_set=FOLDER,
                patient=row["patient"],
                label=label,
                picture=np.asarray(picture, dtype=np.float32),
                regions=regions,
                is_located=label != "malignant" or any(region.malignant for region in regions),
            )
        )
    return views


def _key(place: CropPlace) -> LesionKey:
    return key_of(Path(place.crop))


def _label(place: CropPlace) -> str:
    # The folder: malignant, benign or benign_without_callback.
    return place.crop.split("/")[1].partition("_")[0]


def _usual(view: str) -> CropPlace:
    return CropPlace(
        view=view,
        crop="",
        top=0,
        left=0,
        rows=0,
        columns=0,
        scale=LESION_SPACING_MM / USUAL_SPACING_MM,
        width_ratio=1.0,
        correlation=0.0,
    )


def _cropped(picture: Picture, recipe: PreparationOptions) -> Picture:
    """Without the empty columns at the right: the breasts are all turned left."""
    filled = np.flatnonzero((picture > recipe.floor).any(axis=0))
    return np.ascontiguousarray(picture[:, : int(filled[-1]) + 4]) if len(filled) else picture


def soften_sample(sample: Sample) -> CoarseView:
    """A digital view, brought to the coarse branch's spacing and sharpness; no places known."""
    small = cv2.resize(
        sample.picture, None, fx=1 / POOLED_PX, fy=1 / POOLED_PX, interpolation=cv2.INTER_AREA
    )
    soft = cv2.GaussianBlur(small, (3, 3), SOFTNESS_PX)
    return CoarseView(
        name=sample.name,
        data_set=sample.data_set,
        patient=sample.patient,
        label=sample.label,
        picture=np.where(small > 0, soft, 0).astype(np.float32),
        regions=(),
        is_located=not sample.is_malignant,
    )
