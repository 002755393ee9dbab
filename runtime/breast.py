"""Where the breast is in a picture, or that there is none.

Classical features on a picture of 256 pixels: a breast is one bright, smooth body with a convex
outline, held by the chest wall at one side, on dark and even air. The limits were set on 720 real
views (mini-MIAS, CDD-CESM, CBIS-DDSM, DICOM samples; `tests/runtime/test_breast.py` holds the
acceptance rate) against noise, test patterns, flat fields, chest films and photographs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONG_SIDE_PX = 256
"""Of the reduced picture: about 1 mm for each of its pixels."""
THRESHOLDS = (0.5, 0.2, 0.06)
"""Shares of Otsu's threshold to try. The others are for processed digital views, in which fat at
the chest wall is nearly as dark as air."""
CLEAN_AIR = 0.012
"""Air this dark and even is a detector's or a cleaned film's; photographs have 0.015 and more."""

Side = Literal["left", "right"]


@dataclass(frozen=True, kw_only=True)
class Box:
    """Rows `top` to `bottom` and columns `left` to `right` of an image, the ends exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def rows(self) -> int:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def columns(self) -> int:
        """Width in pixels."""
        return self.right - self.left

    def cut(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """The part of `pixels` within the box, a view."""
        return pixels[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, kw_only=True)
class Breast:
    """A breast in an image."""

    box: Box
    """In pixels of the image; the outline's own bounding box, without markers."""
    chest_wall: Side
    """The side at which the body is cut straight; the nipple points to the other."""
    chest_wall_is_certain: bool
    picture: NDArray[np.float32] = field(compare=False, repr=False)
    """The reduced picture, stored values, air dark."""
    mask: NDArray[np.uint8] = field(compare=False, repr=False)
    """1 where the breast is in `picture`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Body:
    """The largest bright body of a reduced picture, filled from the chest wall to the skin."""

    gray: NDArray[np.float32]
    filled: NDArray[np.uint8]
    top: int
    left: int
    height: int
    width: int
    wall: Side
    wall_share: float
    """Share of the body's rows that reach its chest wall side."""
    far_share: float
    gaps: float
    """Share of the filled body that is dark."""
    outline_travel: float
    """How far the skin line moves back and forth, in widths of the body."""
    share_of_bright: float


def find_breast(
    pixels: NDArray[np.uint16], *, monochrome1: bool, bits_stored: int
) -> Breast | None:
    """The breast in `pixels` (rows x columns), or None if what is there is none.

    Takes 2 to 4 ms at any size.
    """
    if min(pixels.shape) < 16:
        return None
    step = max(1, max(pixels.shape) // (2 * LONG_SIDE_PX))
    coarse = np.ascontiguousarray(pixels[::step, ::step])
    if monochrome1:
        coarse = (2**bits_stored - 1) - coarse
    picture = _reduced(coarse)
    gray = _stretched(picture)
    if gray is None:
        return None
    for share in THRESHOLDS:
        body = _largest_body(gray, share)
        if body is not None and _is_breast(body, coarse):
            return _breast(body, pixels.shape, picture)
    return None


def _reduced(coarse: NDArray[np.uint16]) -> NDArray[np.float32]:
    scale = min(1.0, LONG_SIDE_PX / max(coarse.shape))
    size = (max(1, round(coarse.shape[1] * scale)), max(1, round(coarse.shape[0] * scale)))
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_AREA), np.float32)


