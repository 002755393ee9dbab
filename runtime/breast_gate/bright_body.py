"""The largest bright body of a reduced picture, filled from the chest wall to the skin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONG_SIDE_PX = 256
"""Of the reduced picture: about 1 mm for each of its pixels."""

Side = Literal["left", "right"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BrightBody:
    """A body, and how it lies in its own bounding box."""

    gray: NDArray[np.float32]
    """The picture, 0 to 1."""
    filled: NDArray[np.uint8]
    """1 in the body, without its dark gaps."""
    top: int
    left: int
    height: int
    width: int
    wall: Side
    """Where it is cut straight."""
    wall_share: float
    """Share of the body's rows that reach its chest wall side."""
    far_share: float
    gaps: float
    """Share of the filled body that is dark."""
    reach: NDArray[np.int64]
    """How far each of its rows reaches from the chest wall side, pixels."""
    share_of_bright: float
    """Of all that is bright in the picture."""


def reduced(coarse: NDArray[np.uint16]) -> NDArray[np.float32]:
    """At most `LONG_SIDE_PX` in rows and columns."""
    scale = min(1.0, LONG_SIDE_PX / max(coarse.shape))
    size = (max(1, round(coarse.shape[1] * scale)), max(1, round(coarse.shape[0] * scale)))
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_AREA), np.float32)


def stretched(small: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Gray 0 to 1 between the darkest and the brightest hundredth; None where all is the same."""
    low, high = np.percentile(small, [1, 99.5])
    if high - low < max(1.0, 0.1 * high):
        return None
    return np.asarray(np.clip((small - low) / (high - low), 0, 1), np.float32)


def largest_body(gray: NDArray[np.float32], share: float) -> BrightBody | None:
    """The largest connected body above `share` of Otsu's threshold; None where nothing is."""
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
    columns = np.arange(width)
    inside = columns < last[:, None] if wall == "left" else columns >= first[:, None]
    filled = np.zeros(gray.shape, np.uint8)
    filled[top : top + height, left : left + width] = inside
    return BrightBody(
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
        reach=last if wall == "left" else width - first,
        share_of_bright=area / float(mask.sum()),
    )
