"""The fleet at one moment: frozen values for page, metrics, report and export.

Rates are 0-1, times are milliseconds since the epoch, UTC, on the site's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.messages.payloads import OtherCode
    from runtime.site.control_charts.chart_state import ChartState


class Standing(StrEnum):
    """How a unit stands, as the site sees it."""

    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    SILENT = "silent"
    """It should speak (its last word was not `offline`) and has not for too long."""


@dataclass(frozen=True, kw_only=True)
class FlagCounts:
    """Exams by their current flag."""

    priority: int = 0
    none: int = 0
    not_assessed: int = 0

    @property
    def exams(self) -> int:
        """All of them."""
        return self.priority + self.none + self.not_assessed


RATE_LEAST_EXAMS = 5
"""Of fewer exams no rate is told from chance, not even two thirds."""


@dataclass(frozen=True, kw_only=True)
class RateBounds:
    """Shares of a day's exams (0-1) above which a unit is not in order, whatever is usual there."""

    priority: float = 0.5
    not_assessed: float = 0.3


@dataclass(frozen=True, kw_only=True)
class RateSummary:
    """A rate of today against its limits.

    `low`, `high`: the p-chart's limits for as many exams as there were; None while the baseline
    is still learnt. `baseline`: what the unit does in normal operation.
    """

    count: int
    exams: int
    rate: float | None
    low: float | None
    high: float | None
    baseline: float | None
    baseline_exams: int
    bound: float | None = None
    """More is in order nowhere, whatever is usual at this unit."""

    @property
    def out_of_bounds(self) -> bool:
        """Whether today's rate is above what is in order anywhere."""
        few = self.exams < RATE_LEAST_EXAMS
        return not few and self.count > (self.bound or 1.0) * self.exams

    @property
    def beyond(self) -> bool:
        """Whether today's rate is outside its limits, learnt or absolute."""
        if self.out_of_bounds:
            return True
        if self.rate is None or self.low is None or self.high is None:
            return False
        return not self.low <= self.rate <= self.high


@dataclass(frozen=True, kw_only=True)
class ReasonRate:
    """Images of today that were not assessed for a reason, of all images of today."""

    reason: str
    images: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """A stretch's latency today, in ms to within 9 %.

    `stretch`: `unit` (durable to judged) or `wire` (judged to here).
    """

    stretch: str
    images: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class DriftSummary:
    """The newest drift of a unit's model. `psi`: against the model's reference, by the unit."""

    day: str
    model: str
    model_version: str
    images: int
    psi: float | None
    message: str
    """The whole `drift` payload."""


@dataclass(frozen=True, kw_only=True)
class GapSummary:
    """Numbers that are missing. `lost`: given up, because no replay brought them."""

    missing: int
    since_ms: int | None
    replays_asked: int
    lost: int
    lost_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class RollbackSummary:
    """When a unit's ledger went back, or was made anew: from which number to which."""

    at_ms: int
    known_seq: int
    last_seq: int


@dataclass(frozen=True, kw_only=True)
class AlarmEntry:
    """An alarm, open while `closed_ms` is None. `unit`: "" where it is about the service."""

    alarm_no: int
    site: str
    unit: str
    kind: str
    subject: str
    severity: str
    since_ms: int
    opened_ms: int
    changed_ms: int
    closed_ms: int | None
    saw: str
    advice: str
    data: dict[str, str | float | int | bool]


@dataclass(frozen=True, kw_only=True)
class UnitSummary:
    """One unit."""

    site: str
    unit: str
    unit_id: int
    standing: Standing | OtherCode
    """An `OtherCode`: a state that a unit of a later version said."""
    reasons: tuple[str, ...]
    state_since_ms: int | None
    last_heard_ms: int
    clock_offset_ms: int | None
    twin_ms: int | None
    today: FlagCounts
    hourly: tuple[int, ...]
    """Exams of each of the last 24 hours, oldest first; the last is the running one."""
    priority: RateSummary
    not_assessed: RateSummary
    not_assessed_reasons: tuple[ReasonRate, ...]
    latency: tuple[Percentiles, ...]
    drift: DriftSummary | None
    model: str
    model_version: str
    operating_point: str
    software: str
    requested_device: str
    actual_device: str
    unsigned_package: bool
    backlog: int | None
    """Rows that wait in the unit's outbox; None before its first `health`."""
    backlog_oldest_s: float | None
    parked: int
    queue_depth: int
    gap: GapSummary
    rollback: RollbackSummary | None
    """The last one; None if there was none."""
    duplicates: int
    conflicts: int
    alarms: tuple[AlarmEntry, ...]
    charts: dict[str, ChartState]
    """By measure, where there is one."""
    refused_last_hour: int = 0
    """Objects and frames."""
    images_last_hour: int = 0
    """Images that were taken, assessed or not."""
    unacknowledged: int = 0
    """Priority exams of the last day that nobody saw in time, nor since."""
    unacknowledged_since_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class ForeignSummary:
    """Messages on our topics that are none of ours."""

    place: str
    why: str
    messages: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, kw_only=True)
class ServiceSummary:
    """A site service on this database, by its own word (JSON)."""

    service: str
    started_ms: int
    seen_ms: int
    said: str


@dataclass(frozen=True, kw_only=True)
class FleetSummary:
    """The whole site at one moment. `day_ms`: where today begins."""

    at_ms: int
    day_ms: int
    units: tuple[UnitSummary, ...]
    alarms: tuple[AlarmEntry, ...]
    """Open ones of all units and of the service."""
    foreign: tuple[ForeignSummary, ...]
    services: tuple[ServiceSummary, ...]
