"""What is wrong, judged from the store: each finding says what was seen, since when, what to do.

Pure: a fleet summary in, findings out. A finding that is no more found closes its alarm.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from runtime.messages.alarm import Severity
from runtime.site.control_charts.chart_rules import RULES
from runtime.site.control_charts.chart_state import Measure
from runtime.site.control_charts.drift_verdict import Suspect
from runtime.site.queries.fleet_summary import Standing
from runtime.site.store.site_clock import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runtime.site.control_charts.chart_state import ChartState
    from runtime.site.control_charts.drift_verdict import DriftVerdict
    from runtime.site.queries.fleet_summary import FleetSummary, UnitSummary

TWIN_REMEMBERED_MS = HOUR_MS
LOST_REMEMBERED_MS = DAY_MS
ROLLBACK_REMEMBERED_MS = DAY_MS


class AlarmKind(StrEnum):
    """Which alarm; the code that travels."""

    UNIT_SILENT = "unit_silent"
    NUMBERS_LOST = "numbers_lost"
    LEDGER_ROLLED_BACK = "ledger_rolled_back"
    CLOCK_OFF = "clock_off"
    TWO_UNITS_ONE_NAME = "two_units_one_name"
    RATE_RISEN = "rate_risen"
    RATE_FALLEN = "rate_fallen"
    RATE_JUMPED = "rate_jumped"
    RATE_UNEXPECTED = "rate_unexpected"
    DRIFT = "drift"
    FOREIGN_MESSAGES = "foreign_messages"
    SERVICE_SILENT = "service_silent"
    UNIT_CANNOT_JUDGE = "unit_cannot_judge"
    ROWS_PARKED = "rows_parked"
    PRIORITY_UNACKNOWLEDGED = "priority_unacknowledged"
    RATE_OUT_OF_BOUNDS = "rate_out_of_bounds"
    BROKER_QUEUE_ABANDONED = "broker_queue_abandoned"
    EXPIRY_MISSING = "expiry_missing"


@dataclass(frozen=True, kw_only=True)
class AlarmFinding:
    """Something that is wrong now. `subject` tells apart findings of one kind about one unit."""

    kind: AlarmKind
    unit: str
    severity: Severity
    since_ms: int
    saw: str
    advice: str
    subject: str = ""
    data: dict[str, str | float | int | bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AlarmLimits:
    """When something counts as wrong."""

    clock_offset_s: float = 60.0
    foreign_per_hour: int = 10
    service_silent_ms: int = 60_000


def findings(
    summary: FleetSummary,
    *,
    limits: AlarmLimits,
    drifts: Mapping[int, tuple[DriftVerdict, int]],
    expected: Mapping[tuple[str, str, str], float],
    foreign_last_hour: int,
) -> list[AlarmFinding]:
    """Everything that is wrong at the summary's moment.

    `drifts`: by unit, its newest drift's verdict and since when one stands. `expected`: the
    priority rate (0-1) by (model, version, operating point), as the packages were measured.
    """
    found: list[AlarmFinding] = []
    for unit in summary.units:
        found += _silence(unit, summary.at_ms)
        found += _losses(unit, summary.at_ms)
        found += _went_back(unit, summary.at_ms)
        found += _clock(unit, limits, summary.at_ms)
        found += _twins(unit, summary.at_ms)
        found += _rates(unit, expected)
        found += _drift(unit, drifts.get(unit.unit_id))
    found += _foreign(foreign_last_hour, limits, summary)
    found += _services(summary, limits)
    return found


def _silence(unit: UnitSummary, now_ms: int) -> Iterable[AlarmFinding]:
    if unit.standing is Standing.SILENT:
        silent_s = (now_ms - unit.last_heard_ms) / 1000
        yield AlarmFinding(
            kind=AlarmKind.UNIT_SILENT,
            unit=unit.unit,
            severity=Severity.CRITICAL,
            since_ms=unit.last_heard_ms,
            saw=f"nothing heard for {silent_s:.0f} s, and no goodbye",
            advice="Is the unit on and its network up? On the unit: mammoedge check; the broker's"
            " log names its last connection. Its exams are kept there and come when it is back.",
            data={"last_state": unit.reasons[0] if unit.reasons else "online"},
        )


def _losses(unit: UnitSummary, now_ms: int) -> Iterable[AlarmFinding]:
    lost_ms = unit.gap.lost_ms
    if unit.gap.lost and lost_ms is not None and now_ms - lost_ms < LOST_REMEMBERED_MS:
        yield AlarmFinding(
            kind=AlarmKind.NUMBERS_LOST,
            unit=unit.unit,
            severity=Severity.WARNING,
            since_ms=lost_ms,
            saw=f"{unit.gap.lost} messages never came, and replay did not bring them",
            advice="The unit keeps messages for its replay_days; older ones are gone from the wire."
            " Its console and ledger still have the exams. Look for a broker without persistence.",
            data={"lost": unit.gap.lost},
        )


def _went_back(unit: UnitSummary, now_ms: int) -> Iterable[AlarmFinding]:
    rollback = unit.rollback
    if rollback is not None and now_ms - rollback.at_ms < ROLLBACK_REMEMBERED_MS:
        yield AlarmFinding(
            kind=AlarmKind.LEDGER_ROLLED_BACK,
            unit=unit.unit,
            severity=Severity.CRITICAL,
            since_ms=rollback.at_ms,
            saw=f"the unit counts on from {rollback.last_seq}; {rollback.known_seq} had been heard",
            advice="Was a backup restored, a disk cloned, or a damaged ledger rebuilt? The unit's"
            " events say which. What it says from now on is entered as new; compare its console"
            " with the exams here.",
            data={"last_seq": rollback.last_seq, "known_seq": rollback.known_seq},
        )


def _clock(unit: UnitSummary, limits: AlarmLimits, now_ms: int) -> Iterable[AlarmFinding]:
    offset_ms = unit.clock_offset_ms or 0
    if abs(offset_ms) > limits.clock_offset_s * 1000:
        direction = "behind" if offset_ms > 0 else "ahead of"
        yield AlarmFinding(
            kind=AlarmKind.CLOCK_OFF,
            unit=unit.unit,
            severity=Severity.WARNING,
            since_ms=now_ms,
            saw=f"the unit's clock is {abs(offset_ms) / 1000:.0f} s {direction} the site's",
            advice="Set it by NTP (timedatectl). Until then its times are shown on the site's"
            " clock; message expiry at the unit counts by its own.",
            data={"offset_s": round(offset_ms / 1000, 1)},
        )


def _twins(unit: UnitSummary, now_ms: int) -> Iterable[AlarmFinding]:
    if unit.twin_ms is not None and now_ms - unit.twin_ms < TWIN_REMEMBERED_MS:
        yield AlarmFinding(
            kind=AlarmKind.TWO_UNITS_ONE_NAME,
            unit=unit.unit,
            severity=Severity.CRITICAL,
            since_ms=unit.twin_ms,
            saw="two machines speak under this name in turns",
            advice="Give one of them another name in unit.toml; with certificates for each unit the"
            " broker refuses the second.",
        )


def _rates(
    unit: UnitSummary, expected: Mapping[tuple[str, str, str], float]
) -> Iterable[AlarmFinding]:
    for measure in Measure:
        chart = unit.charts.get(measure.value)
        if chart is None or chart.baseline_rate is None:
            continue
        yield from _changed(unit, measure, chart, rose=True)
        yield from _changed(unit, measure, chart, rose=False)
        yield from _jumped(unit, measure, chart)
    chart = unit.charts.get(Measure.PRIORITY.value)
    if chart is not None:
        by_package = expected.get((chart.model, chart.model_version, chart.operating_point))
        yield from _unexpected(unit, chart, by_package)


_RATE_NAMES = {
    Measure.PRIORITY: "exams flagged priority",
    Measure.NOT_ASSESSED: "exams that could not be assessed",
}
_RATE_ADVICE = {
    Measure.PRIORITY: "Compare with the day's drift: has the scanner, its software or the model"
    " changed at that time? Have a reader look at some of the flagged exams before the flag is"
    " trusted again.",
    Measure.NOT_ASSESSED: "Look at the reasons on the unit's page: they name what the images lack"
    " or carry that they did not before.",
}


def _changed(
    unit: UnitSummary, measure: Measure, chart: ChartState, *, rose: bool
) -> Iterable[AlarmFinding]:
    stands = chart.up_alarm if rose else chart.down_alarm
    since_ms = chart.up_since_ms if rose else chart.down_since_ms
    count, exams = (
        (chart.up_count, chart.up_exams) if rose else (chart.down_count, chart.down_exams)
    )
    if not stands or since_ms is None or chart.baseline_rate is None:
        return
    yield AlarmFinding(
        kind=AlarmKind.RATE_RISEN if rose else AlarmKind.RATE_FALLEN,
        unit=unit.unit,
        subject=measure.value,
        severity=Severity.CRITICAL if measure is Measure.PRIORITY else Severity.WARNING,
        since_ms=since_ms,
        saw=f"{_RATE_NAMES[measure]}: {count} of {exams} since then ({count / exams:.1%});"
        f" normal here is {chart.baseline_rate:.1%} of {chart.baseline_exams}",
        advice=_RATE_ADVICE[measure],
        data={
            "count": count,
            "exams": exams,
            "share": round(count / exams, 4),
            "baseline": round(chart.baseline_rate, 4),
        },
    )


def _jumped(unit: UnitSummary, measure: Measure, chart: ChartState) -> Iterable[AlarmFinding]:
    block = RULES[measure].block
    if chart.block_alarm and chart.last_block_ms is not None and chart.baseline_rate is not None:
        yield AlarmFinding(
            kind=AlarmKind.RATE_JUMPED,
            unit=unit.unit,
            subject=measure.value,
            severity=Severity.WARNING,
            since_ms=chart.last_block_ms,
            saw=f"{_RATE_NAMES[measure]}: {chart.last_block_count} of the last complete {block},"
            f" outside the 3-sigma limits around {chart.baseline_rate:.1%}",
            advice=_RATE_ADVICE[measure],
            data={
                "count": chart.last_block_count,
                "exams": block,
                "baseline": round(chart.baseline_rate, 4),
            },
        )


def _unexpected(
    unit: UnitSummary, chart: ChartState, by_package: float | None
) -> Iterable[AlarmFinding]:
    if by_package is None or chart.baseline_rate is None or chart.baseline_exams < 200:
        return
    own = chart.baseline_count / chart.baseline_exams
    if by_package / 2 <= own <= by_package * 2:
        return
    yield AlarmFinding(
        kind=AlarmKind.RATE_UNEXPECTED,
        unit=unit.unit,
        subject=Measure.PRIORITY.value,
        severity=Severity.WARNING,
        since_ms=chart.since_ms,
        saw=f"the unit's normal priority rate is {own:.1%}; its package at {chart.operating_point}"
        f" was measured to give {by_package:.1%}",
        advice="Evaluate the package on this unit's images (mammoedge evaluate) and choose the"
        " operating point by that; charts watch for changes from what is normal here.",
        data={"own": round(own, 4), "package": round(by_package, 4)},
    )


_SUSPECT_WORDS = {
    Suspect.SCANNER: "the images themselves have changed: the scanner or its software",
    Suspect.POPULATION: "the breasts have changed and the scanner has not: other patients come",
    Suspect.MODEL: "the scores have changed and the images have not: package, precision or device",
    Suspect.UNKNOWN: "the scores have changed; the unit does not tell what its images look like",
}
_SUSPECT_ADVICE = {
    Suspect.SCANNER: "Ask the unit's maker what was changed since then; evaluate the package on new"
    " images before its flags are trusted again.",
    Suspect.POPULATION: "Compare with the invitations (age, region, assessment clinic). If it stays"
    " so, choose the operating point anew.",
    Suspect.MODEL: "Look at the unit's model version, precision and device in its story: a fallback"
    " or an update at that time explains it; mammoedge verify proves the package there.",
    Suspect.UNKNOWN: "Look at the unit's story for a change at that time: software, model, device.",
}


def _drift(unit: UnitSummary, known: tuple[DriftVerdict, int] | None) -> Iterable[AlarmFinding]:
    if known is None or known[0].suspect is None:
        return
    verdict, since_ms = known
    suspect = verdict.suspect
    assert suspect is not None  # noqa: S101 - narrows the type
    passed = ", ".join(f"{i.name} {i.psi:.2f} (limit {i.threshold:.2f})" for i in verdict.passed)
    yield AlarmFinding(
        kind=AlarmKind.DRIFT,
        unit=unit.unit,
        subject=suspect.value,
        severity=Severity.WARNING,
        since_ms=since_ms,
        saw=f"{_SUSPECT_WORDS[suspect]}; stability index: {passed}"[:512],
        advice=_SUSPECT_ADVICE[suspect],
        data={index.name: round(index.psi, 4) for index in verdict.passed},
    )


def _foreign(last_hour: int, limits: AlarmLimits, summary: FleetSummary) -> Iterable[AlarmFinding]:
    if last_hour > limits.foreign_per_hour and summary.foreign:
        newest = summary.foreign[0]
        yield AlarmFinding(
            kind=AlarmKind.FOREIGN_MESSAGES,
            unit="",
            severity=Severity.WARNING,
            since_ms=min(item.first_ms for item in summary.foreign),
            saw=f"{last_hour} messages within an hour that are none of ours, the last at"
            f" {newest.place} ({newest.why})",
            advice="Nothing of them enters a figure. The broker's log names the client; its access"
            " rules should let units write only below their own name.",
            data={"messages": last_hour, "why": newest.why},
        )


def _services(summary: FleetSummary, limits: AlarmLimits) -> Iterable[AlarmFinding]:
    for service in summary.services:
        said = json.loads(service.said)
        if said.get("stopped"):
            continue
        if summary.at_ms - service.seen_ms > limits.service_silent_ms:
            seen = datetime.fromtimestamp(service.seen_ms / 1000, tz=UTC)
            yield AlarmFinding(
                kind=AlarmKind.SERVICE_SILENT,
                unit="",
                subject=service.service,
                severity=Severity.WARNING,
                since_ms=service.seen_ms,
                saw=f"the service {service.service} was last seen at {seen:%Y-%m-%d %H:%M} UTC",
                advice=_advice_on_silence(said),
            )


def _advice_on_silence(said: dict[str, Any]) -> str:
    other = said.get("taken_over_by")
    if other:
        return (
            f"Start it again. Nothing is lost: {other} heard what the broker kept for it, and has"
            " its share of the load."
        )
    return (
        "Start it again. One that was taken away on purpose is forgotten with the rest after"
        " keep_days."
    )
