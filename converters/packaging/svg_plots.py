"""Plots as SVG text: a report must open without a network, a script or a plotting library."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE_PX = 320
EDGE_PX = 42
COLOURS = ("#888888", "#0b62a4", "#c0392b", "#2e8b57", "#8e44ad")
"""The first is the source model's."""

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of one name, each from 0 to 1 in both directions."""

    name: str
    points: Sequence[Point]


def scatter(series: Sequence[Curve], across: str, up: str) -> str:
    """Points on the unit square with its diagonal."""
    marks = [_line([(0, 0), (1, 1)], "#cccccc")]
    for colour, one in zip(COLOURS[1:], series, strict=False):
        marks += [
            f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="2.5" fill="{colour}"'
            f' fill-opacity="0.6"/>'
            for x, y in one.points
        ]
    return _frame(marks, across, up, [(one.name, COLOURS[i + 1]) for i, one in enumerate(series)])


def curves(series: Sequence[Curve], across: str, up: str, *, diagonal: bool = False) -> str:
    """Lines on the unit square; the first series is the source's.

    `diagonal`: where a ROC curve lies that knows nothing.
    """
    marks = [_line([(0, 0), (1, 1)], "#eeeeee")] if diagonal else []
    marks += [
        _line(one.points, colour)
        for colour, one in zip(COLOURS, series, strict=False)
        if one.points
    ]
    names = [(one.name, colour) for colour, one in zip(COLOURS, series, strict=False)]
    return _frame(marks, across, up, names)


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


def _x(share: float) -> float:
    return EDGE_PX + share * SIDE_PX


def _y(share: float) -> float:
    return EDGE_PX / 2 + (1 - share) * SIDE_PX


def _line(points: Sequence[Point], colour: str) -> str:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _frame(marks: list[str], across: str, up: str, names: list[tuple[str, str]]) -> str:
    width, height = SIDE_PX + EDGE_PX + 10, SIDE_PX + EDGE_PX + 16 * len(names) + 20
    foot = _y(0)
    ticks = [
        f'<text x="{_x(t):.0f}" y="{foot + 14:.0f}" text-anchor="middle">{t:g}</text>'
        f'<text x="{_x(0) - 6:.0f}" y="{_y(t) + 4:.0f}" text-anchor="end">{t:g}</text>'
        for t in (0.0, 0.5, 1.0)
    ]
    legend = [
        f'<text x="{_x(0):.0f}" y="{foot + 44 + 16 * place:.0f}" fill="{colour}">'
        f"{escape(name)}</text>"
        for place, (name, colour) in enumerate(names)
    ]
    body = "\n".join([*marks, *ticks, *legend])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' font-family="sans-serif" font-size="11">'
        f'<rect x="{_x(0)}" y="{_y(1)}" width="{SIDE_PX}" height="{SIDE_PX}" fill="none"'
        f' stroke="#444444"/>{body}'
        f'<text x="{_x(0.5):.0f}" y="{foot + 28:.0f}" text-anchor="middle">{escape(across)}</text>'
        f'<text x="12" y="{_y(0.5):.0f}" text-anchor="middle"'
        f' transform="rotate(-90 12 {_y(0.5):.0f})">{escape(up)}</text></svg>'
    )
