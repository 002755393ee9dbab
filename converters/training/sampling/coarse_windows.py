"""Windows of whole views for the coarse branch, with what each cell and the window hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.training.data.augmentation import Augmentation, change_tone, finish_window
from converters.training.data.preparation import Picture, PreparationOptions
from converters.training.networks.coarse_network import CELL_PX, CLASSES

UNKNOWN = -1.0
INSIDE_SHARE = 0.5
"""A cell at least half covered by a lesion is a cell of it."""
TOUCHED_SHARE = 0.05
"""A cell that is covered less than half but more than this is no example of anything."""
LESION_AIM = 0.75
"""Share of a view's windows that are laid over a known lesion."""


class Region(NamedTuple):
    """Where a lesion lies, in pixels of its view's picture, and what it is."""

    top: float
    left: float
    bottom: float
    right: float
    malignant: bool
    spiculated: bool


@dataclass(frozen=True, kw_only=True)
class CoarseView:
    """A whole view at the coarse branch's spacing and sharpness, 0..1.

    `regions` are its known lesions; `is_located` says that there is no other malignant one.
    """

    name: str
    data_set: str
    patient: str
    label: str
    picture: Picture
    regions: tuple[Region, ...]
    is_located: bool


@dataclass(frozen=True, kw_only=True)
class CoarseWindow:
    """A normalised window, cell targets (classes, rows, columns) and the window's own target.

    Targets are 0 or 1, or UNKNOWN.
    """

    pixels: Picture
    cells: NDArray[np.float32]
    holds_malignant: float


def lesion_masks(view: CoarseView) -> NDArray[np.float32]:
    """Ellipses of the lesions, rows x columns x classes."""
    masks = np.zeros((*view.picture.shape, len(CLASSES)), dtype=np.float32)
    for region in view.regions:
        centre = ((region.left + region.right) / 2, (region.top + region.bottom) / 2)
        size = (region.right - region.left, region.bottom - region.top)
        ellipse = np.zeros(view.picture.shape, dtype=np.uint8)
        cv2.ellipse(ellipse, (centre, size, 0.0), 1.0, -1)
        for index, holds in enumerate((region.malignant, True, region.spiculated)):
            if holds:
                masks[:, :, index] = np.maximum(masks[:, :, index], ellipse)
    return masks


def _matrix(
    view: CoarseView, generator: np.random.Generator, amount: Augmentation
) -> NDArray[np.float64]:
    """From the view to a turned, scaled, perhaps mirrored window with its context."""
    aimed = bool(view.regions) and generator.random() < LESION_AIM
    if aimed:
        region = view.regions[int(generator.integers(len(view.regions)))]
        centre = np.array([region.left + region.right, region.top + region.bottom]) / 2
    else:
        content = np.argwhere(view.picture[::8, ::8] > 0)
        row, column = content[int(generator.integers(len(content)))] * 8
        centre = np.array([column, row], dtype=np.float64)
    scale = float(np.exp(generator.uniform(-1, 1) * np.log(amount.scale)))
    angle = float(generator.normal(0, 20))
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, scale)
    if generator.random() < 0.5:
        matrix = np.array([[-1, 0, 2 * centre[0]], [0, 1, 0]]) @ np.vstack([matrix, [0, 0, 1]])
    if generator.random() < 0.5:
        matrix = np.array([[1, 0, 0], [0, -1, 2 * centre[1]]]) @ np.vstack([matrix, [0, 0, 1]])
    side = amount.window_px + 2 * amount.context_px
    shift = generator.uniform(-0.35, 0.35, 2) * amount.window_px
    matrix[:, 2] += side / 2 - 0.5 - centre + shift
    return np.asarray(matrix, dtype=np.float64)


def _cells(masks: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns, classes = masks.shape
    blocks = masks.reshape(rows // CELL_PX, CELL_PX, columns // CELL_PX, CELL_PX, classes)
    share = blocks.mean(axis=(1, 3)).transpose(2, 0, 1)
    targets = (share >= INSIDE_SHARE).astype(np.float32)
    targets[(share > TOUCHED_SHARE) & (share < INSIDE_SHARE)] = UNKNOWN
    return np.asarray(targets, dtype=np.float32)


def draw_coarse_window(
    view: CoarseView,
    generator: np.random.Generator,
    amount: Augmentation,
    recipe: PreparationOptions,
) -> CoarseWindow:
    """An augmented window of a view; `recipe` has the coarse branch's spacing."""
    side = amount.window_px + 2 * amount.context_px
    matrix = _matrix(view, generator, amount)
    warped = cv2.warpAffine(view.picture, matrix, (side, side), flags=cv2.INTER_LINEAR)
    pixels = finish_window(
        change_tone(np.asarray(warped, dtype=np.float32), generator, amount), amount, recipe
    )
    # The shipped graph sees deviations that fine structure, too, has entered: these do not.
    pixels = pixels * np.float32(np.exp(generator.uniform(-0.3, 0.15)))
    classes = len(CLASSES)
    grid = amount.window_px // CELL_PX
    if not view.is_located:
        # Some cell holds the lesion if the window holds most of the breast; which is unknown.
        whole = float((view.picture > recipe.floor).sum())
        seen = float((pixels != 0).sum()) / max(whole * abs(np.linalg.det(matrix[:, :2])), 1.0)
        return CoarseWindow(
            pixels=pixels,
            cells=np.full((classes, grid, grid), UNKNOWN, dtype=np.float32),
            holds_malignant=1.0 if seen > 0.7 else UNKNOWN,
        )
    masks = np.zeros((side, side, classes), dtype=np.float32)
    share = 0.0
    margin = amount.context_px
    if view.regions:
        source = lesion_masks(view)
        masks = cv2.warpAffine(source, matrix, (side, side), flags=cv2.INTER_LINEAR)
        area = float(source[:, :, 0].sum()) * abs(np.linalg.det(matrix[:, :2]))
        inner = masks[margin : margin + amount.window_px, margin : margin + amount.window_px]
        share = float(inner[:, :, 0].sum()) / area if area else 0.0
    inner = masks[margin : margin + amount.window_px, margin : margin + amount.window_px]
    holds = 1.0 if share > INSIDE_SHARE else (UNKNOWN if share > 0 else 0.0)
    return CoarseWindow(pixels=pixels, cells=_cells(inner), holds_malignant=holds)
