"""What matters most: a unit that cannot judge, a flag that nobody saw, rows that nobody gets.

Pure, like `alarm_rules`. Each is a warning at first and critical when it has stood for a while; it
stands since it was found, which its open alarm remembers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.messages.alarm import Severity
from runtime.messages.status_reason import StatusReason
from runtime.site.alarms.alarm_rules import AlarmFinding, AlarmKind
from runtime.site.control_charts.chart_state import Measure
from runtime.site.queries.fleet_summary import RATE_LEAST_EXAMS, Standing
from runtime.site.store.site_clock import HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.site.queries.fleet_summary import AlarmEntry, FleetSummary, UnitSummary

CANNOT_JUDGE = frozenset(
    {
        StatusReason.WORKER_NOT_READY.value,
        StatusReason.BACKLOG_FULL.value,
        StatusReason.DISK_LOW.value,
        "ledger_failed",
        "storage_failed",
    }
)
STARTING_MS = 300_000
"""A start takes seconds, the first on a device some minutes; longer is no start any more."""
REFUSED_LEAST = 4
"""Objects refused within an hour, and no image taken: the four views of one exam."""
IMAGES_REFUSED = "images_refused"


@dataclass(frozen=True, kw_only=True)
class UrgentLimits:
    """When a warning becomes critical, and how the services share their work."""

    critical_after_ms: int = 600_000
    service_silent_ms: int = 60_000
    shared: bool = False
    """Whether several services share one subscription ($share)."""
    session_ms: int = 168 * 3_600_000


def urgent_findings(summary: FleetSummary, limits: UrgentLimits) -> list[AlarmFinding]:
    """Everything of this kind at the summary's moment."""
    book = _Book(summary, limits)
    found: list[AlarmFinding] = []
    for unit in summary.units:
        found += _cannot_judge(unit, book)
        found += _parked(unit, book)
        found += _unacknowledged(unit, book)
        found += _rates_beyond_bounds(unit, book)
    found += _abandoned_queues(summary, book)
    found += _flags_without_expiry(summary, book)
    return found


class _Book:
    """What stands already, and since when."""

    def __init__(self, summary: FleetSummary, limits: UrgentLimits) -> None:
        self.now_ms = summary.at_ms
        self.limits = limits
        self._open = {(a.unit, a.kind, a.subject): a for a in summary.alarms}

    def standing(self, unit: str, kind: AlarmKind, subject: str) -> AlarmEntry | None:
        """The open alarm of that kind."""
        return self._open.get((unit, kind.value, subject))

    def finding(
        self,
        kind: AlarmKind,
        unit: str,
        saw: str,
        advice: str,
        *,
        subject: str = "",
        since_ms: int | None = None,
        data: dict[str, str | float | int | bool] | None = None,
    ) -> AlarmFinding:
        """One finding, with the severity that its age gives it."""
        stands = self.standing(unit, kind, subject)
        since_ms = self.now_ms if since_ms is None else since_ms
        if stands is not None:
            since_ms = min(since_ms, stands.since_ms)
        old = self.now_ms - since_ms >= self.limits.critical_after_ms
        return AlarmFinding(
            kind=kind,
            unit=unit,
            subject=subject,
            severity=Severity.CRITICAL if old else Severity.WARNING,
            since_ms=since_ms,
            saw=saw,
            advice=advice,
            data=data or {},
        )


def _cannot_judge(unit: UnitSummary, book: _Book) -> Iterable[AlarmFinding]:
    reasons = _reasons_that_stop(unit, book.now_ms)
    advice = (
        "Its images are kept and read in the usual order; none of them has a flag. On the unit:"
        " mammoedge check, the log, docs/troubleshooting.md under this reason."
    )
    for reason in reasons:
        saw = f"the unit cannot judge images: {reason}"
        yield book.finding(AlarmKind.UNIT_CANNOT_JUDGE, unit.unit, saw, advice, subject=reason)
    if unit.refused_last_hour >= REFUSED_LEAST and not unit.images_last_hour:
        yield book.finding(
            AlarmKind.UNIT_CANNOT_JUDGE,
            unit.unit,
            f"{unit.refused_last_hour} objects were refused within an hour, and no image was taken",
            "The unit's events name the reason. Does the modality send what it sent before?",
            subject=IMAGES_REFUSED,
            data={"refused": unit.refused_last_hour},
        )


