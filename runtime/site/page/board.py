"""The fleet as the page shows it: small, and with what is the matter worked out in one place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from runtime.messages.payloads import OtherCode
from runtime.site.queries.drift_indexes import drift_indexes
from runtime.site.queries.fleet_summary import FlagCounts, Standing
from runtime.site.report.alarm_words import Fact, facts_of

if TYPE_CHECKING:
    from runtime.site.queries.fleet_summary import (
        AlarmEntry,
        DriftSummary,
        FleetSummary,
        RateSummary,
        UnitSummary,
    )

CLOCK_OFF_MS = 60_000
LONG_BACKLOG_S = 600.0
TWIN_SHOWN_MS = 24 * 3600 * 1000


class UnitTrouble(StrEnum):
    """What is the matter beside a unit's state and alarms; the page has words for each."""

    PRIORITY_BEYOND = "priority_beyond"
    NOT_ASSESSED_BEYOND = "not_assessed_beyond"
    BACKLOG = "backlog"
    PARKED = "parked"
    GAP = "gap"
    LOST = "lost"
    CLOCK = "clock"
    TWIN = "twin"
    DEVICE = "device"
    UNSIGNED = "unsigned"


KNOWN = frozenset({UnitTrouble.UNSIGNED, UnitTrouble.LOST, UnitTrouble.DEVICE})
"""Told on the unit's page, and nobody's alarm: settings, hardware, and what is past."""


class Level(StrEnum):
    """How a unit's tile looks, from the worst on."""

    CRITICAL = "critical"
    WARNING = "warning"
    AWAY = "away"
    """It said that it leaves: a unit that is switched off for the night."""
    RETIRED = "retired"
    """It was taken out of service; its books are kept."""
    WELL = "well"


@dataclass(frozen=True, kw_only=True)
class RateTile:
    """A rate of today (0-1) and its limits; `low` and `high` are None while they are learnt."""

    rate: float | None
    low: float | None
    high: float | None
    beyond: bool
    baseline_exams: int


@dataclass(frozen=True, kw_only=True)
class DriftTile:
    """The largest index of the unit's newest `drift`, and of what: `score` or a descriptor."""

    day: str
    largest: str
    psi: float


@dataclass(frozen=True, kw_only=True)
class AlarmTile:
    """An open alarm."""

    number: int
    site: str
    unit: str
    kind: str
    subject: str
    severity: str
    since_ms: int
    saw: str
    """In English: for a kind of alarm that the page has no sentence for."""
    advice: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, kw_only=True)
class UnitTile:
    """One unit on the page."""

    site: str
    unit: str
    level: Level
    standing: Standing | OtherCode
    reasons: tuple[str, ...]
    state_since_ms: int | None
    last_heard_ms: int
    troubles: tuple[UnitTrouble, ...]
    alarms: tuple[int, ...]
    today: FlagCounts
    hourly: tuple[int, ...]
    priority: RateTile
    not_assessed: RateTile
    drift: DriftTile | None
    backlog: int | None
    backlog_oldest_s: float | None
    missing: int
    clock_offset_ms: int | None
    latency_p95_ms: float | None
    model: str
    operating_point: str
    software: str
    requested_device: str
    actual_device: str


@dataclass(frozen=True, kw_only=True)
class ForeignTile:
    """Messages on our topics that are none of ours."""

    place: str
    why: str
    messages: int
    last_ms: int


@dataclass(frozen=True, kw_only=True)
class FleetBoard:
    """Everything that the page shows; units by site and name."""

    software: str
    day_ms: int
    heard_ms: int | None
    """Until when a site service is known to have listened to the broker; None: never."""
    units: tuple[UnitTile, ...]
    alarms: tuple[AlarmTile, ...]
    foreign: tuple[ForeignTile, ...]


def board_of(summary: FleetSummary, *, software: str, heard_ms: int | None) -> FleetBoard:
    """The fleet summary as the page shows it."""
    return FleetBoard(
        software=software,
        day_ms=summary.day_ms,
        heard_ms=heard_ms,
        units=tuple(tile_of(unit, summary.at_ms) for unit in summary.units),
        alarms=tuple(_alarm(alarm) for alarm in summary.alarms),
        foreign=tuple(
            ForeignTile(place=one.place, why=one.why, messages=one.messages, last_ms=one.last_ms)
            for one in summary.foreign
        ),
    )


