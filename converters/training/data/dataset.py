"""The training and validation pictures, decoded once and held in memory at the recipe's spacing."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.labelled.lesions import Lesion, lesion_of
from converters.training.data.annotations import (
    ATTRIBUTES,
    UNKNOWN,
    Annotation,
    key_of,
    read_annotations,
)
from converters.training.data.preparation import (
    Picture,
    PreparationOptions,
    breast_box,
    resize_to_spacing,
)
from converters.training.data.split import FORBIDDEN_PATIENTS

LESION_SPACING_MM = 0.05
"""Nominal spacing of CBIS-DDSM's crops; its scanners' true spacings are 0.042 to 0.05 mm."""

SEVERITY = {"normal": 0, "benign": 1, "malignant": 2}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture with what is known about it.

    `picture` is at the recipe's spacing, 0..1. `subgroups` name the rows of a report it counts in.
    """

    name: str
    data_set: str
    patient: str
    label: str
    picture: Picture
    attributes: NDArray[np.float32]
    subgroups: tuple[str, ...] = ()
    lesions: tuple[Lesion, ...] = ()
    """Those whose place is known, in pixels of `picture`."""

    @property
    def is_malignant(self) -> bool:
        """Positive means malignant; benign and normal are the rest."""
        return self.label == "malignant"


def missing_data(data: Path) -> list[str]:
    """What training needs and `data` does not hold, one a line; mini-MIAS may be absent."""
    crops = "cbis-ddsm-lesions"
    needed = [f"{crops}/{kind}_case_description_train_set.csv" for kind in ("mass", "calc")]
    needed += [f"{name}/labels.csv" for name in ("cbis-ddsm-mass-views-256", "cdd-cesm-dm")]
    missing = [f"{data / name}: no such file" for name in needed if not (data / name).is_file()]
    if not any((data / crops).glob("*/*/*.jpg")):
        missing.append(f"{data / crops}: no lesion crops ({{mass,calc}}/LABEL/*.jpg)")
    return missing


def read_grey(path: Path) -> Picture:
    """An 8- or 16-bit picture as grey 0..1."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        message = f"cannot read {path}"
        raise ValueError(message)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return np.asarray(pixels / float(np.iinfo(pixels.dtype).max), dtype=np.float32)


def load_lesions(data: Path, recipe: PreparationOptions) -> list[Sample]:
    """The lesion crops of CBIS-DDSM."""
    folder = data / "cbis-ddsm-lesions"
    annotations = read_annotations(folder)
    unknown = Annotation(np.full(len(ATTRIBUTES), UNKNOWN, dtype=np.float32), "unknown")
    samples = []
    for path in sorted(folder.glob("*/*/*.jpg")):
        key = key_of(path)
        if key.patient in FORBIDDEN_PATIENTS:
            continue
        picture = read_grey(path)
        annotation = annotations.get(key, unknown)
        # No canvas limit here: a training window is smaller than the largest crop.
        scale = LESION_SPACING_MM / recipe.spacing_mm
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        samples.append(
            Sample(
                name=str(path.relative_to(folder)),
                data_set="cbis-ddsm-lesions",
                patient=key.patient,
                label=path.parent.name.split("_")[0],
                picture=cv2.resize(picture, size, interpolation=cv2.INTER_AREA),
                attributes=annotation.attributes,
                subgroups=(key.kind, f"density {annotation.density}"),
            )
        )
    return samples


def load_views(data: Path, name: str, recipe: PreparationOptions) -> list[Sample]:
    """The whole views of one folder, cropped to the breast and resized as the runtime would."""
    folder = data / name
    rows: dict[str, list[dict[str, str]]] = {}
    with (folder / "labels.csv").open(encoding="utf-8-sig", newline="") as lines:
        for row in csv.DictReader(lines):
            rows.setdefault(row["file"], []).append(row)
    samples = []
    for file, found in sorted(rows.items()):
        spacing_mm = float(found[0]["pixel_spacing_mm"])
        source = read_grey(folder / file)
        box = breast_box(source, spacing_mm, recipe)
        cropped = np.ascontiguousarray(source[box.top : box.bottom, box.left : box.right])
        picture = resize_to_spacing(cropped, spacing_mm, recipe)
        scale = picture.shape[0] / box.rows
        worst = max(found, key=lambda row: SEVERITY[row["label"]])
        samples.append(
            Sample(
                name=file,
                data_set=name,
                patient=found[0]["patient"],
                label=worst["label"],
                picture=picture,
                attributes=np.full(len(ATTRIBUTES), UNKNOWN, dtype=np.float32),
                subgroups=tuple(part.strip() for part in worst["note"].split(";")),
                lesions=tuple(
                    Lesion(
                        row_px=(lesion.row_px - box.top) * scale,
                        column_px=(lesion.column_px - box.left) * scale,
                        radius_px=lesion.radius_px * scale,
                    )
                    for row in found
                    if row["label"] == worst["label"] and (lesion := lesion_of(row)) is not None
                ),
            )
        )
    return samples
