"""The site's picture, read from the database: the fleet at a glance.

Page, metrics, report and export all read here, so that they cannot disagree.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from runtime.messages import HealthMessage, StatusMessage, UnitState
from runtime.outcome import Flag
from runtime.site.binomial import tail_limits
from runtime.site.chart_state import ChartState, Measure
from runtime.site.glance import (
    AlarmEntry,
    DriftGlance,
    FlagCounts,
    FleetGlance,
    ForeignGlance,
    GapGlance,
    Percentiles,
    RateGlance,
    ReasonRate,
    ServiceGlance,
    Standing,
    UnitGlance,
)
from runtime.site.site_clock import HOUR_MS, day_of, hour_of
from runtime.site.tables import (
    ALARMS,
    CHARTS,
    DRIFTS,
    FOREIGN,
    HOURS,
    LATENCIES,
    REASONS,
    SERVICES,
    STREAMS,
    UNITS,
)
from runtime.site.tally import ALL_IMAGES, BUCKETS_PER_OCTAVE, UNIT_STRETCH, WIRE_STRETCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, RowMapping

    from runtime.site.store import Store

HOURS_SHOWN = 24
MOST_FOREIGN_SHOWN = 100


class Fleet:
    """Reads the site's picture. Thread-safe.

    Args:
        store: an open store.
        silent_after_s: a unit that said nothing for so long, and not that it leaves, is silent.

    Raises:
        StoreError: from every method.
    """

    def __init__(self, store: Store, *, silent_after_s: float = 120.0) -> None:
        self._store = store
        self._silent_after_ms = int(silent_after_s * 1000)

    def glance(self, now_ms: int, *, day_ms: int | None = None) -> FleetGlance:
        """The whole fleet; `day_ms` is where today begins (midnight UTC)."""
        day_ms = day_of(now_ms) if day_ms is None else day_ms
        with self._store.reading() as connection:
            facts = _Facts(connection, now_ms=now_ms, day_ms=day_ms)
            units = tuple(
                self._unit(row, facts)
                for row in connection.execute(
                    select(UNITS).order_by(UNITS.c.site, UNITS.c.unit)
                ).mappings()
            )
            return FleetGlance(
                at_ms=now_ms,
                day_ms=day_ms,
                units=units,
                alarms=facts.alarms,
                foreign=_foreign(connection),
                services=_services(connection),
            )

    def _unit(self, row: RowMapping, facts: _Facts) -> UnitGlance:
        unit_id = row["unit_id"]
        status = StatusMessage.model_validate_json(row["status"]) if row["status"] else None
        health = HealthMessage.model_validate_json(row["health"]) if row["health"] else None
        today = facts.today[unit_id]
        model = status.model if status else None
        point = status.operating_point if status else None
        return UnitGlance(
            site=row["site"],
            unit=row["unit"],
            unit_id=unit_id,
            standing=self._standing(row, facts.now_ms),
            reasons=tuple(status.reasons) if status else (),
            state_since_ms=row["state_since_ms"],
            last_heard_ms=row["last_heard_ms"],
            clock_offset_ms=row["clock_offset_ms"],
            twin_ms=row["twin_ms"],
            today=today,
            hourly=facts.hourly(unit_id),
            priority=facts.rate(unit_id, Measure.PRIORITY, today.priority, today.exams),
            not_assessed=facts.rate(unit_id, Measure.NOT_ASSESSED, today.not_assessed, today.exams),
            not_assessed_reasons=facts.reasons(unit_id),
            latency=facts.latency(unit_id),
            drift=facts.drifts.get(unit_id),
            model=model.name if model else "",
            model_version=model.version if model else "",
            operating_point=point.name if point else "",
            software=status.versions.get("mammoedge", "") if status else "",
            requested_device=(status.requested_device or "") if status else "",
            actual_device=(status.actual_device or "") if status else "",
            unsigned_package=status.unsigned_package if status else False,
            backlog=health.outbox.waiting if health else None,
            backlog_oldest_s=health.outbox.oldest_s if health else None,
            parked=health.outbox.parked if health else 0,
            queue_depth=health.queue_depth if health else 0,
            gap=facts.gap(unit_id),
            duplicates=row["duplicates"],
            conflicts=row["conflicts"],
            alarms=tuple(
                alarm
                for alarm in facts.alarms
                if (alarm.site, alarm.unit) == (row["site"], row["unit"])
            ),
            charts=facts.charts_of(unit_id),
        )

    def _standing(self, row: RowMapping, now_ms: int) -> Standing:
        if row["state"] == UnitState.OFFLINE:
            return Standing.OFFLINE
        if now_ms - row["last_heard_ms"] > self._silent_after_ms or row["state"] is None:
            return Standing.SILENT
        return Standing(row["state"])


class _Facts:
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
        self.alarms = open_alarms(connection)

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

    def rate(self, unit_id: int, measure: Measure, count: int, exams: int) -> RateGlance:
        """Today's rate against the limits of the unit's chart."""
        return rate_glance(self._charts.get((unit_id, measure.value)), count, exams)

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

    def gap(self, unit_id: int) -> GapGlance:
        """What is missing of the unit's numbers."""
        return self._gaps.get(unit_id, GapGlance(missing=0, since_ms=None, replays_asked=0, lost=0))


