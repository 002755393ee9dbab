"""The fleet as Prometheus reads it.

Each answer is made anew from a summary of the store: a registry of its own, filled and thrown away,
so that nothing is kept of a unit that is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from runtime.image.outcome import Flag
from runtime.site.control_charts.drift_verdict import SCORE
from runtime.site.queries.fleet_summary import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.site.queries.fleet_summary import FleetSummary, UnitSummary
    from runtime.site.store.service_state import ServiceState

GAUGE = "gauge"
COUNTER = "counter"
SUMMARY = "summary"
"""Quantiles that were computed where the durations were measured."""


class Exposition:
    """Samples by metric, in the order in which metrics were first named; a collector."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def sample(
        self, name: str, help_text: str, value: float, kind: str = GAUGE, /, **labels: str
    ) -> None:
        """One sample."""
        full = f"mammoedge_{name}"
        if full not in self._metrics:
            # A counter is declared without the suffix that its samples bear (OpenMetrics 5.1).
            self._metrics[full] = Metric(full.removesuffix("_total"), help_text, kind)
        self._metrics[full].add_sample(full, labels, value)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        yield from self._metrics.values()


def exposition(state: ServiceState, summary: FleetSummary | None) -> bytes:
    """Everything; without a summary (the database does not answer) the service's own figures.

    Text exposition format 0.0.4, UTF-8.
    """
    page = Exposition()
    _service(page, state)
    if summary is not None:
        for unit in summary.units:
            _unit(page, unit)
        for item in summary.foreign:
            page.sample(
                "foreign_messages_total",
                "Messages on our topics that are none of ours",
                item.messages,
                COUNTER,
                place=item.place,
                why=item.why,
            )
    registry = CollectorRegistry()
    registry.register(page)
    return generate_latest(registry)


def _service(page: Exposition, state: ServiceState) -> None:
    gauge, name = page.sample, {"service": state.service}
    gauge("site_broker_up", "Whether the broker lets us listen", state.broker_up, **name)
    for fault in ("full", "locked", "gone", "refused"):
        gauge(
            "site_database_fault",
            "Whether the database has this fault; nothing is acknowledged meanwhile",
            state.database_fault == fault,
            **name,
            fault=fault,
        )
    gauge("site_webhook_up", "Whether the webhook takes alarms", not state.webhook_problem, **name)
    gauge("site_watching", "Whether this service judges and alarms", state.watching, **name)
    gauge("site_waiting_messages", "Messages here that are not committed", state.waiting, **name)
    for metric, total in (
        ("committed", state.committed),
        ("duplicate", state.duplicates),
        ("foreign", state.foreign),
        ("dropped_health", state.unread_dropped),
    ):
        page.sample(
            f"site_{metric}_messages_total",
            f"Messages since the start: {metric}",
            total,
            COUNTER,
            **name,
        )
    for quantile, value in (("0.5", state.commit_p50_ms), ("0.95", state.commit_p95_ms)):
        page.sample(
            "site_commit_seconds",
            "How long a batch takes into the database",
            value / 1000,
            SUMMARY,
            **name,
            quantile=quantile,
        )


def _unit(page: Exposition, unit: UnitSummary) -> None:
    who = {"site": unit.site, "unit": unit.unit}
    _standing(page, unit, who)
    _rates(page, unit, who)
    _wire(page, unit, who)


def _standing(page: Exposition, unit: UnitSummary, who: dict[str, str]) -> None:
    gauge = page.sample
    # A state of a later version is one more series, while it lasts.
    for standing in dict.fromkeys((*Standing, unit.standing)):
        gauge(
            "unit_standing",
            "How the unit stands: 1 for one of these",
            unit.standing == standing,
            **who,
            standing=standing.value,
        )
    gauge(
        "unit_info",
        "What runs there",
        1,
        **who,
        software=unit.software,
        model=unit.model,
        model_version=unit.model_version,
        operating_point=unit.operating_point,
        device=unit.actual_device,
    )
    for alarm in unit.alarms:
        gauge(
            "alarm",
            "An alarm that stands",
            1,
            **who,
            kind=alarm.kind,
            subject=alarm.subject,
            severity=alarm.severity,
        )


def _rates(page: Exposition, unit: UnitSummary, who: dict[str, str]) -> None:
    gauge = page.sample
    for flag in Flag:
        count = getattr(unit.today, flag.value)
        gauge("exams_today", "Exams of today (UTC) by flag", count, **who, flag=flag.value)
    for measure, rate in (("priority", unit.priority), ("not_assessed", unit.not_assessed)):
        for name, help_text, value in (
            ("rate", "Share of today's exams", rate.rate),
            ("rate_low", "Lower control limit", rate.low),
            ("rate_high", "Upper control limit", rate.high),
            ("rate_baseline", "What is normal at this unit", rate.baseline),
        ):
            if value is not None:
                gauge(name, help_text, value, **who, measure=measure)
    for reason in unit.not_assessed_reasons:
        gauge(
            "images_not_assessed_rate",
            "Share of today's images, by reason",
            reason.rate,
            **who,
            reason=reason.reason,
        )
    if unit.drift is not None and unit.drift.psi is not None:
        gauge(
            "drift_psi",
            "Population stability index against the model's reference",
            unit.drift.psi,
            **who,
            of=SCORE,
        )


def _wire(page: Exposition, unit: UnitSummary, who: dict[str, str]) -> None:
    gauge = page.sample
    for stretch in unit.latency:
        for quantile, value in (("0.5", stretch.p50_ms), ("0.95", stretch.p95_ms)):
            page.sample(
                "latency_seconds",
                "Image durable to judged (unit); judged to here (wire); today",
                value / 1000,
                SUMMARY,
                **who,
                stretch=stretch.stretch,
                quantile=quantile,
            )
    if unit.backlog is not None:
        gauge("outbox_rows", "Rows that wait at the unit", unit.backlog, **who)
    if unit.clock_offset_ms is not None:
        offset_s = unit.clock_offset_ms / 1000
        gauge("clock_offset_seconds", "Site's clock minus the unit's", offset_s, **who)
    gauge("missing_messages", "Numbers that have not come yet", unit.gap.missing, **who)
    gauge("parked_rows", "Rows that the broker refused three times", unit.parked, **who)
    for name, help_text, total in (
        ("lost_messages_total", "Numbers given up", unit.gap.lost),
        ("duplicate_messages_total", "Numbers that came again", unit.duplicates),
        ("conflicting_messages_total", "Numbers said anew with other words", unit.conflicts),
    ):
        page.sample(name, help_text, total, COUNTER, **who)
