"""A unit's days as HTML: charts, figures, what happened. The page and the report share it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from models.descriptor_reference import Descriptor
from runtime.image.outcome import Flag
from runtime.site.control_charts.drift_verdict import SCORE
from runtime.site.queries.drift_indexes import drift_indexes
from runtime.site.report.alarm_words import saw_of
from runtime.site.report.svg_charts import Chart, DailySeries, draw, swatch
from runtime.web.markup import Markup, el, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runtime.site.queries.fleet_summary import AlarmEntry, FlagCounts, RateSummary
    from runtime.site.queries.history import DayFigures, UnitHistory
    from runtime.site.report.wording import Wording

PSI_LOOK, PSI_LARGE = 0.1, 0.25
"""Where Siddiqi (Credit Risk Scorecards, 2006) draws the lines: a look, a large change."""
LEAST_PSI_TOP = 0.3
LEAST_RATE_TOP = 0.05
MOST_REASONS = 6


def days_between(since_ms: int, until_ms: int) -> tuple[str, ...]:
    """The days (UTC) that a span touches; the end is exclusive."""
    day = datetime.fromtimestamp(since_ms / 1000, tz=UTC).date()
    last = datetime.fromtimestamp(max(since_ms, until_ms - 1) / 1000, tz=UTC).date()
    return tuple(
        (day + timedelta(days=index)).isoformat() for index in range((last - day).days + 1)
    )


class UnitSection:
    """One unit's history in a language. `key` is unique on its page."""

    def __init__(self, history: UnitHistory, wording: Wording, *, key: str = "unit") -> None:
        self._history = history
        self._w = wording
        self._key = key
        self._days = days_between(history.since_ms, history.until_ms)
        self._figures = {wording.day(day.day_ms): day for day in history.days}

    # --- charts ----------------------------------------------------------------------------------

    def charts(self) -> Markup:
        """All of them, each with its legend and a table of its figures."""
        figures = (
            self._figure("exams", self._exams_chart(), self._w.number),
            self._figure("priority", self._rate_chart("priority"), self._w.percent),
            self._figure("not_assessed", self._rate_chart("not_assessed"), self._w.percent),
            self._figure("drift", self._drift_chart(), lambda v: self._w.number(v, 3)),
            self._figure("latency", self._latency_chart(), self._w.milliseconds),
        )
        return el("div", *figures, class_="charts")

    def _figure(self, name: str, chart: Chart, written: Callable[[float | None], str]) -> Markup:
        return chart_figure(chart, self._w.t(f"chart.{name}"), written, self._w)

    def _by_day(self, value: Callable[[DayFigures], float | None]) -> tuple[float | None, ...]:
        found = (self._figures.get(day) for day in self._days)
        return tuple(None if one is None else value(one) for one in found)

    def _exams_chart(self) -> Chart:
        return exams_chart(
            self._w,
            f"{self._key}-exams",
            self._days,
            {day: figures.flags for day, figures in self._figures.items()},
        )

    def _rate_chart(self, measure: str) -> Chart:
        def rate(day: DayFigures) -> RateSummary:
            found: RateSummary = getattr(day, measure)
            return found

        return Chart(
            key=f"{self._key}-{measure}",
            days=self._days,
            lines=(
                DailySeries(
                    label=self._w.t(f"chart.{measure}"),
                    css=measure,
                    values=self._by_day(lambda day: rate(day).rate),
                ),
            ),
            low=self._by_day(lambda day: rate(day).low),
            high=self._by_day(lambda day: rate(day).high),
            least_top=LEAST_RATE_TOP,
            format=self._w.percent,
        )

    def _drift_chart(self) -> Chart:
        indexes = {drift.day: drift_indexes(drift) for drift in self._history.drifts}
        known = [SCORE, *(name.value for name in Descriptor)]
        others = sorted({name for day in indexes.values() for name in day} - {*known})
        lines = (
            DailySeries(
                label=self._w.named("descriptor", name),
                css=f"psi-{name.split('_')[0] if name in known else 'other'}",
                values=tuple(indexes.get(day, {}).get(name) for day in self._days),
            )
            for name in (*known, *others)
        )
        return Chart(
            key=f"{self._key}-drift",
            days=self._days,
            lines=tuple(line for line in lines if any(v is not None for v in line.values)),
            thresholds=(PSI_LOOK, PSI_LARGE),
            least_top=LEAST_PSI_TOP,
            format=lambda value: self._w.number(value, 2),
        )

    def _latency_chart(self) -> Chart:
        def of(day: DayFigures, stretch: str, name: str) -> float | None:
            found = (one for one in day.latency if one.stretch == stretch)
            return next((float(getattr(one, name)) for one in found), None)

        lines = tuple(
            DailySeries(
                label=self._w.t(f"latency.{stretch}.{name}"),
                css=f"{stretch}-{name}",
                values=self._by_day(partial(of, stretch=stretch, name=f"{name}_ms")),
            )
            for stretch, name in (("unit", "p50"), ("unit", "p95"), ("wire", "p95"))
        )
        return Chart(
            key=f"{self._key}-latency",
            days=self._days,
            lines=lines,
            format=self._w.milliseconds,
        )

    # --- tables ----------------------------------------------------------------------------------

    def models(self) -> Markup:
        """Which models judged, when, and what they came to."""
        rows = (
            (
                f"{span.model} {span.model_version}",
                span.operating_point,
                self._w.time(span.first_ms),
                self._w.time(span.last_ms),
                self._w.number(span.flags.exams),
                self._share(span.flags, Flag.PRIORITY),
                self._share(span.flags, Flag.NOT_ASSESSED),
            )
            for span in self._history.models
        )
        heads = ("model", "operating_point", "from", "to", "exams", "priority", "not_assessed")
        return table(self._w, "models", heads, rows)

    def reasons(self) -> Markup:
        """Why images were not assessed, the most frequent first."""
        counts: dict[str, int] = {}
        for reason in chain.from_iterable(day.reasons for day in self._history.days):
            counts[reason.reason] = counts.get(reason.reason, 0) + reason.images
        images = sum(day.images for day in self._history.days)
        found = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_REASONS]
        rows = (
            (
                self._w.named("reason", reason, ".what"),
                self._w.number(count),
                self._w.percent(count / images if images else None),
            )
            for reason, count in found
        )
        return table(self._w, "reasons", ("reason", "images", "share"), rows)

    def alarms(self) -> Markup:
        """Those that stood in this time, the newest first."""
        return alarm_table(self._w, self._history.alarms)

    def happenings(self) -> Markup:
        """States and events, the newest first."""
        told = [
            (change.happened_ms, self._state_words(change.state, change.reasons))
            for change in self._history.states
        ]
        told += [
            (event.happened_ms, _joined_words(self._w.named("event", event.event), event.detail))
            for event in self._history.events
        ]
        told.sort(key=lambda one: -one[0])
        rows = ((self._w.time(at_ms), words) for at_ms, words in told)
        return table(self._w, "happenings", ("when", "what"), rows)

    def exams(self) -> Markup:
        """The newest exams."""
        rows = (
            (
                self._w.time(exam.happened_ms),
                exam.exam_key[:12],
                self._w.named("flag", exam.flag),
                self._w.number(exam.score, 3),
                self._w.t("flag.final" if exam.final else "flag.provisional"),
                ", ".join(self._w.named("reason", reason, ".what") for reason in exam.reasons),
            )
            for exam in self._history.exams
        )
        return table(self._w, "exams", ("when", "exam", "flag", "score", "state", "why"), rows)

    def _state_words(self, state: str, reasons: Sequence[str]) -> str:
        why = ", ".join(self._w.named("degraded", reason) for reason in reasons)
        return _joined_words(self._w.named("standing", state), why)

    def _share(self, flags: FlagCounts, flag: Flag) -> str:
        count = getattr(flags, flag.value)
        return self._w.percent(count / flags.exams if flags.exams else None)


