"""A day's outcomes against the model's reference: has the scanner, or the population, changed?"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from runtime.image.outcome import Flag, NotAssessed, ViewResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.histogram import ScoreHistogram
    from runtime.image.outcome import ViewOutcome
    from runtime.image.reasons import Reason

LEAST_IMAGES = 50
"""Below that a population stability index says more about chance than about the images."""
SMALLEST_SHARE = 1e-4
"""Stands for an empty bin, whose logarithm would have no end."""


@dataclass(frozen=True, kw_only=True)
class Day:
    """One day in UTC: from `start_ms`, up to `end_ms` (ms since the epoch)."""

    name: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, kw_only=True)
class DriftFigures:
    """What a day came to. Rates 0-1; None where there was nothing to count."""

    images: int
    exams: int
    histogram: tuple[int, ...]
    psi: float | None
    priority_rate: float | None
    not_assessed_rate: dict[Reason, float]


def day_before(at_ms: int) -> Day:
    """The last whole day before a moment."""
    midnight = datetime.fromtimestamp(at_ms / 1000, tz=UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    start = midnight - timedelta(days=1)
    return Day(
        name=start.date().isoformat(),
        start_ms=int(start.timestamp() * 1000),
        end_ms=int(midnight.timestamp() * 1000),
    )


def population_stability_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """PSI of two histograms over the same bins: sum of (a-e) * ln(a/e) over the shares.

    About 0.1 is a change to look at, 0.25 a large one (Siddiqi, Credit Risk Scorecards, 2006).

    Raises:
        ValueError: the bins differ, or a histogram is empty.
    """
    if len(expected) != len(actual) or not sum(expected) or not sum(actual):
        raise ValueError("two histograms over the same bins, neither empty")
    total = 0.0
    for e_count, a_count in zip(expected, actual, strict=True):
        e = max(e_count / sum(expected), SMALLEST_SHARE)
        a = max(a_count / sum(actual), SMALLEST_SHARE)
        total += (a - e) * math.log(a / e)
    return total


def drift_figures(
    outcomes: Iterable[ViewOutcome], exam_flags: Iterable[Flag], reference: ScoreHistogram
) -> DriftFigures:
    """The figures of a day from the outcomes of its images and the flags of its exams."""
    bins = len(reference.counts)
    histogram = [0] * bins
    reasons: Counter[Reason] = Counter()
    images = 0
    for outcome in outcomes:
        images += 1
        if isinstance(outcome, ViewResult):
            histogram[min(int(outcome.score * bins), bins - 1)] += 1
        elif isinstance(outcome, NotAssessed):
            reasons.update(set(outcome.reasons))
    flags = list(exam_flags)
    judged = sum(histogram)
    enough = judged >= LEAST_IMAGES and reference.images >= LEAST_IMAGES
    return DriftFigures(
        images=images,
        exams=len(flags),
        histogram=tuple(histogram),
        psi=population_stability_index(reference.counts, histogram) if enough else None,
        priority_rate=flags.count(Flag.PRIORITY) / len(flags) if flags else None,
        not_assessed_rate={reason: count / images for reason, count in sorted(reasons.items())},
    )
