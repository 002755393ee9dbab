"""Where the breast is in a picture, or that there is none, and what was seen instead.

Classical features on a picture of 256 pixels: a breast is one bright, smooth body with a convex
outline, held by the chest wall at one side, thinning towards the skin, on dark and even air. The
measures and their limits are in `runtime/breast_gate/breast_likeness.py`, their margins in
docs/breast-gate.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from runtime.breast_gate.breast_likeness import PLACE_LIMITS, TISSUE_LIMITS, Likeness, fault_of
from runtime.breast_gate.bright_body import LONG_SIDE_PX, largest_body, reduced, stretched

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.breast_gate.breast_likeness import Limit
    from runtime.breast_gate.bright_body import BrightBody, Side

THRESHOLDS = (0.5, 0.2, 0.06)
"""Shares of Otsu's threshold to try. The others are for processed digital views, in which fat at
the chest wall is nearly as dark as air."""


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


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What was found in a picture."""

    breast: Breast | None = None
    seen: str = ""
    """What speaks against a breast, or against what lies where a breast would: for people."""


def find_breast(
    pixels: NDArray[np.uint16], *, monochrome1: bool, bits_stored: int
) -> Breast | None:
    """Where a breast lies in `pixels` (rows x columns), or None if nothing lies as one does.

    It is not asked whether it is made of tissue: `look_for_breast` asks that.
    """
    found = look_for_breast(
        pixels, monochrome1=monochrome1, bits_stored=bits_stored, tissue_limits=()
    )
    return found.breast


def look_for_breast(
    pixels: NDArray[np.uint16],
    *,
    monochrome1: bool,
    bits_stored: int,
    tissue_limits: tuple[Limit, ...] = TISSUE_LIMITS,
) -> Sighting:
    """What lies where a breast would, and what speaks against it. 2 to 6 ms at any size.

    Args:
        pixels: rows x columns.
        monochrome1: the lowest value displays white.
        bits_stored: of a pixel.
        tissue_limits: of a body that lies as a breast does; none: any such body is taken.
    """
    if min(pixels.shape) < 16:
        return Sighting(seen="too few pixels")
    step = max(1, max(pixels.shape) // (2 * LONG_SIDE_PX))
    coarse = np.ascontiguousarray(pixels[::step, ::step])
    if monochrome1:
        coarse = (2**bits_stored - 1) - coarse
    picture = reduced(coarse)
    gray = stretched(picture)
    if gray is None:
        return Sighting(seen="the same gray everywhere")
    seen: list[str] = []
    for share in THRESHOLDS:
        body = largest_body(gray, share)
        if body is None:
            seen.append("nothing bright")
            continue
        likeness = Likeness(body, coarse)
        fault = fault_of(likeness, PLACE_LIMITS)
        if not fault:
            breast = _breast(body, pixels.shape, picture)
            return Sighting(breast=breast, seen=fault_of(likeness, tissue_limits))
        seen.append(fault)
    return Sighting(seen="; ".join(dict.fromkeys(seen)))


def _breast(body: BrightBody, shape: tuple[int, ...], picture: NDArray[np.float32]) -> Breast:
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