def _joined_words(what: str, detail: str) -> str:
    return f"{what}: {detail}" if detail else what


def exams_chart(w: Wording, key: str, days: Sequence[str], flags: dict[str, FlagCounts]) -> Chart:
    """Exams of each day by flag, stacked."""
    bars = (
        DailySeries(
            label=w.t(f"flag.{flag.value}"),
            css=flag.value,
            values=tuple(
                float(getattr(flags[day], flag.value)) if day in flags else None for day in days
            ),
        )
        for flag in (Flag.NONE, Flag.NOT_ASSESSED, Flag.PRIORITY)
    )
    return Chart(key=key, days=tuple(days), bars=tuple(bars), format=w.number)


def chart_figure(
    chart: Chart, title: str, written: Callable[[float | None], str], w: Wording
) -> Markup:
    """A chart with its title, its legend, and its figures for whoever does not see it."""
    if chart.is_empty:
        return el("figure", el("figcaption", title), el("p", w.t("chart.empty"), class_="nothing"))
    series = (*chart.bars, *chart.lines)
    legend = [el("li", swatch(one, chart), one.label) for one in series]
    if any(value is not None for value in chart.high):
        legend.append(el("li", el("span", class_="swatch band-swatch"), w.t("chart.limits")))
    head = el("tr", el("th", w.t("column.day"), scope="col"),
              *(el("th", one.label, scope="col") for one in series))  # fmt: skip
    rows = [
        el("tr", el("th", day, scope="row"), *(el("td", written(s.values[i])) for s in series))
        for i, day in enumerate(chart.days)
        if any(s.values[i] is not None for s in series)
    ]
    figures = el("table", el("thead", head), el("tbody", *rows))
    return el(
        "figure",
        el("figcaption", title),
        el("ul", *legend, class_="legend"),
        draw(chart, title),
        el(
            "details",
            el("summary", w.t("chart.figures")),
            _scrolling(figures, title),
        ),
    )


