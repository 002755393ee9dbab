"""What a unit's history is made of: frozen values for its page, the report and the export.

Rates are 0-1, times are milliseconds since the epoch, UTC, on the site's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.site.control_charts.chart_state import ChartState
    from runtime.site.queries.fleet_summary import (
        AlarmEntry,
        DriftSummary,
        FlagCounts,
        Percentiles,
        RateSummary,
        ReasonRate,
    )


@dataclass(frozen=True, kw_only=True)
class HourFigures:
    """Exams of an hour."""

    hour_ms: int
    flags: FlagCounts


@dataclass(frozen=True, kw_only=True)
class DayFigures:
    """A day (UTC) of a unit."""

    day_ms: int
    flags: FlagCounts
    priority: RateSummary
    not_assessed: RateSummary
    images: int
    reasons: tuple[ReasonRate, ...]
    latency: tuple[Percentiles, ...]


@dataclass(frozen=True, kw_only=True)
class ModelSpan:
    """A model version at an operating point: when its exams were, and what they came to."""

    model: str
    model_version: str
    operating_point: str
    first_ms: int
    last_ms: int
    flags: FlagCounts


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """The unit's state from a moment on."""

    happened_ms: int
    state: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EventEntry:
    """Something that the unit told. `data`: JSON."""

    happened_ms: int
    event: str
    detail: str
    data: str


@dataclass(frozen=True, kw_only=True)
class ExamEntry:
    """An exam as it stands; `reasons` are codes."""

    exam_key: str
    happened_ms: int
    decided_ms: int
    flag: str
    final: bool
    revision: int
    score: float | None
    reasons: tuple[str, ...]
    model: str
    model_version: str


@dataclass(frozen=True, kw_only=True)
class UnitHistory:
    """A unit's days, oldest first, and its newest exams, events, alarms and states first."""

    site: str
    unit: str
    since_ms: int
    until_ms: int
    hours: tuple[HourFigures, ...]
    days: tuple[DayFigures, ...]
    models: tuple[ModelSpan, ...]
    drifts: tuple[DriftSummary, ...]
    charts: dict[str, ChartState]
    """By measure: `priority`, `not_assessed`."""
    states: tuple[StateChange, ...]
    events: tuple[EventEntry, ...]
    exams: tuple[ExamEntry, ...]
    alarms: tuple[AlarmEntry, ...]