def rate_glance(chart: ChartState | None, count: int, exams: int) -> RateGlance:
    """A count against the p-chart's limits of the unit's baseline."""
    rate = count / exams if exams else None
    if chart is None or chart.baseline_rate is None:
        learnt = chart.baseline_exams if chart else 0
        return RateGlance(
            count=count,
            exams=exams,
            rate=rate,
            low=None,
            high=None,
            baseline=None,
            baseline_exams=learnt,
        )
    low, high = tail_limits(chart.baseline_rate, exams)
    return RateGlance(
        count=count,
        exams=exams,
        rate=rate,
        low=low / exams if exams else None,
        high=high / exams if exams else None,
        baseline=chart.baseline_rate,
        baseline_exams=chart.baseline_exams,
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


def open_alarms(connection: Connection) -> tuple[AlarmEntry, ...]:
    """Alarms that stand, the newest first."""
    rows = connection.execute(
        select(ALARMS).where(ALARMS.c.open_key.is_not(None)).order_by(ALARMS.c.alarm_no.desc())
    )
    return tuple(alarm_entry(row) for row in rows.mappings())


def alarm_entry(row: RowMapping) -> AlarmEntry:
    """An alarm of its row."""
    names = ("alarm_no", "site", "unit", "kind", "subject", "severity", "saw", "advice")
    times = ("since_ms", "opened_ms", "changed_ms", "closed_ms")
    facts: dict[str, Any] = {name: row[name] for name in (*names, *times)}
    return AlarmEntry(**facts, data=json.loads(row["data"]))


def _added(one: FlagCounts, other: FlagCounts) -> FlagCounts:
    return FlagCounts(
        priority=one.priority + other.priority,
        none=one.none + other.none,
        not_assessed=one.not_assessed + other.not_assessed,
    )


def _newest_drifts(connection: Connection) -> dict[int, DriftGlance]:
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
    return {row["unit_id"]: drift_glance(row) for row in rows}


def drift_glance(row: RowMapping) -> DriftGlance:
    """A unit's drift of its row."""
    return DriftGlance(
        day=row["day"],
        model=row["model"],
        model_version=row["model_version"],
        images=row["images"],
        psi=row["psi"],
        message=row["said"],
    )


def _gaps(connection: Connection) -> dict[int, GapGlance]:
    found: dict[int, GapGlance] = {}
    for row in connection.execute(select(STREAMS).order_by(STREAMS.c.ledger)).mappings():
        before = found.get(row["unit_id"])
        found[row["unit_id"]] = GapGlance(
            missing=row["missing"],
            since_ms=row["gap_since_ms"],
            replays_asked=row["replays_asked"],
            lost=row["lost"] + (before.lost if before else 0),
            lost_ms=row["lost_ms"] or (before.lost_ms if before else None),
        )
    return found


def _foreign(connection: Connection) -> tuple[ForeignGlance, ...]:
    rows = connection.execute(
        select(FOREIGN).order_by(FOREIGN.c.last_ms.desc()).limit(MOST_FOREIGN_SHOWN)
    ).mappings()
    return tuple(ForeignGlance(**row) for row in rows)


def _services(connection: Connection) -> tuple[ServiceGlance, ...]:
    rows = connection.execute(select(SERVICES).order_by(SERVICES.c.service)).mappings()
    return tuple(ServiceGlance(**row) for row in rows)
