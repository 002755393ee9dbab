"""Plots as SVG text: a report must open without a network, a script or a plotting library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.web.markup import el
from runtime.web.svg_axes import Axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.web.markup import Markup
    from runtime.web.svg_axes import Point

SIDE_PX = 320
EDGE_PX = 42
COLOURS = ("#888888", "#0b62a4", "#c0392b", "#2e8b57", "#8e44ad")
"""The first is the source model's."""
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2")
"""Beside the colours, for a print in gray."""
MOST_DOTS = 2000
"""Of a scatter, each some 80 bytes."""
MOST_CORNERS = 800
"""Of a line: more than it has pixels."""

AXES = Axes(left=EDGE_PX, top=EDGE_PX / 2, width=SIDE_PX, height=SIDE_PX)
"""The unit square."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of one name, each from 0 to 1 in both directions."""

    name: str
    points: Sequence[Point]
    marks: Sequence[tuple[str, Point]] = ()
    """Short names of places on it."""


def scatter(series: Sequence[Curve], across: str, up: str) -> str:
    """Points on the unit square with its diagonal; of too many, those furthest from it."""
    marks = [_line([(0, 0), (1, 1)], "#cccccc")]
    for colour, one in zip(COLOURS[1:], series, strict=False):
        points = sorted(one.points, key=lambda point: -abs(point[0] - point[1]))
        shown = points[: MOST_DOTS // len(series)]
        marks += [AXES.dot(point, 2.5, fill=colour, fill_opacity="0.6") for point in shown]
    return _frame(marks, across, up, [(one.name, COLOURS[i + 1]) for i, one in enumerate(series)])


def curves(
    series: Sequence[Curve],
    across: str,
    up: str,
    *,
    diagonal: bool = False,
    told: Sequence[str] = (),
) -> str:
    """Lines on the unit square; the first series is the source's.

    `diagonal`: where a ROC curve lies that knows nothing. `told`: lines below the names.
    """
    marks = [_line([(0, 0), (1, 1)], "#eeeeee")] if diagonal else []
    marks += [
        _line(_thinned(one.points), colour, dash)
        for colour, dash, one in zip(COLOURS, DASHES, series, strict=False)
        if one.points
    ]
    marks += [
        drawn
        for place, (colour, one) in enumerate(zip(COLOURS, series, strict=False))
        for name, point in one.marks
        for drawn in _mark(name, point, colour, place)
    ]
    names = [(one.name, colour) for colour, one in zip(COLOURS, series, strict=False)]
    return _frame(marks, across, up, [*names, *((line, "#444444") for line in told)])


def histogram(values: Sequence[tuple[str, Sequence[float]]], across: str, bins: int = 20) -> str:
    """Shares of values from 0 to 1 as steps, one line for each name."""
    series = []
    for name, numbers in values:
        counts = [0] * bins
        for value in numbers:
            counts[min(int(value * bins), bins - 1)] += 1
        top = max(sum(counts), 1)
        steps = [
            (edge / bins, count / top)
            for place, count in enumerate(counts)
            for edge in (place, place + 1)
        ]
        series.append(Curve(name=name, points=steps))
    return curves(series, across, "share")


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Evenly fewer points, the last among them."""
    step = -(-len(points) // MOST_CORNERS)
    return points if step <= 1 else [*points[::step], points[-1]]


def _mark(name: str, point: Point, colour: str, place: int) -> tuple[Markup, Markup]:
    """A ring on a curve and its name: the first curve's above, the others' below it."""
    x, y = AXES.x(point[0]), AXES.y(point[1])
    ring = AXES.dot(point, 4 + place, fill="none", stroke=colour, stroke_width="2")
    # Rings of several curves often lie in one place: their names must not.
    left = place == 0 or point[0] > 0.9  # to the right there is no room
    text = el(
        "text",
        name,
        x=x - 8 if left else x + 8,
        y=y + 14 * place if place else y - 6,
        fill=colour,
        text_anchor="end" if left else "start",
        font_weight="bold",
    )
    return ring, text


def _line(points: Sequence[Point], colour: str, dash: str = "") -> Markup:
    return el(
        "path",
        d=AXES.path([points]),
        fill="none",
        stroke=colour,
        stroke_width="1.5",
        stroke_dasharray=dash or None,
    )


def _frame(marks: list[Markup], across: str, up: str, names: list[tuple[str, str]]) -> str:
    middle = AXES.y(0.5)
    ticks = [
        label
        for tick in (0.0, 0.5, 1.0)
        for label in (
            AXES.label_across(tick, f"{tick:g}", below=14),
            AXES.label_up(tick, f"{tick:g}"),
        )
    ]
    legend = [
        el("text", name, x=AXES.left, y=AXES.foot + 44 + 16 * place, fill=colour)
        for place, (name, colour) in enumerate(names)
    ]
    return el(
        "svg",
        el(
            "rect",
            x=AXES.left,
            y=AXES.top,
            width=AXES.width,
            height=AXES.height,
            fill="none",
            stroke="#444444",
        ),
        *marks,
        *ticks,
        *legend,
        AXES.label_across(0.5, across, below=28),
        el(
            "text", up, x=12, y=middle, text_anchor="middle", transform=f"rotate(-90 12 {middle:g})"
        ),
        xmlns="http://www.w3.org/2000/svg",
        width=SIDE_PX + EDGE_PX + 10,
        height=SIDE_PX + EDGE_PX + 16 * len(names) + 20,
        font_family="sans-serif",
        font_size=11,
    )
