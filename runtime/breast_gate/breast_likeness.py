"""What tells a breast from any other bright body: measures, and the range of each in real views.

`python -m benches.breast_gate` prints how far real views and other pictures lie from each
limit (docs/breast-gate.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np

from runtime.breast_gate.bright_body import LONG_SIDE_PX, largest_body

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.breast_gate.bright_body import BrightBody

CLEAN_AIR = 0.012
"""Air this dark and even is a detector's or a cleaned film's; photographs have 0.015 and more."""
LOWER_SHARE = 0.2
"""Of Otsu's threshold: what a body grows to where its skin does not end it."""
DEEP_PX = 14
"""From the skin line: there a compressed breast has its full thickness."""
DEEP_ENOUGH = 100
"""Pixels, below which nothing is said of a body's depth."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A measure, and the range outside which a body is no breast."""

    measure: str
    """A property of `Likeness`."""
    low: float = float("-inf")
    high: float = float("inf")
    below: str = ""
    """What is seen where it lies below the range."""
    above: str = ""

    def fault(self, value: float) -> str:
        """What is seen, or "" within the range; NaN, a thing that cannot be measured, is within."""
        if value < self.low:
            return self.below
        return self.above if value > self.high else ""


class Likeness:
    """The measures of one body, each made when it is first asked for."""

    def __init__(self, body: BrightBody, coarse: NDArray[np.uint16]) -> None:
        self._body = body
        self._coarse = coarse

    # --- shape -----------------------------------------------------------------------------------

    @cached_property
    def area(self) -> float:
        """Share of the picture."""
        return float(self._body.filled.mean())

    @cached_property
    def width(self) -> float:
        """Share of the picture's."""
        return float(self._body.width / self._body.gray.shape[1])

    @cached_property
    def height(self) -> float:
        """Share of the picture's."""
        return float(self._body.height / self._body.gray.shape[0])

    @cached_property
    def far_share(self) -> float:
        """Share of the rows that reach the side opposite the chest wall."""
        return self._body.far_share

    @cached_property
    def wall_share(self) -> float:
        """Share of the rows that reach the chest wall side."""
        return self._body.wall_share

    @cached_property
    def gaps(self) -> float:
        """Share of the filled body that is dark."""
        return self._body.gaps

    @cached_property
    def outline_travel(self) -> float:
        """How far the skin line moves back and forth, in widths of the body."""
        reach = self._body.reach
        line = np.convolve(reach, np.full(5, 0.2), "valid") if self._body.height > 9 else reach
        return float(np.abs(np.diff(line)).sum()) / self._body.width

    @cached_property
    def fullness(self) -> float:
        """Share of its own bounding box."""
        return float(self._body.filled.sum()) / (self._body.height * self._body.width)

    @cached_property
    def share_of_bright(self) -> float:
        """Of all that is bright in the picture."""
        return self._body.share_of_bright

    @cached_property
    def solidity(self) -> float:
        """Area over that of its convex hull."""
        return _solidity(self._body)

    @cached_property
    def straightness(self) -> float:
        """The longest straight piece of the skin line, in heights of the body.

        Straight: no row of it lies further than a pixel from its chord.
        """
        reach = self._body.reach[3:-3].astype(np.float32)
        if reach.size < 20:
            return 1.0
        line = np.column_stack([reach, np.arange(reach.size)]).reshape(-1, 1, 2)
        corners = cv2.approxPolyDP(line.astype(np.float32), 1.5, closed=False).reshape(-1, 2)
        return float(np.abs(np.diff(corners[:, 1])).max()) / self._body.height

    @cached_property
    def roughness_px(self) -> float:
        """How far the skin line lies from itself smoothed over 1 cm, median of its rows."""
        reach = self._body.reach.astype(np.float32)[None, :]
        smooth = cv2.GaussianBlur(reach, (0, 0), 5.0, borderType=cv2.BORDER_REPLICATE)
        return float(np.median(np.abs(reach - smooth)[0]))

    # --- air and rim -----------------------------------------------------------------------------

    @cached_property
    def _air_quartiles(self) -> tuple[float, float, float]:
        body = self._body
        around = cv2.dilate(body.filled, np.ones((15, 15), np.uint8))
        markers = cv2.dilate((body.gray > 0.6).astype(np.uint8), np.ones((9, 9), np.uint8))
        air = body.gray[(around == 0) & (markers == 0)]
        if air.size < 16:
            return 0.0, 1.0, 1.0
        lower, middle, upper = np.percentile(air, [25, 50, 75])
        return float(lower), float(middle), float(upper)

    @cached_property
    def air(self) -> float:
        """Median gray of the air."""
        return self._air_quartiles[1]

    @cached_property
    def air_spread(self) -> float:
        """How far apart the middle half of its values is."""
        return self._air_quartiles[2] - self._air_quartiles[0]

    @cached_property
    def untidiness(self) -> float:
        """0 where the body is told from the air around it, 1 where it is not.

        The air is clean; or the body is convex and hardly larger at a lower threshold, because the
        skin ends it; or it lies on a film whose even base is so grey that no lower threshold tells
        skin from air (NEMA's sample), and then it meets the whole chest wall without a gap. Dark
        fat may leave more gaps only where the air is clean.
        """
        if self.air <= CLEAN_AIR:
            return float(self.gaps > 0.13 and self.air_spread > CLEAN_AIR)
        return float(self.gaps > 0.13 or not (self._is_of_one_piece() or self._is_on_a_grey_film()))

    def _is_of_one_piece(self) -> bool:
        lower = largest_body(self._body.gray, LOWER_SHARE)
        if lower is None:
            return False
        grown = float(lower.filled.sum()) / float(self._body.filled.sum())
        return _solidity(lower) >= 0.85 and grown <= 1.3

    def _is_on_a_grey_film(self) -> bool:
        return (
            self.wall_share >= 0.95
            and self.gaps <= 0.06
            and self.far_share <= 0.1
            and self.air_spread <= 0.03
        )

    @cached_property
    def grey_ground(self) -> float:
        """Median gray of the air where it is no evenly grey film's base, else 0."""
        return 0.0 if self._is_on_a_grey_film() else self.air

    @cached_property
    def _from_skin_px(self) -> NDArray[np.float32]:
        """Distance of each pixel from the skin line; borders of the picture and wall are none."""
        body, beyond = self._body, 2 * DEEP_PX
        wide = np.pad(body.filled, beyond, mode="edge")
        rows = wide[:, beyond + body.left : beyond + body.left + body.width].any(axis=1)
        if body.wall == "left":
            wide[rows, : beyond + body.left + 1] = 1
        else:
            wide[rows, beyond + body.left + body.width - 1 :] = 1
        distance = cv2.distanceTransform(wide, cv2.DIST_L2, 3)
        return np.asarray(distance[beyond:-beyond, beyond:-beyond], np.float32)

    # --- tissue ----------------------------------------------------------------------------------

    @cached_property
    def _inner(self) -> NDArray[np.bool_]:
        kernel = np.ones((7, 7), np.uint8)
        eroded = cv2.erode(self._body.filled, kernel, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(eroded > 0, np.bool_)

    @cached_property
    def spread(self) -> float:
        """Standard deviation of gray within the body."""
        return float(self._body.gray[self._inner].std()) if self._inner.any() else 0.0

    @cached_property
    def resemblance(self) -> float:
        """Correlation of neighbouring stored pixels about 1 mm apart: noise has 0."""
        every = max(1, max(self._coarse.shape) // LONG_SIDE_PX)
        sample = np.ascontiguousarray(self._coarse[::every, ::every]).astype(np.float32)
        size = (sample.shape[1], sample.shape[0])
        inner = self._inner.astype(np.uint8)
        within = cv2.resize(inner, size, interpolation=cv2.INTER_NEAREST) > 0
        pairs = within[:, 1:] & within[:, :-1]
        one, other = sample[:, 1:][pairs], sample[:, :-1][pairs]
        if one.size < 50 or one.std() == 0 or other.std() == 0:
            return 0.0
        return float(np.corrcoef(one, other)[0, 1])

    @cached_property
    def _deep(self) -> NDArray[np.bool_]:
        """Away from the skin line, where a compressed breast has its full thickness."""
        return np.asarray(self._inner & (self._from_skin_px > DEEP_PX), np.bool_)

    @cached_property
    def texture(self) -> float:
        """Standard deviation of gray around a scale of 1 mm, away from the skin: tissue has some.

        Between Gaussian blurs of 0.7 and 1.4 px; NaN where a body has no depth.
        """
        if np.count_nonzero(self._deep) < DEEP_ENOUGH:
            return float("nan")
        fine, coarse = (cv2.GaussianBlur(self._body.gray, (0, 0), s) for s in (0.7, 1.4))
        return float((fine - coarse)[self._deep].std())

    @cached_property
    def relief(self) -> float:
        """The steepest gradients away from the skin, in the texture's measure.

        Tissue is a random field with a power law (Burgess, Med Phys 28:419, 2001), so that its
        edges go with its texture, at any contrast. A drawn or bony outline on plain ground has
        more, a plain body less, light that fades more.
        """
        if not self.texture > 0:
            return float("nan") if np.isnan(self.texture) else float("inf")
        soft = cv2.GaussianBlur(self._body.gray, (0, 0), 1.0)
        across = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=1 / 8)
        down = cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=1 / 8)
        steep = float(np.percentile(cv2.magnitude(across, down)[self._deep], 97))
        return steep / self.texture


