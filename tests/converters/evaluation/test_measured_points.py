"""Operating points and the labelled images that a package was proved on."""

from __future__ import annotations

from pathlib import Path

from converters.evaluation.agreement import Case
from converters.evaluation.discrimination import wilson
from converters.evaluation.measured_points import measured_points
from models.manifest import OperatingPoint


def case(score: float | None, *, positive: bool) -> Case:
    """One image, with its score by INT8."""
    scores = {} if score is None else {"source": 0.0, "int8": score}
    return Case(key="", paths=(Path("x.dcm"),), positive=positive, scores=scores)


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


def test_figures_of_the_recipe_stay() -> None:
    """An engineer measured them on another set, and says on which."""
    point = OperatingPoint(name="b", threshold=0.5, sensitivity=0.6, measured_on="a trial")
    assert measured_points([point], CASES, precision="int8", of="images (x)") == (point,)


def test_one_class_gives_half_of_the_figures() -> None:
    """Without negatives nobody knows a specificity."""
    point = OperatingPoint(name="b", threshold=0.5)
    (found,) = measured_points([point], CASES[:10], precision="int8", of="images (x)")
    assert (found.sensitivity, found.specificity, found.specificity_ci95) == (0.8, None, None)
