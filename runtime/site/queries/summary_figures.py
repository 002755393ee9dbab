"""Counts as figures of a fleet summary: rates, limits, reasons, percentiles, drift. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.site.control_charts.binomial import tail_limits
from runtime.site.queries.fleet_summary import DriftSummary, Percentiles, RateSummary, ReasonRate
from runtime.site.store.aggregates import ALL_IMAGES, BUCKETS_PER_OCTAVE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import RowMapping

    from runtime.site.control_charts.chart_state import ChartState


def rate_summary(
    chart: ChartState | None, count: int, exams: int, bound: float | None = None
) -> RateSummary:
    """A count against the p-chart's limits of the unit's baseline."""
    rate = count / exams if exams else None
    if chart is None or chart.baseline_rate is None:
        learnt = chart.baseline_exams if chart else 0
        return RateSummary(
            count=count,
            exams=exams,
            rate=rate,
            low=None,
            high=None,
            baseline=None,
            baseline_exams=learnt,
            bound=bound,
        )
    low, high = tail_limits(chart.baseline_rate, exams)
    return RateSummary(
        count=count,
        exams=exams,
        rate=rate,
        low=low / exams if exams else None,
        high=high / exams if exams else None,
        baseline=chart.baseline_rate,
        baseline_exams=chart.baseline_exams,
        bound=bound,
    )


def reason_rates(images: Mapping[str, int]) -> tuple[ReasonRate, ...]:
    """Counts by reason, of all images (the reason ""), as rates; the most frequent first."""
    everything = images.get(ALL_IMAGES, 0)
    found = [
        ReasonRate(reason=reason, images=count, rate=count / everything)
        for reason, count in images.items()
        if reason != ALL_IMAGES and count and everything
    ]
    return tuple(sorted(found, key=lambda item: (-item.images, item.reason)))


def percentiles(stretch: str, buckets: Mapping[int, int]) -> Percentiles:
    """The percentiles of a latency that was kept in buckets; the middle of the bucket each."""
    images = sum(buckets.values())

    def at(share: float) -> float:
        owed = share * images
        for bucket in sorted(buckets):
            owed -= buckets[bucket]
            if owed <= 0:
                return float(2.0 ** ((bucket - 0.5) / BUCKETS_PER_OCTAVE)) if bucket else 1.0
        return 0.0

    return Percentiles(
        stretch=stretch, images=images, p50_ms=at(0.5), p95_ms=at(0.95), p99_ms=at(0.99)
    )


def drift_summary(row: RowMapping) -> DriftSummary:
    """A unit's drift of its row."""
    return DriftSummary(
        day=row["day"],
        model=row["model"],
        model_version=row["model_version"],
        images=row["images"],
        psi=row["psi"],
        message=row["said"],
    )