def tile_of(unit: UnitSummary, now_ms: int) -> UnitTile:
    """One unit's tile."""
    drift = drift_tile(unit.drift)
    troubles = tuple(trouble for trouble, holds in _troubles(unit, now_ms) if holds)
    latency = next((one.p95_ms for one in unit.latency if one.stretch == "unit"), None)
    return UnitTile(
        site=unit.site,
        unit=unit.unit,
        level=_level(unit, troubles),
        standing=unit.standing,
        reasons=unit.reasons,
        state_since_ms=unit.state_since_ms,
        last_heard_ms=unit.last_heard_ms,
        troubles=troubles,
        alarms=tuple(alarm.alarm_no for alarm in unit.alarms),
        today=unit.today,
        hourly=unit.hourly,
        priority=_rate(unit.priority),
        not_assessed=_rate(unit.not_assessed),
        drift=drift,
        backlog=unit.backlog,
        backlog_oldest_s=unit.backlog_oldest_s,
        missing=unit.gap.missing,
        clock_offset_ms=unit.clock_offset_ms,
        latency_p95_ms=latency,
        model=f"{unit.model} {unit.model_version}".strip(),
        operating_point=unit.operating_point,
        software=unit.software,
        requested_device=unit.requested_device,
        actual_device=unit.actual_device,
    )


def drift_tile(drift: DriftSummary | None) -> DriftTile | None:
    """The largest index of a `drift` message; None where nothing could be compared yet."""
    if drift is None:
        return None
    found = drift_indexes(drift)
    if not found:
        return None
    largest = max(found, key=lambda name: found[name])
    return DriftTile(day=drift.day, largest=largest, psi=round(found[largest], 3))


def _troubles(unit: UnitSummary, now_ms: int) -> list[tuple[UnitTrouble, bool]]:
    oldest_s = unit.backlog_oldest_s or 0.0
    other_device = unit.actual_device != "" and unit.actual_device != (
        unit.requested_device.split(",")[0] or unit.actual_device
    )
    return [
        (UnitTrouble.TWIN, unit.twin_ms is not None and now_ms - unit.twin_ms < TWIN_SHOWN_MS),
        (UnitTrouble.PRIORITY_BEYOND, unit.priority.beyond),
        (UnitTrouble.NOT_ASSESSED_BEYOND, unit.not_assessed.beyond),
        (UnitTrouble.GAP, unit.gap.missing > 0),
        (UnitTrouble.LOST, unit.gap.lost > 0),
        (UnitTrouble.BACKLOG, oldest_s > LONG_BACKLOG_S),
        (UnitTrouble.PARKED, unit.parked > 0),
        (UnitTrouble.CLOCK, abs(unit.clock_offset_ms or 0) > CLOCK_OFF_MS),
        (UnitTrouble.DEVICE, other_device),
        (UnitTrouble.UNSIGNED, unit.unsigned_package),
    ]


def _level(unit: UnitSummary, troubles: tuple[UnitTrouble, ...]) -> Level:
    if unit.standing is Standing.RETIRED:
        return Level.RETIRED
    severe = any(alarm.severity == "critical" for alarm in unit.alarms)
    if unit.standing is Standing.SILENT or severe or UnitTrouble.TWIN in troubles:
        return Level.CRITICAL
    urgent = [one for one in troubles if one not in KNOWN]
    # A state of a later version: nothing says that it is well.
    doubtful = unit.standing is Standing.DEGRADED or isinstance(unit.standing, OtherCode)
    if doubtful or urgent or unit.alarms:
        return Level.WARNING
    return Level.AWAY if unit.standing is Standing.OFFLINE else Level.WELL


def _rate(rate: RateSummary) -> RateTile:
    return RateTile(
        rate=rate.rate,
        low=rate.low,
        high=rate.high,
        beyond=rate.beyond,
        baseline_exams=rate.baseline_exams,
    )


def _alarm(alarm: AlarmEntry) -> AlarmTile:
    return AlarmTile(
        number=alarm.alarm_no,
        site=alarm.site,
        unit=alarm.unit,
        kind=alarm.kind,
        subject=alarm.subject,
        severity=alarm.severity,
        since_ms=alarm.since_ms,
        saw=alarm.saw,
        advice=alarm.advice,
        facts=tuple(facts_of(alarm.kind, alarm.subject, alarm.data)),
    )