def alarm_table(w: Wording, alarms: Iterable[AlarmEntry], *, with_unit: bool = False) -> Markup:
    """Alarms: what was seen, since when, what to do."""
    rows = (
        (
            w.time(alarm.since_ms),
            w.time(alarm.closed_ms) if alarm.closed_ms is not None else w.t("alarm.open"),
            *((f"{alarm.site}/{alarm.unit}".rstrip("/"),) if with_unit else ()),
            w.named("severity", alarm.severity),
            joined(
                (
                    el("strong", w.named("alarm", alarm.kind, ".what")),
                    ". ",
                    saw_of(alarm, w),
                    " ",
                    w.words("alarm", alarm.kind, ".do") or el("span", alarm.advice, lang="en"),
                )
            ),
        )
        for alarm in alarms
    )
    heads = ("since", "until", *(("unit",) if with_unit else ()), "severity", "what")
    return table(w, "alarms", heads, rows)


def table(w: Wording, name: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table with a heading; a sentence where there is nothing in it."""
    body = [
        el("tr", el("th", row[0], scope="row"), *(el("td", cell) for cell in row[1:]))
        for row in rows
    ]
    heading = w.t(f"table.{name}")
    if not body:
        return el("section", el("h3", heading), el("p", w.t("table.none"), class_="nothing"))
    head = el("tr", *(el("th", w.t(f"column.{one}"), scope="col") for one in heads))
    return el(
        "section",
        el("h3", heading),
        _scrolling(el("table", el("thead", head), el("tbody", *body)), heading),
    )


def _scrolling(inner: Markup, label: str) -> Markup:
    """What may be wider or longer than its place; the keyboard can scroll it."""
    return el("div", inner, class_="scroll", tabindex="0", role="group", aria_label=label)
