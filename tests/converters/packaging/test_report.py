"""report.html: what whoever signs a package looks at."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from converters.evaluation.agreement import Case, agreement_of
from converters.evaluation.proof import Margin
from converters.evaluation.verification import Verification, verify
from converters.labelled.labels import Labels
from converters.labelled.reading_options import EvaluationOptions
from converters.labelled.scored_subjects import subjects_of
from converters.packaging.phantom import Phantom
from converters.packaging.report import Reported, report_html
from converters.packaging.svg_plots import Curve, curves
from models.manifest import OperatingPoint, Recipe
from runtime.image.outcome import Execution
from runtime.image.prediction import Prediction
from tests.support.builders import manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from playwright.sync_api import Browser

    from models.manifest import Manifest

VIEWS = 24
STEPS = [
    {"step": "window", "mode": "voi_lut", "absent": "stored_range"},
    {"step": "monochrome1"},
    {"step": "resize", "mode": "fit_pad", "height": 64, "width": 48},
    {"step": "normalise", "mode": "fixed", "mean": [0.2, 0.3, 0.4], "std": [0.2, 0.3, 0.4]},
    {"step": "channels", "count": 3},
]
POINTS = (
    OperatingPoint(name="sensitive", threshold=0.3),
    OperatingPoint(name="balanced", threshold=0.5),
)


def made_for(folded_from: int | None = None) -> Manifest:
    """Of a model that gets three channels; from `folded_from` on the package's graph makes them."""
    recipe = Recipe.model_validate({"steps": STEPS, "folded_from": folded_from})
    shape = (1, 3, 64, 48) if folded_from is None else (1, 1, 64, 48)
    port = manifest().inputs[0].model_copy(update={"tensor": "view", "shape": shape})
    changed = {"preparation": recipe, "inputs": (port,), "operating_points": POINTS}
    return manifest().model_copy(update=changed)


def brightness(tensors: Mapping[str, np.ndarray]) -> float:
    """The source's score: no case of ours is far from a threshold."""
    return float(np.clip(0.5 + 0.4 * np.asarray(tensors["view"], np.float64).mean(), 0, 1))


class Dimmed:
    """An INT8 that says 0.15 less than the source, from what the unit prepares."""

    execution = Execution(requested_device="CPU", actual_device="CPU", executed_precision="i8")

    def infer(self, tensors: Mapping[str, np.ndarray]) -> Prediction:
        """One score."""
        score = max(0.0, brightness(tensors) - 0.15)
        return Prediction(scores={"suspicion": score}, execution=self.execution)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Views of two makers, and of a third that made two of them."""
    folder = tmp_path_factory.mktemp("views")
    rows = ["file,laterality,view,label,maker"]
    for number in range(VIEWS):
        pixels = Phantom(seed=number, lesion=False, bits_stored=8).pixels() * (0.3 + number / 40)
        assert cv2.imwrite(str(folder / f"{number:02d}.png"), pixels.astype(np.uint8))
        label = "malignant" if number % 3 else "normal"
        maker = "few" if number < 2 else f"maker {'AB'[number % 2]}"
        rows.append(f"{number:02d}.png,L,CC,{label},{maker}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return Labels.from_csv(folder, folder / "labels.csv")


@pytest.fixture(scope="module")
def verification(labels: Labels) -> Verification:
    """Source and INT8 on every view."""
    options = EvaluationOptions()
    subjects = subjects_of(made_for(), labels, options)

    def run(tensors: Any) -> dict[str, np.ndarray]:
        return {"out": np.array([brightness(tensors)], np.float32)}

    return verify(made_for(), run, {"int8": Dimmed()}, subjects, options)


def report_of(verification: Verification, of: Manifest) -> str:
    """The page."""
    return report_html(Reported(manifest=of, verification=verification, margin=Margin()))


def test_a_flip_shows_the_image_both_inputs_flags_and_scores(verification: Verification) -> None:
    """One figure for each image, lost positives first, however many points it flips at."""
    (agreement,) = verification.agreements
    flipped = {key for keys in agreement.flips.values() for key in keys}
    assert flipped
    report = report_of(verification, made_for())
    figures = re.findall(r"<figure class='flip'>.*?</figure>", report)
    assert len(figures) == len(flipped)
    assert all(figure.count("<img") == 3 for figure in figures)
    truths = [re.search("<br>(positive|negative)</div>", figure)[1] for figure in figures]  # type: ignore[index]
    assert truths == sorted(truths, reverse=True)
    case = next(case for case in verification.cases if case.key in figures[0])
    source, int8 = figures[0].split("what source sees")[1].split("what int8 sees")
    assert f"{case.scores['source']:.4f}" in source
    assert f"{case.scores['int8']:.4f}" in int8
    assert "flagged" in source
    assert "no flag" in int8


def test_what_the_source_sees_is_the_whole_recipe(
    verification: Verification, labels: Labels
) -> None:
    """Where the package's graph holds the recipe's tail, the source's input has it in figures."""
    from converters.evaluation.verification import source_inputs
    from converters.packaging.report_flips import inputs_of

    case = verification.cases[0]
    whole = inputs_of(case, verification, made_for())["view"]
    unit = inputs_of(case, verification, made_for(folded_from=3))
    assert unit["view"].shape == (64, 48)
    np.testing.assert_allclose(
        source_inputs(made_for(folded_from=3), unit)["view"], whole, atol=1e-5
    )


