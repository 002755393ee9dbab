"""`mammoedge site report`: a month as one HTML page, of the fleet and of each unit.

Self-contained: style and charts are in it, it asks no other host, and it prints. A mail can carry
it, an archive can keep it.
"""

from __future__ import annotations

import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING

from runtime.image.outcome import Flag
from runtime.site.config.settings import load_site_settings
from runtime.site.queries.drift_indexes import drift_indexes
from runtime.site.queries.fleet_summary import FlagCounts
from runtime.site.queries.month import Month, month_of_units
from runtime.site.report.unit_section import (
    UnitSection,
    alarm_table,
    chart_figure,
    days_between,
    exams_chart,
    table,
)
from runtime.site.report.wording import Wording, site_catalogues
from runtime.site.store.site_clock import day_of
from runtime.web.markup import Markup, el

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable

    from runtime.site.queries.fleet_summary import AlarmEntry
    from runtime.site.queries.history import UnitHistory

MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
MOST_ALARMS_OF_A_UNIT = 200
PROGRESS_S = 2.0
# The report may load nothing at all; its one style element is named by its presence here.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """What the fleet's part says of a unit."""

    name: str
    anchor: str
    flags: FlagCounts
    latency_p95_ms: float | None
    largest_psi: float | None
    alarms: int


class Report:
    """A month in a language. Units come one after the other, so that only one is in memory."""

    def __init__(self, month: Month, wording: Wording, *, now_ms: int) -> None:
        self._month = month
        self._w = wording
        self._now_ms = now_ms
        self._rows: list[ReportRow] = []
        self._days: defaultdict[str, FlagCounts] = defaultdict(FlagCounts)
        self._alarms: list[AlarmEntry] = []
        self._sections: list[Markup] = []

    def add(self, history: UnitHistory) -> None:
        """A unit that had an exam, an alarm or a drift in that month."""
        if not (history.days or history.alarms or history.drifts):
            return
        anchor = f"unit-{len(self._rows) + 1}"
        total = FlagCounts()
        for day in history.days:
            total = total_of((total, day.flags))
            name = self._w.day(day.day_ms)
            self._days[name] = total_of((self._days[name], day.flags))
        latencies = [p.p95_ms for d in history.days for p in d.latency if p.stretch == "unit"]
        psi = [value for drift in history.drifts for value in drift_indexes(drift).values()]
        self._rows.append(
            ReportRow(
                name=f"{history.site}/{history.unit}",
                anchor=anchor,
                flags=total,
                latency_p95_ms=max(latencies, default=None),
                largest_psi=max(psi, default=None),
                alarms=len(history.alarms),
            )
        )
        self._alarms += history.alarms
        # Beyond the end of a month that still runs there is nothing to draw.
        until_ms = min(history.until_ms, max(self._now_ms, history.since_ms + 1))
        story = UnitSection(replace(history, until_ms=until_ms), self._w, key=anchor)
        self._sections.append(
            el(
                "section",
                el("h2", f"{history.site}/{history.unit}"),
                story.charts(),
                story.models(),
                story.reasons(),
                story.alarms() if history.alarms else None,
                class_="of-unit",
                id=anchor,
            )
        )

    def html(self) -> str:
        """The whole page."""
        w, title = self._w, self._title()
        head = el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("meta", http_equiv="Content-Security-Policy", content=POLICY),
            el("title", title),
            Markup(f"<style>{_style()}</style>"),
        )
        body = el("body", el("header", el("h1", title), *self._preface()), self._main())
        return f"<!doctype html>\n{el('html', head, body, lang=w.language)}\n"

    def _title(self) -> str:
        return f"{self._w.t('report.title')}: {self._w.month(self._month.year, self._month.month)}"

    def _preface(self) -> list[Markup]:
        w, made = self._w, datetime.fromtimestamp(self._now_ms / 1000, tz=UTC)
        moment = made.strftime("%Y-%m-%d %H:%M")
        lines = [el("p", w.t("report.made", time=moment, version=version("mammoedge")))]
        if self._now_ms < self._month.until_ms:
            lines.append(el("p", el("strong", w.t("report.running", time=moment))))
        return [*lines, el("p", w.t("research"))]

    def _main(self) -> Markup:
        if not self._rows:
            return el("main", el("p", self._w.t("report.none"), class_="nothing"))
        return el("main", self._fleet(), *self._sections)

    def _fleet(self) -> Markup:
        w, total = self._w, total_of(row.flags for row in self._rows)
        until_ms = min(self._month.until_ms, max(self._now_ms, self._month.since_ms + 1))
        chart = exams_chart(
            w, "fleet-exams", days_between(self._month.since_ms, until_ms), dict(self._days)
        )
        summary = w.t(
            "report.summary",
            units=w.number(len(self._rows)),
            exams=w.number(total.exams),
            priority=_share(w, total, Flag.PRIORITY),
            not_assessed=_share(w, total, Flag.NOT_ASSESSED),
        )
        return el(
            "section",
            el("h2", w.t("report.fleet")),
            el("p", summary),
            chart_figure(chart, w.t("chart.exams"), w.number, w),
            table(w, "units", UNIT_COLUMNS, (self._cells(row) for row in self._rows)),
            alarm_table(w, sorted(self._alarms, key=lambda one: -one.opened_ms), with_unit=True),
        )

    def _cells(self, row: ReportRow) -> tuple[str, ...]:
        w = self._w
        return (
            el("a", row.name, href=f"#{row.anchor}"),
            w.number(row.flags.exams),
            _share(w, row.flags, Flag.PRIORITY),
            _share(w, row.flags, Flag.NOT_ASSESSED),
            w.milliseconds(row.latency_p95_ms),
            w.number(row.largest_psi, 2),
            w.number(row.alarms),
        )


