"""What the source and each precision give in each subgroup of the labelled images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.evaluation.agreement import SOURCE
from converters.evaluation.evaluate import Evaluation, at_point
from converters.labelled.lesions import PeakTally
from converters.packaging.card import shown_figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from converters.evaluation.agreement import Case
    from models.manifest import OperatingPoint

FEWEST = 10
"""Fewer tell nothing, and what a column says of a few images may be about one person."""


def subgroup_rows(
    cases: Sequence[Case], names: Sequence[str], points: Sequence[OperatingPoint]
) -> list[list[str]]:
    """Subgroup, operating point, model, images (positive), AUC, sensitivity, specificity."""
    rows = [row for name in (SOURCE, *names) for row in _rows_of(cases, name, points)]
    return sorted(rows, key=lambda row: row[:2])  # the models' order stays within a point


def _rows_of(
    cases: Sequence[Case], name: str, points: Sequence[OperatingPoint]
) -> Iterator[list[str]]:
    # One model at a time: each subgroup's tally holds two megabytes.
    evaluation = Evaluation(peaks=PeakTally(points=tuple(points)))
    for case in cases:
        if case.subject is not None:
            evaluation.add(case.subject, case.scores.get(name), case.reason)
    for group, tally in evaluation.by.items():
        if tally.images < FEWEST:
            continue
        auc = tally.auc()
        shown = "cannot be told" if auc.auc is None else shown_figure(auc.auc, auc.ci95)
        for point in points:
            found = at_point(tally, point)
            yield [
                group,
                point.name,
                name,
                f"{tally.images} ({tally.positives})",
                shown,
                shown_figure(found.sensitivity, found.sensitivity_ci95),
                shown_figure(found.specificity, found.specificity_ci95),
            ]