def _solidity(body: BrightBody) -> float:
    contours, _ = cv2.findContours(body.filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=cv2.contourArea)
    hull = float(cv2.contourArea(cv2.convexHull(outline)))
    return float(cv2.contourArea(outline)) / hull if hull > 0 else 0.0


PLACE_LIMITS = (
    Limit(measure="area", low=0.03, high=0.9, below="too small a body", above="no air around it"),
    Limit(measure="width", low=0.1, below="too narrow a body"),
    Limit(measure="height", low=0.4, below="too low a body"),
    Limit(measure="far_share", high=0.35, above="a body that reaches both sides"),
    Limit(measure="wall_share", low=0.66, below="no chest wall"),
    Limit(measure="gaps", high=0.15, above="a body with gaps"),
    Limit(
        measure="outline_travel",
        low=0.5,
        high=2.3,
        below="a straight outline",
        above="a jagged outline",
    ),
    Limit(measure="fullness", low=0.45, high=0.92, below="a thin body", above="a rectangle"),
    Limit(measure="share_of_bright", low=0.6, below="several bodies"),
    Limit(measure="solidity", low=0.65, below="an outline that is not convex"),
    Limit(measure="air", high=0.2, above="no dark air"),
    Limit(measure="air_spread", high=0.055, above="no even air"),
    Limit(measure="untidiness", high=0.5, above="no skin line"),
    Limit(measure="spread", low=0.03, high=0.29, below="no tissue", above="too much contrast"),
    Limit(measure="resemblance", low=0.6, below="noise"),
)
"""Of a body that is where and how a breast is; in the order in which they are asked."""
TISSUE_LIMITS = (
    Limit(measure="grey_ground", high=0.07, above="grey ground, no air"),
    Limit(measure="straightness", high=0.52, above="a straight edge where the skin should be"),
    Limit(measure="roughness_px", high=1.6, above="a ragged edge where the skin should be"),
    Limit(
        measure="texture",
        low=0.002,
        high=0.045,
        below="an even glow without tissue",
        above="sharper detail than tissue has",
    ),
    Limit(
        measure="relief",
        low=1.0,
        high=8.4,
        below="an even body without tissue",
        above="edges on plain ground, no tissue",
    ),
)
"""Of a body that is also made of tissue, and ends in skin."""


def fault_of(likeness: Likeness, limits: tuple[Limit, ...]) -> str:
    """What speaks against this body as a breast, the first thing only; "" if nothing does."""
    for limit in limits:
        fault = limit.fault(getattr(likeness, limit.measure))
        if fault:
            return fault
    return ""
