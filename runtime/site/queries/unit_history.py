"""A unit's history: what it did in the last days, for its page and for the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select

from runtime.image.outcome import Flag
from runtime.site.control_charts.chart_state import ChartState, Measure
from runtime.site.queries.alarm_entries import alarm_entry
from runtime.site.queries.fleet_summary import AlarmEntry, DriftSummary, FlagCounts
from runtime.site.queries.history import (
    DayFigures,
    EventEntry,
    ExamEntry,
    HourFigures,
    ModelSpan,
    StateChange,
    UnitHistory,
)
from runtime.site.queries.summary_figures import (
    drift_summary,
    percentiles,
    rate_summary,
    reason_rates,
)
from runtime.site.store.site_clock import DAY_MS, day_of
from runtime.site.store.tables import (
    ALARMS,
    CHARTS,
    DRIFTS,
    EVENTS,
    EXAMS,
    HOURS,
    LATENCIES,
    REASONS,
    STATES,
    UNITS,
)

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Connection

    from runtime.site.store.store import Store


def unit_history(
    store: Store, site: str, unit: str, *, since_ms: int, until_ms: int, most: int = 200
) -> UnitHistory | None:
    """The history of a unit between two moments (the second exclusive); None if it is unknown.

    `most` limits exams, events, states and alarms each. Days and hours without exams are left out.

    Raises:
        StoreError: the database failed.
    """
    with store.reading() as connection:
        unit_id = connection.scalar(
            select(UNITS.c.unit_id).where(UNITS.c.site == site, UNITS.c.unit == unit)
        )
        if unit_id is None:
            return None
        reader = _Reader(connection, unit_id, since_ms, until_ms, most)
        charts = reader.charts()
        return UnitHistory(
            site=site,
            unit=unit,
            since_ms=since_ms,
            until_ms=until_ms,
            hours=reader.hours(),
            days=reader.days(charts),
            models=reader.models(),
            drifts=reader.drifts(),
            charts=charts,
            states=reader.states(),
            events=reader.events(),
            exams=reader.exams(),
            alarms=reader.alarms(site, unit),
        )


class _Reader:
    def __init__(
        self, connection: Connection, unit_id: int, since_ms: int, until_ms: int, most: int
    ) -> None:
        self._connection = connection
        self._unit_id = unit_id
        self._since_ms = since_ms
        self._until_ms = until_ms
        self._most = most

    def charts(self) -> dict[str, ChartState]:
        rows = self._connection.execute(
            select(CHARTS.c.measure, CHARTS.c.state).where(CHARTS.c.unit_id == self._unit_id)
        )
        return {measure: ChartState.model_validate_json(state) for measure, state in rows}

    def hours(self) -> tuple[HourFigures, ...]:
        columns = [func.sum(HOURS.c[flag.value]) for flag in Flag]
        rows = self._connection.execute(
            select(HOURS.c.hour_ms, *columns)
            .where(
                HOURS.c.unit_id == self._unit_id,
                HOURS.c.hour_ms >= self._since_ms,
                HOURS.c.hour_ms < self._until_ms,
            )
            .group_by(HOURS.c.hour_ms)
            .order_by(HOURS.c.hour_ms)
        )
        names = [flag.value for flag in Flag]
        return tuple(
            HourFigures(
                hour_ms=hour_ms,
                flags=FlagCounts(**dict(zip(names, map(int, counts), strict=True))),
            )
            for hour_ms, *counts in rows
        )

    def days(self, charts: dict[str, ChartState]) -> tuple[DayFigures, ...]:
        totals: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for hour in self.hours():
            counts = {flag.value: getattr(hour.flags, flag.value) for flag in Flag}
            totals[day_of(hour.hour_ms)].update(counts)
        reasons = self._reasons()
        latencies = self._latencies()
        found = []
        for day_ms in sorted(totals):
            flags = FlagCounts(**totals[day_ms])
            rates = {
                measure: rate_summary(
                    charts.get(measure.value), getattr(flags, measure.value), flags.exams
                )
                for measure in Measure
            }
            found.append(
                DayFigures(
                    day_ms=day_ms,
                    flags=flags,
                    priority=rates[Measure.PRIORITY],
                    not_assessed=rates[Measure.NOT_ASSESSED],
                    images=reasons[day_ms][""],
                    reasons=reason_rates(reasons[day_ms]),
                    latency=tuple(
                        percentiles(stretch, buckets)
                        for stretch, buckets in sorted(latencies[day_ms].items())
                    ),
                )
            )
        return tuple(found)

    def _reasons(self) -> defaultdict[int, Counter[str]]:
        counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
        rows = self._connection.execute(
            select(REASONS.c.day_ms, REASONS.c.reason, REASONS.c.images).where(
                REASONS.c.unit_id == self._unit_id, self._days_of(REASONS.c.day_ms)
            )
        )
        for day_ms, reason, images in rows:
            counts[day_ms][reason] = images
        return counts

    def _latencies(self) -> defaultdict[int, defaultdict[str, Counter[int]]]:
        counts: defaultdict[int, defaultdict[str, Counter[int]]] = defaultdict(
            lambda: defaultdict(Counter)
        )
        rows = self._connection.execute(
            select(
                LATENCIES.c.day_ms, LATENCIES.c.stretch, LATENCIES.c.bucket, LATENCIES.c.images
            ).where(LATENCIES.c.unit_id == self._unit_id, self._days_of(LATENCIES.c.day_ms))
        )
        for day_ms, stretch, bucket, images in rows:
            counts[day_ms][stretch][bucket] = images
        return counts

    def _days_of(self, column: Column[int]) -> ColumnElement[bool]:
        return and_(column > self._since_ms - DAY_MS, column < self._until_ms)

    def models(self) -> tuple[ModelSpan, ...]:
        columns = [func.sum(HOURS.c[flag.value]) for flag in Flag]
        who = (HOURS.c.model, HOURS.c.model_version, HOURS.c.operating_point)
        rows = self._connection.execute(
            select(*who, func.min(HOURS.c.hour_ms), func.max(HOURS.c.hour_ms), *columns)
            .where(
                HOURS.c.unit_id == self._unit_id,
                HOURS.c.hour_ms >= self._since_ms,
                HOURS.c.hour_ms < self._until_ms,
            )
            .group_by(*who)
            .order_by(func.min(HOURS.c.hour_ms))
        )
        names = [flag.value for flag in Flag]
        return tuple(
            ModelSpan(
                model=model,
                model_version=version,
                operating_point=point,
                first_ms=first_ms,
                last_ms=last_ms,
                flags=FlagCounts(**dict(zip(names, map(int, counts), strict=True))),
            )
            for model, version, point, first_ms, last_ms, *counts in rows
        )

    def drifts(self) -> tuple[DriftSummary, ...]:
        rows = self._connection.execute(
            select(DRIFTS)
            .where(DRIFTS.c.unit_id == self._unit_id, self._within(DRIFTS.c.happened_ms))
            .order_by(DRIFTS.c.day, DRIFTS.c.happened_ms)
        )
        return tuple(drift_summary(row) for row in rows.mappings())

    def states(self) -> tuple[StateChange, ...]:
        rows = self._connection.execute(
            select(STATES.c.happened_ms, STATES.c.state, STATES.c.reasons)
            .where(STATES.c.unit_id == self._unit_id, self._within(STATES.c.happened_ms))
            .order_by(STATES.c.state_no.desc())
            .limit(self._most)
        )
        return tuple(
            StateChange(happened_ms=at, state=state, reasons=tuple(reasons.split()))
            for at, state, reasons in rows
        )

    def events(self) -> tuple[EventEntry, ...]:
        rows = self._connection.execute(
            select(EVENTS.c.happened_ms, EVENTS.c.event, EVENTS.c.detail, EVENTS.c.data)
            .where(EVENTS.c.unit_id == self._unit_id, self._within(EVENTS.c.happened_ms))
            .order_by(EVENTS.c.happened_ms.desc(), EVENTS.c.seq.desc())
            .limit(self._most)
        )
        return tuple(EventEntry(**row) for row in rows.mappings())

    def exams(self) -> tuple[ExamEntry, ...]:
        rows = self._connection.execute(
            select(EXAMS)
            .where(EXAMS.c.unit_id == self._unit_id, self._within(EXAMS.c.happened_ms))
            .order_by(EXAMS.c.happened_ms.desc(), EXAMS.c.exam_key)
            .limit(self._most)
        ).mappings()
        return tuple(
            ExamEntry(
                exam_key=row["exam_key"],
                happened_ms=row["happened_ms"],
                decided_ms=row["decided_ms"],
                flag=row["flag"],
                final=row["final"],
                revision=row["revision"],
                score=row["score"],
                reasons=tuple(row["reasons"].split()),
                model=row["model"] or "",
                model_version=row["model_version"] or "",
            )
            for row in rows
        )

    def alarms(self, site: str, unit: str) -> tuple[AlarmEntry, ...]:
        rows = self._connection.execute(
            select(ALARMS)
            .where(ALARMS.c.site == site, ALARMS.c.unit == unit, self._stood_within())
            .order_by(ALARMS.c.alarm_no.desc())
            .limit(self._most)
        )
        return tuple(alarm_entry(row) for row in rows.mappings())

    def _stood_within(self) -> ColumnElement[bool]:
        ended = ALARMS.c.closed_ms.is_(None) | (ALARMS.c.closed_ms >= self._since_ms)
        return ended & (ALARMS.c.opened_ms < self._until_ms)

    def _within(self, column: Column[int]) -> ColumnElement[bool]:
        return and_(column >= self._since_ms, column < self._until_ms)