def _stretched(small: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Gray 0 to 1 between the darkest and the brightest hundredth; None where all is the same."""
    low, high = np.percentile(small, [1, 99.5])
    if high - low < max(1.0, 0.1 * high):
        return None
    return np.asarray(np.clip((small - low) / (high - low), 0, 1), np.float32)


def _largest_body(gray: NDArray[np.float32], share: float) -> _Body | None:
    bytes_ = (gray * 255).astype(np.uint8)
    otsu, _ = cv2.threshold(bytes_, 0, 255, cv2.THRESH_OTSU)
    mask = (bytes_ > max(5.0, otsu * share)).astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    if count < 2:
        return None
    index = 1 + int(np.argmax(boxes[1:, cv2.CC_STAT_AREA]))
    left, top, width, height, area = (int(x) for x in boxes[index])
    body = labels[top : top + height, left : left + width] == index
    first, last = body.argmax(axis=1), width - body[:, ::-1].argmax(axis=1)
    near = max(2, round(0.02 * width))
    at_left, at_right = float((first < near).mean()), float((last > width - near).mean())
    wall: Side = "left" if np.median(first) <= np.median(width - last) else "right"
    reach = last if wall == "left" else width - first
    columns = np.arange(width)
    inside = columns < last[:, None] if wall == "left" else columns >= first[:, None]
    filled = np.zeros(gray.shape, np.uint8)
    filled[top : top + height, left : left + width] = inside
    line = np.convolve(reach, np.full(5, 0.2), "valid") if height > 9 else reach
    return _Body(
        gray=gray,
        filled=filled,
        top=top,
        left=left,
        height=height,
        width=width,
        wall=wall,
        wall_share=at_left if wall == "left" else at_right,
        far_share=at_right if wall == "left" else at_left,
        gaps=1 - float(body.sum()) / float(inside.sum()),
        outline_travel=float(np.abs(np.diff(line)).sum()) / width,
        share_of_bright=area / float(mask.sum()),
    )


def _is_breast(body: _Body, coarse: NDArray[np.uint16]) -> bool:
    """Shape first, because it is cheap; then air and tissue.

    In brackets what the real views have. Around a breast the air is clean, or the film is grey and
    the breast all the more of one piece; dark fat may leave gaps only where the air is clean.
    """
    rows, columns = body.gray.shape
    middle, spread = _air(body)
    clean = middle <= CLEAN_AIR and spread <= CLEAN_AIR
    return (
        0.03 <= float(body.filled.mean()) <= 0.9  # (0.04 to 0.81)
        and body.width >= 0.1 * columns
        and body.height >= 0.4 * rows  # (0.5 to 1)
        and body.far_share <= 0.35  # (0.02 to 0.31)
        and body.wall_share >= 0.66  # (0.69 to 1)
        and body.gaps <= (0.15 if clean else 0.13)  # (0 to 0.143)
        and 0.5 <= body.outline_travel <= 2.3  # (0.58 to 2.2); a half field has 0
        and 0.45 <= float(body.filled.sum()) / (body.height * body.width) <= 0.92  # (0.48 to 0.9)
        and body.share_of_bright >= 0.6  # (0.68 to 1)
        and _solidity(body) >= 0.65  # (0.68 to 1)
        and middle <= 0.2
        and spread <= 0.055
        and (middle <= CLEAN_AIR or _is_of_one_piece(body) or _is_on_a_grey_film(body, spread))
        and _tissue_is_smooth(body, coarse)
    )


def _solidity(body: _Body) -> float:
    """Area of the filled body over that of its convex hull."""
    contours, _ = cv2.findContours(body.filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=cv2.contourArea)
    hull = float(cv2.contourArea(cv2.convexHull(outline)))
    return float(cv2.contourArea(outline)) / hull if hull > 0 else 0.0


def _air(body: _Body) -> tuple[float, float]:
    """Median of the air, and how far apart the middle half of its values is (0 to 0.046)."""
    around = cv2.dilate(body.filled, np.ones((15, 15), np.uint8))
    markers = cv2.dilate((body.gray > 0.6).astype(np.uint8), np.ones((9, 9), np.uint8))
    air = body.gray[(around == 0) & (markers == 0)]
    if air.size < 16:
        return 1.0, 1.0
    lower, middle, upper = np.percentile(air, [25, 50, 75])
    return float(middle), float(upper - lower)


def _is_of_one_piece(body: _Body) -> bool:
    """Convex, and hardly larger at a lower threshold: the skin ends the breast (1 to 1.25)."""
    lower = _largest_body(body.gray, THRESHOLDS[1])
    if lower is None:
        return False
    return _solidity(body) >= 0.85 and float(lower.filled.sum()) <= 1.3 * float(body.filled.sum())


def _is_on_a_grey_film(body: _Body, spread: float) -> bool:
    """A film whose base is so grey that no lower threshold tells skin from air (NEMA's sample).

    The breast then meets the whole chest wall (1), has hardly a gap (0.025), ends before the other
    side (0.04), and the base is even (0.025).
    """
    return (
        body.wall_share >= 0.95 and body.gaps <= 0.06 and body.far_share <= 0.1 and spread <= 0.03
    )


def _tissue_is_smooth(body: _Body, coarse: NDArray[np.uint16]) -> bool:
    """Neighbours within tissue resemble each other (r of 0.68 to 1; noise has 0), yet it varies."""
    inner = cv2.erode(body.filled, np.ones((7, 7), np.uint8), borderType=cv2.BORDER_REPLICATE)
    if not inner.any():
        return False
    spread = float(body.gray[inner > 0].std())
    every = max(1, max(coarse.shape) // LONG_SIDE_PX)
    sample = np.ascontiguousarray(coarse[::every, ::every]).astype(np.float32)
    size = (sample.shape[1], sample.shape[0])
    within = cv2.resize(inner, size, interpolation=cv2.INTER_NEAREST) > 0
    pairs = within[:, 1:] & within[:, :-1]
    one, other = sample[:, 1:][pairs], sample[:, :-1][pairs]
    if one.size < 50 or one.std() == 0 or other.std() == 0:
        return False
    return 0.03 <= spread <= 0.29 and float(np.corrcoef(one, other)[0, 1]) >= 0.6


def _breast(body: _Body, shape: tuple[int, ...], picture: NDArray[np.float32]) -> Breast:
    """In pixels of the image; without rows above and below that are only a film's rim."""
    rows, columns = shape
    body_rows = body.filled[body.top : body.top + body.height].sum(axis=1)
    deep = np.flatnonzero(body_rows > 0.06 * body.width)
    first, last = body.top + int(deep[0]), body.top + int(deep[-1]) + 1
    down, across = rows / body.gray.shape[0], columns / body.gray.shape[1]
    return Breast(
        box=Box(
            top=max(0, int(first * down)),
            left=max(0, int(body.left * across)),
            bottom=min(rows, int(np.ceil(last * down))),
            right=min(columns, int(np.ceil((body.left + body.width) * across))),
        ),
        chest_wall=body.wall,
        chest_wall_is_certain=body.wall_share >= 0.8 and body.far_share <= 0.3,
        picture=picture,
        mask=body.filled,
    )
