"""Charts as SVG: days across, figures up. The unit's page and the month's report draw with it.

Nothing is told by colour alone: lines differ in their dashes, bars in their pattern, and the
figures stand in a table beside each chart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.web.markup import Markup, el, joined
from runtime.web.svg_axes import Axes

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.web.svg_axes import Point

WIDTH, HEIGHT = 640.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 8.0, 10.0, 24.0
LARGEST_GAP_BETWEEN_LABELS = 7
LINES = 4
"""Of the grid, about."""

Values = tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class DailySeries:
    """One row of figures, a value for each day. `css` names how it is drawn."""

    label: str
    css: str
    values: Values


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn: stacked bars, or lines with an optional band of limits and thresholds."""

    key: str
    """Unique on its page."""
    days: tuple[str, ...]
    """`YYYY-MM-DD`."""
    bars: tuple[DailySeries, ...] = ()
    lines: tuple[DailySeries, ...] = ()
    low: Values = ()
    high: Values = ()
    thresholds: tuple[float, ...] = ()
    least_top: float = 0.0
    """The axis reaches at least as high."""
    format: Callable[[float], str] = field(default=lambda value: f"{value:g}")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(v is not None for s in (*self.bars, *self.lines) for v in s.values)


def draw(chart: Chart, title: str) -> Markup:
    """The SVG; `title` says what it shows to whoever does not see it."""
    scale = _Scale.of(chart)
    parts = [
        _pattern(chart),
        *_grid(chart, scale),
        *_band(chart, scale),
        *_bars(chart, scale),
        *_thresholds(chart, scale),
        *(part for series in chart.lines for part in _line(series, scale)),
    ]
    return el(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        class_="chart",
        role="img",
        aria_label=title,
    )


def swatch(series: DailySeries, chart: Chart) -> Markup:
    """How a series is drawn, small, for the legend."""
    if series in chart.bars:
        mark = el(
            "rect", width=22, height=12, class_=f"bar {series.css}", fill=_fill(series, chart)
        )
    else:
        mark = el("path", d="M0 6H22", class_=f"line {series.css}", fill="none")
    return el("svg", mark, viewBox="0 0 22 12", class_="swatch", aria_hidden="true")


@dataclass(frozen=True, kw_only=True)
class _Scale:
    axes: Axes
    step: float

    @classmethod
    def of(cls, chart: Chart) -> _Scale:
        stacks = [
            sum(series.values[day] or 0.0 for series in chart.bars)
            for day in range(len(chart.days))
        ]
        values = [v for s in chart.lines for v in s.values if v is not None]
        limits = [v for v in (*chart.low, *chart.high) if v is not None]
        highest = max([*stacks, *values, *limits, *chart.thresholds, chart.least_top, 1e-9])
        step = nice_step(highest / LINES)
        axes = Axes(
            left=LEFT,
            top=TOP,
            width=WIDTH - LEFT - RIGHT,
            height=HEIGHT - TOP - BOTTOM,
            x_top=max(1, len(chart.days)),
            y_top=math.ceil(highest / step - 1e-9) * step,
        )
        return cls(axes=axes, step=step)

    @property
    def pitch(self) -> float:
        """Width of a day."""
        return self.axes.width / self.axes.x_top

    def x(self, day: float) -> float:
        """Middle of a day."""
        return self.axes.x(day + 0.5)

    def y(self, value: float) -> float:
        """Height of a value."""
        return self.axes.y(value)


def nice_step(raw: float) -> float:
    """1, 2 or 5 times a power of ten, not below `raw`."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * 0.999)


def _pattern(chart: Chart) -> Markup:
    stripes = el("path", d="M0 6L6 0", class_="stripes")
    return el(
        "defs",
        el(
            "pattern",
            stripes,
            id=f"stripes-{chart.key}",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
        ),
    )


def _grid(chart: Chart, scale: _Scale) -> list[Markup]:
    parts = []
    for index in range(round(scale.axes.y_top / scale.step) + 1):
        value = index * scale.step
        parts.append(scale.axes.level(value, class_="grid"))
        parts.append(scale.axes.label_up(value, chart.format(value)))
    every = max(1, math.ceil(len(chart.days) / LARGEST_GAP_BETWEEN_LABELS))
    parts += [
        scale.axes.label_across(index + 0.5, chart.days[index][5:])
        for index in range(0, len(chart.days), every)
    ]
    return parts


def _fill(series: DailySeries, chart: Chart) -> str | None:
    return f"url(#stripes-{chart.key})" if series.css == "not_assessed" else None


def _bars(chart: Chart, scale: _Scale) -> list[Markup]:
    parts = []
    for day in range(len(chart.days)):
        below = 0.0
        for series in chart.bars:
            value = series.values[day] or 0.0
            if value:
                parts.append(
                    el(
                        "rect",
                        x=scale.x(day) - 0.38 * scale.pitch,
                        y=scale.y(below + value),
                        width=0.76 * scale.pitch,
                        height=scale.y(below) - scale.y(below + value),
                        class_=f"bar {series.css}",
                        fill=_fill(series, chart),
                    )
                )
            below += value
    return parts


def _band(chart: Chart, scale: _Scale) -> list[Markup]:
    """The limits of each day as steps: they are narrow where there were many exams."""
    parts = []
    for day, (low, high) in enumerate(zip(chart.low, chart.high, strict=True)):
        if low is not None and high is not None:
            parts.append(
                el(
                    "rect",
                    x=scale.x(day) - 0.5 * scale.pitch,
                    y=scale.y(high),
                    width=scale.pitch,
                    height=scale.y(low) - scale.y(high),
                    class_="band",
                )
            )
    return parts


def _thresholds(chart: Chart, scale: _Scale) -> list[Markup]:
    return [scale.axes.level(value, class_="threshold") for value in chart.thresholds]


def _line(series: DailySeries, scale: _Scale) -> list[Markup]:
    """Broken where there is no figure; a dot for each, so that a lonely one is seen."""
    runs: list[list[Point]] = [[]]
    for index, value in enumerate(series.values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((index + 0.5, value))
    path = scale.axes.path(run for run in runs if run)
    dots = joined(
        scale.axes.dot(point, 2.6, class_=f"dot {series.css}") for run in runs for point in run
    )
    return [el("path", d=path, class_=f"line {series.css}", fill="none"), dots]
