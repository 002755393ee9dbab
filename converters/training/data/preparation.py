"""From a picture to the network's input, as the package's manifest declares it.

The steps are the runtime's own functions. Training calls them one by one, because it augments
between resizing and normalising; `tests/converters/training` holds the whole to
`runtime.preprocessing.preparation.prepare`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.manifest import CropStep, ResizeStep
from runtime.breast_gate.breast import Box, find_breast
from runtime.preprocessing.local_normalisation import box_side_px, normalise_local
from runtime.preprocessing.placement import crop_box, place

Picture = NDArray[np.float32]
"""Rows x columns, 0..1, higher is denser tissue."""

BITS = 8
"""Of the pictures that train: PNG and JPEG."""


@dataclass(frozen=True, kw_only=True)
class PreparationOptions:
    """The declared options of the preparation."""

    spacing_mm: float
    canvas_rows_px: int
    canvas_columns_px: int
    box_mm: float
    eps: float
    floor: float
    margin_mm: float

    @property
    def box_px(self) -> int:
        """Side of the normalisation box, odd."""
        return box_side_px(self.box_mm, self.spacing_mm)

    @property
    def resize_step(self) -> ResizeStep:
        """The manifest's resize step."""
        return ResizeStep(
            mode="spacing_mm",
            height=self.canvas_rows_px,
            width=self.canvas_columns_px,
            spacing_mm=self.spacing_mm,
            align="top_left",
        )


def resize_to_spacing(picture: Picture, spacing_mm: float, recipe: PreparationOptions) -> Picture:
    """Resize to the recipe's spacing, or further down until it fits the canvas."""
    spacing = (spacing_mm, spacing_mm)
    at = place(recipe.resize_step, picture.shape[0], picture.shape[1], spacing)
    enlarges = at.rows > picture.shape[0] or at.columns > picture.shape[1]
    method = cv2.INTER_LINEAR if enlarges else cv2.INTER_AREA
    resized = cv2.resize(picture, (at.columns, at.rows), interpolation=method)
    return np.asarray(resized, dtype=np.float32)


def normalise(picture: Picture, recipe: PreparationOptions) -> Picture:
    """Deviation from the mean of a box, in standard deviations of that box; 0 where no content.

    Content is what is brighter than the recipe's floor: padding is 0 and air nearly so. Only
    content enters the statistics, so padding changes no value inside.
    """
    return normalise_local(
        picture,
        counted=(picture > recipe.floor).astype(np.uint8),
        side_px=recipe.box_px,
        epsilon=recipe.eps,
    )


def pad_top_left(picture: Picture, rows_px: int, columns_px: int) -> Picture:
    """`picture` in the top left corner of a canvas of zeros."""
    canvas = np.zeros((rows_px, columns_px), dtype=np.float32)
    rows, columns = picture.shape
    canvas[:rows, :columns] = picture
    return canvas


def breast_box(picture: Picture, spacing_mm: float, recipe: PreparationOptions) -> Box:
    """The breast with its margin, in pixels of `picture`; all of it where no breast is found."""
    rows, columns = picture.shape
    pixels = np.rint(picture * (2**BITS - 1)).astype(np.uint16)
    step = CropStep(mode="breast_box", margin_mm=recipe.margin_mm)
    breast = find_breast(pixels, monochrome1=False, bits_stored=BITS)
    whole = Box(top=0, left=0, bottom=rows, right=columns)
    return crop_box(step, whole, breast, (spacing_mm, spacing_mm))


def prepare(
    picture: Picture, spacing_mm: float, recipe: PreparationOptions, *, is_region: bool
) -> Picture:
    """The whole recipe: crop (views only), resize, pad, normalise; the size of the canvas."""
    if not is_region:
        box = breast_box(picture, spacing_mm, recipe)
        picture = picture[box.top : box.bottom, box.left : box.right]
    resized = resize_to_spacing(picture, spacing_mm, recipe)
    return normalise(pad_top_left(resized, recipe.canvas_rows_px, recipe.canvas_columns_px), recipe)
