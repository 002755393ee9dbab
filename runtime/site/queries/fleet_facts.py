"""What a fleet summary needs of all units, read at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from runtime.image.outcome import Flag
from runtime.messages.payloads import EventKind
from runtime.site.control_charts.chart_state import ChartState, Measure
from runtime.site.queries.alarm_entries import open_alarms
from runtime.site.queries.fleet_summary import (
    DriftSummary,
    FlagCounts,
    GapSummary,
    Percentiles,
    RateSummary,
    ReasonRate,
    RollbackSummary,
)
from runtime.site.queries.summary_figures import (
    drift_summary,
    percentiles,
    rate_summary,
    reason_rates,
)
from runtime.site.store.aggregates import UNIT_STRETCH, WIRE_STRETCH
from runtime.site.store.site_clock import DAY_MS, HOUR_MS, day_of, hour_of
from runtime.site.store.tables import (
    CHARTS,
    DRIFTS,
    EVENTS,
    HOURS,
    IMAGES,
    LATENCIES,
    REASONS,
    ROLLBACKS,
    STREAMS,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

HOURS_SHOWN = 24


class FleetFacts:
    """Everything about all units that takes one query each, not one for each unit."""

    def __init__(self, connection: Connection, *, now_ms: int, day_ms: int) -> None:
        self.now_ms = now_ms
        self._first_hour_ms = hour_of(now_ms) - (HOURS_SHOWN - 1) * HOUR_MS
        since_ms = min(day_ms, self._first_hour_ms)
        self.today: defaultdict[int, FlagCounts] = defaultdict(FlagCounts)
        self._hourly: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self._count_hours(connection, since_ms, day_ms)
        today = day_of(now_ms)
        self._images: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for unit_id, reason, images in connection.execute(
            select(REASONS.c.unit_id, REASONS.c.reason, REASONS.c.images).where(
                REASONS.c.day_ms == today, REASONS.c.images > 0
            )
        ):
            self._images[unit_id][reason] = images
        self._latencies: defaultdict[tuple[int, str], Counter[int]] = defaultdict(Counter)
        for unit_id, stretch, bucket, images in connection.execute(
            select(
                LATENCIES.c.unit_id, LATENCIES.c.stretch, LATENCIES.c.bucket, LATENCIES.c.images
            ).where(LATENCIES.c.day_ms == today)
        ):
            self._latencies[unit_id, stretch][bucket] = images
        self._charts = {
            (row.unit_id, row.measure): ChartState.model_validate_json(row.state)
            for row in connection.execute(
                select(CHARTS.c.unit_id, CHARTS.c.measure, CHARTS.c.state)
            )
        }
        self.drifts = _newest_drifts(connection)
        self._gaps = _gaps(connection)
        self.rollbacks = {
            row["unit_id"]: RollbackSummary(
                at_ms=row["at_ms"], known_seq=row["known_seq"], last_seq=row["last_seq"]
            )
            for row in connection.execute(select(ROLLBACKS)).mappings()
        }
        self.alarms = open_alarms(connection)
        self.refused = _refused(connection, now_ms - HOUR_MS)
        self.images = _images(connection, now_ms - HOUR_MS)
        self.unacknowledged = _unacknowledged(connection, now_ms - DAY_MS)

    def _count_hours(self, connection: Connection, since_ms: int, day_ms: int) -> None:
        columns = [func.sum(HOURS.c[flag.value]).label(flag.value) for flag in Flag]
        rows = connection.execute(
            select(HOURS.c.unit_id, HOURS.c.hour_ms, *columns)
            .where(HOURS.c.hour_ms >= since_ms)
            .group_by(HOURS.c.unit_id, HOURS.c.hour_ms)
        )
        for row in rows:
            counts = FlagCounts(
                priority=int(row.priority), none=int(row.none), not_assessed=int(row.not_assessed)
            )
            self._hourly[row.unit_id][row.hour_ms] = counts.exams
            if row.hour_ms >= day_ms:
                self.today[row.unit_id] = _added(self.today[row.unit_id], counts)

    def hourly(self, unit_id: int) -> tuple[int, ...]:
        """Exams of each of the last 24 hours."""
        counts = self._hourly[unit_id]
        return tuple(counts[self._first_hour_ms + i * HOUR_MS] for i in range(HOURS_SHOWN))

    def rate(
        self, unit_id: int, measure: Measure, count: int, exams: int, bound: float
    ) -> RateSummary:
        """Today's rate against the limits of the unit's chart, and what is in order anywhere."""
        return rate_summary(self._charts.get((unit_id, measure.value)), count, exams, bound)

    def charts_of(self, unit_id: int) -> dict[str, ChartState]:
        """The unit's charts by measure."""
        found = ((m.value, self._charts.get((unit_id, m.value))) for m in Measure)
        return {measure: chart for measure, chart in found if chart is not None}

    def reasons(self, unit_id: int) -> tuple[ReasonRate, ...]:
        """Why images of today were not assessed, the most frequent first."""
        counts = self._images[unit_id]
        return reason_rates(counts)

    def latency(self, unit_id: int) -> tuple[Percentiles, ...]:
        """Percentiles of the stretches that have any."""
        return tuple(
            percentiles(stretch, self._latencies[unit_id, stretch])
            for stretch in (UNIT_STRETCH, WIRE_STRETCH)
            if (unit_id, stretch) in self._latencies
        )

    def gap(self, unit_id: int) -> GapSummary:
        """What is missing of the unit's numbers."""
        return self._gaps.get(
            unit_id, GapSummary(missing=0, since_ms=None, replays_asked=0, lost=0)
        )


