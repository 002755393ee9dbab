"""The hospital's own scores: agreement, and a planted fault of the preparation by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from converters.errors import BenchFaultError
from converters.evaluation.agreement import SOURCE, Case
from converters.evaluation.suspects import suspects
from converters.evaluation.witness import LineUp, expected_scores
from converters.labelled.labels import Labels
from converters.labelled.reading_options import EvaluationOptions
from converters.labelled.scored_subject import ScoredSubject, SlottedImage
from converters.packaging.phantom import Phantom
from models.manifest import Recipe
from tests.support.builders import manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.manifest import Manifest

STEPS = [
    {"step": "window", "mode": "voi_lut", "absent": "stored_range"},
    {"step": "monochrome1"},
    {"step": "orient", "facing": "right", "by": "content"},
    {"step": "resize", "mode": "fit_pad", "height": 64, "width": 48},
    {"step": "normalise", "mode": "fixed", "mean": [0.2, 0.3, 0.4], "std": [0.2, 0.3, 0.4]},
    {"step": "channels", "count": 3},
]
IMAGES = 4


def of(steps: Any) -> Manifest:
    """A manifest with these steps."""
    recipe = steps if isinstance(steps, Recipe) else Recipe.model_validate({"steps": steps})
    port = manifest().inputs[0].model_copy(update={"tensor": "view", "shape": (1, 3, 64, 48)})
    return manifest().model_copy(update={"preparation": recipe, "inputs": (port,)})


def source(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """It sees brightness, sides, channels and texture: every suspect changes what it says."""
    x = tensors["view"][0].astype(np.float64)
    ramp = np.linspace(0, 1, x.shape[2])
    rows = np.linspace(0, 2, x.shape[1])[:, None]
    weights = np.array([1.0, 0.5, 0.1])[:, None, None]
    texture = np.abs(np.diff(x[0], axis=0)).mean()
    value = 12 * ((x * weights * ramp * rows).mean() + 0.4 * texture)
    return {"out": np.array([1 / (1 + np.exp(-value))], np.float32)}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Four views as PNG."""
    folder = tmp_path_factory.mktemp("views")
    rows = ["file,laterality,view,label"]
    for number in range(IMAGES):
        side = "LR"[number % 2]
        pixels = Phantom(seed=number, laterality=side, bits_stored=8).pixels()
        assert cv2.imwrite(str(folder / f"{number}.png"), pixels.astype(np.uint8))
        rows.append(f"{number}.png,{side},CC,{'malignant' if number % 3 else 'normal'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return Labels.from_csv(folder, folder / "labels.csv")


def scores_by(labels: Labels, steps: Any) -> dict[str, float]:
    """File -> the source's score behind these steps."""
    line_up = LineUp(
        manifest=of(steps), run_source=source, labels=labels, options=EvaluationOptions()
    )
    recipe = of(steps).preparation
    found = {}
    for image in labels:
        score = line_up.score(image, recipe.steps)
        assert score is not None
        found[image.path.name] = score
    return found


def test_the_same_preparation_agrees(labels: Labels) -> None:
    """Nothing is tried then."""
    witness = witness_against(labels, scores_by(labels, STEPS))
    assert witness.agrees
    assert witness.images == IMAGES
    assert not witness.suspect
    assert not witness.pairs


def witness_against(labels: Labels, expected: dict[str, float]) -> Any:
    """What our steps come to beside the expected scores."""
    ours = scores_by(labels, STEPS)
    cases = [
        Case(
            key=image.path.name,
            positive=image.positive,
            scores={SOURCE: ours[image.path.name]},
            subject=ScoredSubject(images=(SlottedImage(slot="any", image=image),), wanted=("any",)),
        )
        for image in labels
    ]
    line_up = LineUp(
        manifest=of(STEPS), run_source=source, labels=labels, options=EvaluationOptions()
    )
    return line_up.witness(cases, expected)


@pytest.mark.parametrize(
    "planted",
    [
        "window minmax",
        "inverted gray values",
        "breasts facing left",
        "channels in the other order",
        "normalise twice",
        "resize squeeze",
    ],
)
def test_a_planted_fault_is_named(labels: Labels, planted: str) -> None:
    """The hospital's pipeline differs from the recipe in one thing."""
    steps = Recipe.model_validate({"steps": STEPS}).steps
    changed = dict(suspects(steps))[planted]
    witness = witness_against(labels, scores_by(labels, Recipe(steps=changed)))
    assert not witness.agrees
    assert witness.suspect == planted, witness.sentence
    assert f"the best match is {planted}: 0.000 instead of" in witness.sentence
    assert len(witness.pairs[0].inputs) == 2


def test_a_table_that_cannot_be_used_is_named_by_its_line(tmp_path: Path) -> None:
    """File, line and field."""
    table = tmp_path / "scores.csv"
    table.write_text("file,score\na.png,0.5\nb.png,high\nc.png,7\n")
    with pytest.raises(BenchFaultError) as refused:
        expected_scores(table)
    assert refused.value.faults == (
        "scores.csv, line 3: score 'high' is no number from 0 to 1",
        "scores.csv, line 4: score '7' is no number from 0 to 1",
    )
    table.write_text("name,score\n")
    with pytest.raises(BenchFaultError, match="no column 'file'"):
        expected_scores(table)
