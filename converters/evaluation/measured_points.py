"""What operating points give on the labelled images that a package was proved on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.evaluation.discrimination import ScoreTally
from converters.evaluation.evaluate import at_point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.evaluation.agreement import Case
    from models.manifest import Manifest, OperatingPoint

DIGITS = 4
FIGURES = {"sensitivity", "sensitivity_ci95", "specificity", "specificity_ci95"}


def measured_points(
    points: Sequence[OperatingPoint], cases: Sequence[Case], *, precision: str, of: str
) -> tuple[OperatingPoint, ...]:
    """Each point with what it gives at `precision`.

    Args:
        points: of a recipe.
        cases: what every precision said.
        precision: whose scores count.
        of: what the cases are, for `measured_on`.
    """
    tally = ScoreTally()
    for case in cases:
        tally.add(positive=case.positive, score=case.scores.get(precision))
    told = f"{sum(tally.assessed())} labelled {of}, {precision}"
    return tuple(_measured(point, tally, told) for point in points)


def points_of_default(manifest: Manifest) -> tuple[OperatingPoint, ...]:
    """The manifest's points with the figures of the precision that runs by default.

    A point with figures of its own, which a recipe gave, keeps them: `measured_on` says where.
    """
    default = manifest.default_precision
    shown = next((part for part in manifest.parity if part.precision == default), None)
    ours = {part.measured_on for part in manifest.parity if part.measured_on}
    if shown is None or not shown.points:
        return manifest.operating_points
    by_name = {point.name: point for point in shown.points}
    return tuple(
        point
        if _has_figures(point) and point.measured_on not in ours
        else point.model_copy(
            update={
                **by_name[point.name].model_dump(include=FIGURES),
                "measured_on": shown.measured_on,
            }
        )
        for point in manifest.operating_points
    )


def _has_figures(point: OperatingPoint) -> bool:
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
