"""What operating points give on the labelled images that a package was proved on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.evaluation.discrimination import ScoreTally
from converters.evaluation.evaluate import at_point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.evaluation.agreement import Case
    from models.manifest import OperatingPoint

DIGITS = 4


def measured_points(
    points: Sequence[OperatingPoint], cases: Sequence[Case], *, precision: str, of: str
) -> tuple[OperatingPoint, ...]:
    """Each point with what it gave; one that has figures of its own keeps them.

    Args:
        points: of a recipe.
        cases: what every precision said.
        precision: whose scores count: the one that a unit runs by default.
        of: what the cases are, for `measured_on`.
    """
    tally = ScoreTally()
    for case in cases:
        tally.add(positive=case.positive, score=case.scores.get(precision))
    assessed = sum(tally.assessed())
    told = f"{assessed} labelled {of}, {precision}"
    return tuple(
        point if _has_figures(point) else _measured(point, tally, told) for point in points
    )


def _has_figures(point: OperatingPoint) -> bool:
    """The recipe's own, measured elsewhere: `measured_on` says where."""
    return point.sensitivity is not None or point.specificity is not None


def _measured(point: OperatingPoint, tally: ScoreTally, told: str) -> OperatingPoint:
    found = at_point(tally, point)
    return point.model_copy(
        update={
            "sensitivity": _rounded(found.sensitivity),
            "sensitivity_ci95": _interval(found.sensitivity_ci95),
            "specificity": _rounded(found.specificity),
            "specificity_ci95": _interval(found.specificity_ci95),
            "measured_on": told,
        }
    )


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, DIGITS)


def _interval(ends: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if ends is None else (round(ends[0], DIGITS), round(ends[1], DIGITS))
