"""The whole fleet at one moment, read from the store.

Page, metrics, report and export all read here, so that they cannot disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from runtime.messages.payloads import HealthMessage, OtherCode, StatusMessage, UnitState
from runtime.site.control_charts.chart_state import Measure
from runtime.site.queries.fleet_facts import FleetFacts
from runtime.site.queries.fleet_summary import (
    FleetSummary,
    ForeignSummary,
    RateBounds,
    ServiceSummary,
    Standing,
    UnitSummary,
)
from runtime.site.store.site_clock import day_of
from runtime.site.store.tables import FOREIGN, SERVICES, UNITS

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

    from runtime.site.store.store import Store

MOST_FOREIGN_SHOWN = 100


class Fleet:
    """Reads the fleet. Thread-safe.

    Args:
        store: an open store.
        silent_after_s: a unit that said nothing for so long, and not that it leaves, is silent.
        bounds: rates that are in order nowhere.

    Raises:
        StoreError: from every method.
    """

    def __init__(
        self, store: Store, *, silent_after_s: float = 120.0, bounds: RateBounds | None = None
    ) -> None:
        self._store = store
        self._bounds = bounds or RateBounds()
        self._silent_after_ms = int(silent_after_s * 1000)

    def summary(self, now_ms: int, *, day_ms: int | None = None) -> FleetSummary:
        """The whole fleet; `day_ms` is where today begins (midnight UTC)."""
        day_ms = day_of(now_ms) if day_ms is None else day_ms
        with self._store.reading() as connection:
            facts = FleetFacts(connection, now_ms=now_ms, day_ms=day_ms)
            units = tuple(
                self._unit(row, facts)
                for row in connection.execute(
                    select(UNITS).order_by(UNITS.c.site, UNITS.c.unit)
                ).mappings()
            )
            return FleetSummary(
                at_ms=now_ms,
                day_ms=day_ms,
                units=units,
                alarms=facts.alarms,
                foreign=_foreign(connection),
                services=_services(connection),
            )

    def _unit(self, row: RowMapping, facts: FleetFacts) -> UnitSummary:
        unit_id = row["unit_id"]
        status = StatusMessage.model_validate_json(row["status"]) if row["status"] else None
        health = HealthMessage.model_validate_json(row["health"]) if row["health"] else None
        today = facts.today[unit_id]
        unseen = facts.unacknowledged.get(unit_id, [])
        model = status.model if status else None
        point = status.operating_point if status else None
        return UnitSummary(
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
            priority=facts.rate(
                unit_id, Measure.PRIORITY, today.priority, today.exams, self._bounds.priority
            ),
            not_assessed=facts.rate(
                unit_id,
                Measure.NOT_ASSESSED,
                today.not_assessed,
                today.exams,
                self._bounds.not_assessed,
            ),
            refused_last_hour=facts.refused[unit_id],
            images_last_hour=facts.images[unit_id],
            unacknowledged=len(unseen),
            unacknowledged_since_ms=min(unseen, default=None),
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
            rollback=facts.rollbacks.get(unit_id),
            duplicates=row["duplicates"],
            conflicts=row["conflicts"],
            alarms=tuple(
                alarm
                for alarm in facts.alarms
                if (alarm.site, alarm.unit) == (row["site"], row["unit"])
            ),
            charts=facts.charts_of(unit_id),
        )

    def _standing(self, row: RowMapping, now_ms: int) -> Standing | OtherCode:
        if row["state"] == UnitState.OFFLINE:
            return Standing.OFFLINE
        if now_ms - row["last_heard_ms"] > self._silent_after_ms or row["state"] is None:
            return Standing.SILENT
        state = row["state"]
        return Standing(state) if state in set(Standing) else OtherCode(state)


def _foreign(connection: Connection) -> tuple[ForeignSummary, ...]:
    rows = connection.execute(
        select(FOREIGN).order_by(FOREIGN.c.last_ms.desc()).limit(MOST_FOREIGN_SHOWN)
    ).mappings()
    return tuple(ForeignSummary(**row) for row in rows)


def _services(connection: Connection) -> tuple[ServiceSummary, ...]:
    rows = connection.execute(select(SERVICES).order_by(SERVICES.c.service)).mappings()
    return tuple(ServiceSummary(**row) for row in rows)
