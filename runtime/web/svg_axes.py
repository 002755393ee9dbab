"""The plane of a chart as SVG: from figures to coordinates, lines, labels.

One writer for the site's charts and the bench's plots, which differ in what they show and not in
how a figure finds its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.web.markup import el

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.web.markup import Markup

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Axes:
    """A rectangle of `width` x `height` at (`left`, `top`), in user units.

    x goes from 0 to `x_top` rightwards, y from 0 to `y_top` upwards.
    """

    left: float
    top: float
    width: float
    height: float
    x_top: float = 1.0
    y_top: float = 1.0

    @property
    def right(self) -> float:
        """Where the rectangle ends."""
        return self.left + self.width

    @property
    def foot(self) -> float:
        """Where y is 0."""
        return self.top + self.height

    def x(self, value: float) -> float:
        """Coordinate of a value."""
        return self.left + value / self.x_top * self.width

    def y(self, value: float) -> float:
        """Coordinate of a value."""
        return self.foot - value / self.y_top * self.height

    def path(self, runs: Iterable[Sequence[Point]]) -> str:
        """The `d` of a line through the points of each run; between two runs it is broken."""
        return "".join(
            "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in run) for run in runs
        )

    def dot(self, point: Point, radius: float, **attributes: str | float | None) -> Markup:
        """A disc at a point."""
        return el("circle", cx=self.x(point[0]), cy=self.y(point[1]), r=radius, **attributes)

    def level(self, value: float, **attributes: str) -> Markup:
        """A line across at a value of y."""
        return el("path", d=f"M{self.left:g} {self.y(value):.1f}H{self.right:g}", **attributes)

    def label_up(self, value: float, text: str) -> Markup:
        """A figure beside the y axis."""
        return el("text", text, x=self.left - 5, y=self.y(value) + 4, text_anchor="end")

    def label_across(self, value: float, text: str, *, below: float = 17.0) -> Markup:
        """A figure below the x axis."""
        return el("text", text, x=self.x(value), y=self.foot + below, text_anchor="middle")