def _reasons_that_stop(unit: UnitSummary, now_ms: int) -> list[str]:
    # A unit that went silent said these last; one that said goodbye says nothing of now.
    if unit.standing is Standing.OFFLINE:
        return []
    stopped = sorted(CANNOT_JUDGE.intersection(unit.reasons))
    starting = StatusReason.STARTING.value in unit.reasons
    if starting and now_ms - (unit.state_since_ms or now_ms) >= STARTING_MS:
        stopped.append(StatusReason.STARTING.value)
    return stopped


def _parked(unit: UnitSummary, book: _Book) -> Iterable[AlarmFinding]:
    if unit.parked and unit.standing is not Standing.OFFLINE:
        yield book.finding(
            AlarmKind.ROWS_PARKED,
            unit.unit,
            f"the broker refused {unit.parked} of the unit's messages for good",
            "Its access rules or packet limit: the broker's log and mammoedge check at the unit say"
            " which. After mending it, ask for a replay.",
            data={"parked": unit.parked},
        )


def _unacknowledged(unit: UnitSummary, book: _Book) -> Iterable[AlarmFinding]:
    if unit.unacknowledged:
        yield book.finding(
            AlarmKind.PRIORITY_UNACKNOWLEDGED,
            unit.unit,
            f"{unit.unacknowledged} exams flagged priority were seen by nobody at the unit in time",
            "Telephone. Whoever is at the unit presses Seen on the exam; the flag is in the"
            " worklist's messages all the same.",
            since_ms=unit.unacknowledged_since_ms,
            data={"exams": unit.unacknowledged},
        )


def _rates_beyond_bounds(unit: UnitSummary, book: _Book) -> Iterable[AlarmFinding]:
    """Learnt limits say what is unusual here; these say what is not in order anywhere."""
    for measure, rate in (
        (Measure.PRIORITY, unit.priority),
        (Measure.NOT_ASSESSED, unit.not_assessed),
    ):
        stands = book.standing(unit.unit, AlarmKind.RATE_OUT_OF_BOUNDS, measure.value)
        if rate.exams < RATE_LEAST_EXAMS:
            if stands is not None:  # the day is young: what was found yesterday is not over
                yield book.finding(
                    AlarmKind.RATE_OUT_OF_BOUNDS,
                    unit.unit,
                    stands.saw,
                    stands.advice,
                    subject=measure.value,
                    data=stands.data,
                )
        elif rate.out_of_bounds and rate.rate is not None and rate.bound is not None:
            words = "flagged priority" if measure is Measure.PRIORITY else "not assessed"
            yield book.finding(
                AlarmKind.RATE_OUT_OF_BOUNDS,
                unit.unit,
                f"{rate.count} of today's {rate.exams} exams were {words} ({rate.rate:.0%}); more"
                f" than {rate.bound:.0%} is in order nowhere",
                "Look at the reasons on the unit's page, at the package and its operating point:"
                " whether it is usual here does not matter.",
                subject=measure.value,
                data={
                    "count": rate.count,
                    "exams": rate.exams,
                    "share": round(rate.rate, 4),
                    "bound": rate.bound,
                },
            )


def _abandoned_queues(summary: FleetSummary, book: _Book) -> Iterable[AlarmFinding]:
    limits = book.limits
    if not limits.shared:
        return
    for service in summary.services:
        if json.loads(service.said).get("taken_over_by"):
            continue  # another of its group has heard what waited for it
        silent_ms = summary.at_ms - service.seen_ms
        if limits.service_silent_ms < silent_ms < limits.session_ms:
            yield book.finding(
                AlarmKind.BROKER_QUEUE_ABANDONED,
                "",
                f"the broker keeps a share of all messages for the service {service.service}, which"
                " does not fetch them",
                "Start it again: its queue is then drained. Another of its group should have heard"
                " what waits for it: see the log of the one that watches.",
                subject=service.service,
                since_ms=service.seen_ms,
            )


def _flags_without_expiry(summary: FleetSummary, book: _Book) -> Iterable[AlarmFinding]:
    """Every flag of ours has an expiry; MQTT 3.1.1 has none, and takes it off in silence."""
    last: dict[str, int] = {}
    for service in summary.services:
        for unit, at_ms in json.loads(service.said).get("expiry_missing_ms", {}).items():
            last[unit] = max(at_ms, last.get(unit, 0))
    for unit, at_ms in sorted(last.items()):
        if summary.at_ms - at_ms < HOUR_MS:
            yield book.finding(
                AlarmKind.EXPIRY_MISSING,
                unit,
                "the unit's flags come without an expiry: an old one stays at the broker as if it"
                " were of now",
                "A bridge or proxy that speaks MQTT 3.1.1 stands between: give the bridge"
                " bridge_protocol_version mqttv50 (docs/site/bridge.md).",
                since_ms=at_ms,
            )
