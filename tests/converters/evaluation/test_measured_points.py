"""Operating points and the labelled images that a package was proved on."""

from __future__ import annotations

from converters.evaluation.agreement import Case
from converters.evaluation.discrimination import wilson
from converters.evaluation.measured_points import measured_points, points_of_default
from models.manifest import (
    Manifest,
    OperatingPoint,
    Parity,
    PointParity,
    Precision,
    ProofVerdict,
)
from tests.support.builders import manifest


def case(score: float | None, *, positive: bool) -> Case:
    """One image, with its score by INT8."""
    scores = {} if score is None else {"source": 0.0, "int8": score}
    return Case(key="", positive=positive, scores=scores)


CASES = [
    *(case(0.9, positive=True) for _ in range(8)),
    *(case(0.1, positive=True) for _ in range(2)),
    *(case(0.2, positive=False) for _ in range(15)),
    *(case(0.8, positive=False) for _ in range(5)),
    case(None, positive=True),
]


def test_a_point_gets_its_figures_and_intervals() -> None:
    """Over the assessed images, at the precision that a unit runs."""
    point = OperatingPoint(name="balanced", threshold=0.5)
    (found,) = measured_points([point], CASES, precision="int8", of="images (views)")
    low, high = wilson(8, 10) or (0.0, 0.0)
    assert (found.sensitivity, found.specificity) == (0.8, 0.75)
    assert found.sensitivity_ci95 == (round(low, 4), round(high, 4))
    assert found.specificity_ci95 is not None
    assert found.measured_on == "30 labelled images (views), int8"


def parity(precision: str, sensitivity: float, verdict: ProofVerdict) -> Parity:
    """Of a precision that was proved, or was not."""
    return Parity(
        precision=precision,
        device="CPU",
        largest_score_difference=0.0,
        images=100,
        verdict=verdict,
        measured_on=f"100 labelled images (x), {precision}",
        points=(
            PointParity(
                name="balanced",
                sensitivity=sensitivity,
                positives_lost=0,
                positives_won=0,
                negatives_lost=0,
                negatives_won=0,
            ),
        ),
    )


def proved(**changes: object) -> Manifest:
    """FP16 is proved, INT8 is not."""
    files = Precision(xml="a.xml", bin="a.bin", golden_tolerance={})
    parts = (
        parity("fp16", 0.9, ProofVerdict.PROVED),
        parity("int8", 0.1, ProofVerdict.NOT_PROVED),
    )
    both: dict[str, object] = {"precisions": {"int8": files, "fp16": files}, "parity": parts}
    return manifest().model_copy(update=both | changes)


def test_points_have_the_figures_of_the_precision_that_runs_by_default() -> None:
    """Another one's would promise what nobody measured there."""
    (point,) = points_of_default(proved(advice={"default_precision": "int8"}))
    assert (point.sensitivity, point.measured_on) == (0.1, "100 labelled images (x), int8")
    (point,) = points_of_default(proved(operating_points=(point,)))
    assert (point.sensitivity, point.measured_on) == (0.9, "100 labelled images (x), fp16")


def test_without_advice_the_nearest_to_the_source_runs() -> None:
    """And what was proved is named, the nearest first."""
    assert proved().default_precision == "fp16"
    assert proved(advice={"default_precision": "int8"}).default_precision == "int8"
    assert proved(advice={"default_precision": "bf16"}).default_precision == "fp16"
    assert proved().proved == ("fp16",)


def test_figures_of_the_recipe_stay() -> None:
    """An engineer measured them on another set, and says on which, or does not."""
    for told in ("a trial", ""):
        point = OperatingPoint(name="balanced", threshold=0.5, sensitivity=0.6, measured_on=told)
        assert points_of_default(proved(operating_points=(point,))) == (point,)


def test_one_class_gives_half_of_the_figures() -> None:
    """Without negatives nobody knows a specificity."""
    point = OperatingPoint(name="b", threshold=0.5)
    (found,) = measured_points([point], CASES[:10], precision="int8", of="images (x)")
    assert (found.sensitivity, found.specificity, found.specificity_ci95) == (0.8, None, None)