UNIT_COLUMNS = ("unit", "exams", "priority", "not_assessed", "latency", "drift", "alarms")


def total_of(counts: Iterable[FlagCounts]) -> FlagCounts:
    """The sum."""
    listed = list(counts)
    return FlagCounts(
        priority=sum(one.priority for one in listed),
        none=sum(one.none for one in listed),
        not_assessed=sum(one.not_assessed for one in listed),
    )


def _share(w: Wording, flags: FlagCounts, flag: Flag) -> str:
    return w.percent(getattr(flags, flag.value) / flags.exams if flags.exams else None)


def _style() -> str:
    folder = files("runtime.site.page") / "page"
    parts = [(folder / name).read_text(encoding="utf-8") for name in ("report.css", "charts.css")]
    return "\n".join(parts)


def month_of(text: str | None, now_ms: int) -> Month:
    """`YYYY-MM`, or the last whole month. Raises ValueError."""
    if text is None:
        now = datetime.fromtimestamp(now_ms / 1000, tz=UTC)
        year, before = (now.year, now.month - 1) if now.month > 1 else (now.year - 1, 12)
        return Month(year=year, month=before)
    found = MONTH.fullmatch(text)
    if found is None or int(found[1]) < 1970:
        raise ValueError("--month: a month as YYYY-MM, 2026-10 say")
    month = Month(year=int(found[1]), month=int(found[2]))
    if month.since_ms > day_of(now_ms) + 1:
        raise ValueError(f"--month: {text} has not begun")
    return month


def report_command(arguments: Namespace) -> int:
    """Writes the report; 0, 1 if there is no such unit, 2 with why not. StoreError is a fault."""
    now_ms = time.time_ns() // 1_000_000
    try:
        month = month_of(arguments.month, now_ms)
    except ValueError as error:
        print(f"mammoedge: {error}", file=sys.stderr)
        return 2
    wording = Wording(site_catalogues()[arguments.language])
    report, told = Report(month, wording, now_ms=now_ms), _Progress(time.monotonic)
    found = 0
    with load_site_settings(arguments.config).store.make_store() as store:
        for history in month_of_units(store, month, most=MOST_ALARMS_OF_A_UNIT):
            told.one_more()
            if arguments.unit in (None, f"{history.site}/{history.unit}"):
                found += 1
                report.add(history)
    if arguments.unit is not None and not found:
        print(f"mammoedge: there is no unit {arguments.unit}", file=sys.stderr)
        return 1
    content = report.html().encode()
    arguments.output.write_bytes(content)
    print(f"{arguments.output}: {found} units, {len(content) / 1e6:.1f} MB")
    return 0


class _Progress:
    """A line on standard error every two seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._told_s = monotonic()
        self._units = 0

    def one_more(self) -> None:
        self._units += 1
        if self._monotonic() - self._told_s > PROGRESS_S:
            self._told_s = self._monotonic()
            print(f"{self._units} units read", file=sys.stderr, flush=True)