def test_operating_points_stand_on_each_curve(verification: Verification) -> None:
    """A ring at the point's own sensitivity, numbered, with its threshold below the plot."""
    report = report_of(verification, made_for())
    roc = report.split("<h2>ROC</h2>")[1].split("</svg>")[0]
    assert roc.count("<circle") == 2 * len(POINTS)
    assert "1 sensitive: threshold 0.3000" in roc
    positives = [case.scores["int8"] for case in verification.cases if case.positive]
    negatives = [case.scores["int8"] for case in verification.cases if not case.positive]
    across = 42 + 320 * np.mean([score >= 0.5 for score in negatives])
    up = 21 + 320 * (1 - np.mean([score >= 0.5 for score in positives]))
    rings = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', roc)
    near = [(float(x), float(y)) == pytest.approx((across, up), abs=0.02) for x, y in rings]
    assert any(near)


def test_a_point_at_the_edge_has_its_name_inside_the_picture() -> None:
    """Where everything is flagged the ring lies in the corner of the plot."""
    series = [Curve(name=name, points=[(1, 1)], marks=[("7", (1, 1))]) for name in "abc"]
    names = re.findall(
        r'<text x="([\d.]+)"[^>]*text-anchor="end"[^>]*>7<', curves(series, "x", "y")
    )
    assert len(names) == 3
    assert all(float(x) < 42 + 320 for x in names)


def test_subgroups_have_their_own_figures_and_small_ones_none(verification: Verification) -> None:
    """Of ten images and more: a value that few images have may be about one person."""
    report = report_of(verification, made_for())
    table = report.split("<h2>Subgroups</h2>")[1].split("</table>")[0]
    cells = [re.findall("<td>(.*?)</td>", row) for row in table.split("<tr>")]
    rows = {tuple(row[:3]): row[3:] for row in cells if row}
    assert set(rows) == {
        (group, point.name, name)
        for group in ("laterality=L", "view=CC", "maker=maker A", "maker=maker B")
        for point in POINTS
        for name in ("source", "int8")
    }
    ours = [
        case
        for case in verification.cases
        if case.subject is not None and "maker=maker A" in case.subject.subgroups
    ]
    positive = [case.scores["int8"] >= 0.5 for case in ours if case.positive]
    shown = rows[("maker=maker A", "balanced", "int8")]
    assert shown[0] == f"{len(ours)} ({len(positive)})"
    assert shown[2].startswith(f"{np.mean(positive):.3f} (")
    assert "maker=few" not in report


def test_a_report_of_very_many_images_stays_small(verification: Verification) -> None:
    """30,000 images of which each flips: below 5 MB, and what is not shown is counted."""
    draw = np.random.default_rng(1)
    real = verification.cases[0]
    cases = [
        Case(
            key=f"{number:016x}",
            positive=bool(number % 2),
            scores={"source": float(source), "int8": float(1 - source)},
            subject=real.subject,
        )
        for number, source in enumerate(draw.random(30_000))
    ]
    many = replace(
        verification, cases=tuple(cases), agreements=(agreement_of(cases, "int8", POINTS[1:]),)
    )
    report = report_of(many, made_for().model_copy(update={"operating_points": POINTS[1:]}))
    assert len(report) < 5_000_000
    more = int(re.search(r"<p>(\d+) more\.</p>", report)[1])  # type: ignore[index]
    assert more + report.count("<figure class='flip'>") == 30_000


def test_the_page_asks_for_nothing_and_fits_a_printed_page(
    verification: Verification, browser: Browser, tmp_path: Path
) -> None:
    """In Chromium: every picture is drawn, nothing is wider than the page, no fault is told."""
    path = tmp_path / "report.html"
    path.write_text(report_of(verification, made_for()))
    page = browser.new_page(viewport={"width": 794, "height": 1123})  # A4 at 96 per inch
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("request", lambda request: asked.append(request.url.split(":")[0]))
    page.emulate_media(media="print")
    page.goto(path.as_uri())
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 794
    assert told == []
    assert set(asked) <= {"file", "data"}
    page.close()
