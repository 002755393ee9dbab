"""An evidence map's peak on the image, and lesions whose place is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.evaluation.inference_on_labelled import LabelledInference
from converters.labelled.labels import LabelledImage
from converters.labelled.lesions import Lesion, peak_place
from converters.labelled.reading_options import EvaluationOptions
from converters.labelled.scored_subject import ScoredSubject, SlottedImage
from models.manifest import CropStep, OrientStep, Recipe, ResizeStep, WindowStep
from models.package import load_package
from runtime.dicom.stored_image import open_image
from runtime.inference.engine import open_engine
from runtime.pixels.mammogram import load_mammogram
from runtime.preprocessing.preparation import prepare
from tests.support.packages import build_package
from tests.support.synthetic import breast_pixels, mammogram_dataset, write

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.pixels.mammogram import Mammogram

ROWS, COLUMNS, FROM_WALL = 320, 260, 60
BRIGHT_ROW = 110
CELL_PX = 4


def spotted(folder: Path, laterality: str) -> Mammogram:
    """A breast with a spot brighter than all else, 60 pixels from the chest wall."""
    pixels = breast_pixels(rows=ROWS, columns=COLUMNS, laterality=laterality).copy() // 2
    column = FROM_WALL if laterality == "L" else COLUMNS - FROM_WALL
    pixels[BRIGHT_ROW - 10 : BRIGHT_ROW + 10, column - 10 : column + 10] = 4095
    dataset = mammogram_dataset(laterality=laterality, pixels=pixels, pixel_spacing_mm=0.6)
    return load_mammogram(open_image(write(dataset, folder / f"{laterality}.dcm")))


STEPS = {
    "shrunk to a canvas": (
        OrientStep(facing="left"),
        CropStep(mode="breast_box", margin_mm=3),
        ResizeStep(mode="spacing_mm", height=160, width=120, spacing_mm=1.2, align="top_left"),
    ),
    "as wide as it comes": (
        OrientStep(facing="right"),
        ResizeStep(mode="fit_pad", height=96, width=128),
    ),
    "without a resize": (
        OrientStep(facing="right"),
        CropStep(mode="best_center_window", height=240, width=200),
    ),
}


@pytest.mark.parametrize("laterality", ["L", "R"])
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_the_peak_lies_where_the_image_is_brightest(
    tmp_path: Path, steps: tuple[object, ...], laterality: str
) -> None:
    """Through mirroring, cropping and resizing, or none; within a cell."""
    recipe = Recipe(steps=(WindowStep(mode="voi_lut"), *steps))
    found = prepare(spotted(tmp_path, laterality), recipe)
    rows, columns = (side // CELL_PX for side in found.tensor.shape)
    cells = found.tensor[: rows * CELL_PX, : columns * CELL_PX]
    evidence = cells.reshape(rows, CELL_PX, columns, CELL_PX).mean(axis=(1, 3))
    row, column = peak_place(evidence.astype(np.float32), found, recipe)
    expected = FROM_WALL if laterality == "L" else COLUMNS - FROM_WALL
    assert row == pytest.approx(BRIGHT_ROW, abs=16)
    assert column == pytest.approx(expected, abs=16)


def test_a_known_place_does_not_change_the_score(tmp_path: Path) -> None:
    """Film without a spacing: the unit assumes one, whatever the CSV says beside a lesion."""
    folder = build_package(tmp_path, score="brightness", resize="spacing_mm", evidence=True)
    package = load_package(folder, allow_unsigned=True, store=tmp_path)
    engine = open_engine(package, "fp32", ("CPU",), None, threads=1)
    path = write(mammogram_dataset(film=True), tmp_path / "film.dcm")
    lesion = Lesion(row_px=1.0, column_px=1.0, radius_px=1e4)
    answers = {}
    for name, lesions, locates in (
        ("none", (), True),
        ("some", (lesion,), True),
        ("not asked", (lesion,), False),
    ):
        image = LabelledImage(
            path=path, positive=True, subgroups=(), laterality="", view="",
            pixel_spacing_mm=0.2, lesions=lesions,
        )  # fmt: skip
        subject = ScoredSubject(images=(SlottedImage(slot="any", image=image),), wanted=("any",))
        labelled_inference = LabelledInference(
            package.manifest, {"package": engine}, EvaluationOptions(), locates=locates
        )
        answers[name] = labelled_inference.answer(subject)
    assert answers["none"].scores["package"] > 0
    assert answers["none"].scores == answers["some"].scores == answers["not asked"].scores
    assert {name: answer.peak_in_lesion for name, answer in answers.items()} == {
        "none": None,
        "some": True,
        "not asked": None,
    }