def _refused(connection: Connection, since_ms: int) -> Counter[int]:
    """Objects and frames that were refused since then, by unit."""
    kinds = (EventKind.IMAGE_REFUSED.value, EventKind.FRAME_REFUSED.value)
    rows = connection.execute(
        select(EVENTS.c.unit_id, func.count())
        .where(EVENTS.c.happened_ms >= since_ms, EVENTS.c.event.in_(kinds))
        .group_by(EVENTS.c.unit_id)
    )
    return Counter({row[0]: row[1] for row in rows})


def _images(connection: Connection, since_ms: int) -> Counter[int]:
    """Images that were taken since then, by unit."""
    rows = connection.execute(
        select(IMAGES.c.unit_id, func.count())
        .where(IMAGES.c.happened_ms >= since_ms)
        .group_by(IMAGES.c.unit_id)
    )
    return Counter({row[0]: row[1] for row in rows})


def _unacknowledged(connection: Connection, since_ms: int) -> dict[int, list[int]]:
    """By unit, when exams were said to be unseen that nobody has seen since; oldest first."""
    seen = (EventKind.UNACKNOWLEDGED.value, EventKind.ACKNOWLEDGED.value)
    rows = connection.execute(
        select(EVENTS.c.unit_id, EVENTS.c.event, EVENTS.c.exam_key, EVENTS.c.happened_ms)
        .where(EVENTS.c.happened_ms >= since_ms, EVENTS.c.event.in_(seen))
        .order_by(EVENTS.c.happened_ms)
    ).all()
    late: dict[tuple[int, str], int] = {}
    for unit_id, event, exam_key, happened_ms in rows:
        if event == EventKind.UNACKNOWLEDGED.value:
            late.setdefault((unit_id, exam_key), happened_ms)
        else:
            late.pop((unit_id, exam_key), None)
    found: dict[int, list[int]] = {}
    for (unit_id, _), happened_ms in late.items():
        found.setdefault(unit_id, []).append(happened_ms)
    return found


def _added(one: FlagCounts, other: FlagCounts) -> FlagCounts:
    return FlagCounts(
        priority=one.priority + other.priority,
        none=one.none + other.none,
        not_assessed=one.not_assessed + other.not_assessed,
    )


def _newest_drifts(connection: Connection) -> dict[int, DriftSummary]:
    newest = (
        select(DRIFTS.c.unit_id, func.max(DRIFTS.c.happened_ms).label("happened_ms"))
        .group_by(DRIFTS.c.unit_id)
        .subquery()
    )
    rows = connection.execute(
        select(DRIFTS).join(
            newest,
            (DRIFTS.c.unit_id == newest.c.unit_id) & (DRIFTS.c.happened_ms == newest.c.happened_ms),
        )
    ).mappings()
    return {row["unit_id"]: drift_summary(row) for row in rows}


def _gaps(connection: Connection) -> dict[int, GapSummary]:
    found: dict[int, GapSummary] = {}
    for row in connection.execute(select(STREAMS).order_by(STREAMS.c.ledger)).mappings():
        before = found.get(row["unit_id"])
        found[row["unit_id"]] = GapSummary(
            missing=row["missing"],
            since_ms=row["gap_since_ms"],
            replays_asked=row["replays_asked"],
            lost=row["lost"] + (before.lost if before else 0),
            lost_ms=row["lost_ms"] or (before.lost_ms if before else None),
        )
    return found
