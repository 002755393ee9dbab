"""From a mammogram to a model's input, exactly as the manifest's recipe says.

The order of the steps is their meaning. What is done differently gives the same result: pixel-wise
steps on stored values are collected in one table (`runtime.pixels.voi_lut_table`), which is looked
up within the crop only; mirroring waits until the image is small.
`converters.packaging.preparation_reference` is the recipe word for word, and the tests hold the two
together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.manifest import (
    ChannelsStep,
    CropStep,
    Monochrome1Step,
    NormaliseStep,
    OrientStep,
    Recipe,
    ResizeStep,
    ScaleStep,
    WindowStep,
)
from runtime.breast_gate.breast import Box, find_breast
from runtime.image.reasons import Remark
from runtime.pixels.display import display_of
from runtime.pixels.voi_lut_table import window_table
from runtime.preprocessing.local_normalisation import box_side_px, normalise_local
from runtime.preprocessing.model_input import ModelInput
from runtime.preprocessing.placement import Placement, crop_box, is_to_be_mirrored, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.manifest import Step
    from runtime.breast_gate.breast import Breast
    from runtime.pixels.mammogram import Mammogram

INTERPOLATIONS = {
    "area": cv2.INTER_AREA,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
}


def prepare(mammogram: Mammogram, recipe: Recipe, *, breast: Breast | None = None) -> ModelInput:
    """Executes `recipe.runtime_steps`.

    Args:
        mammogram: suitable by `assess_header` and `assess_pixels`.
        recipe: of the package.
        breast: where `assess_pixels` found it, so that it is not sought twice.

    Raises:
        ValueError: the recipe cannot be executed on this image: a spacing is needed and unknown
            (`assess_header` says so first), or a step comes where it makes no sense.
    """
    work = _Work(mammogram=mammogram, recipe=recipe, breast=breast)
    for step in recipe.runtime_steps:
        work.execute(step)
    return work.result()


def prepare_region(mammogram: Mammogram, recipe: Recipe) -> ModelInput:
    """The same for a piece of a view, as lesion data sets have them: not cropped, not mirrored."""
    steps = tuple(s for s in recipe.runtime_steps if not isinstance(s, CropStep | OrientStep))
    return prepare(mammogram, Recipe(steps=steps))


@dataclass(kw_only=True)
class _Work:
    """An image on its way; `values` once it is float, until then stored pixels and a table."""

    mammogram: Mammogram
    recipe: Recipe
    breast: Breast | None
    table: NDArray[np.float64] | None = None
    values: NDArray[np.float32] | None = None
    tensor: NDArray[np.generic] | None = None
    top: float = 0.0
    """The upper end of the value range."""
    box: Box = field(init=False)
    mirror_is_due: bool = False
    mirrored: bool = False
    placement: Placement | None = None
    remarks: list[Remark] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows, columns = self.mammogram.pixels.shape
        self.box = Box(top=0, left=0, bottom=rows, right=columns)
        self.top = float(2**self.mammogram.bits_stored - 1)

    def execute(self, step: Step) -> None:
        match step:
            case WindowStep():
                self._window(step)
            case Monochrome1Step():
                self._invert()
            case OrientStep():
                if is_to_be_mirrored(step, self.mammogram.header.laterality, self._found()):
                    self._before_resize("orient")
                    self.mirror_is_due, self.mirrored = not self.mirror_is_due, not self.mirrored
            case CropStep():
                self._before_resize("crop")
                view = self.mammogram.header.view
                self.box = crop_box(step, self.box, self._found(), self._spacing_or_none(), view)
            case ResizeStep():
                self._resize(step)
            case ScaleStep():
                self.values = _scaled(self._as_float(), step)
            case NormaliseStep():
                self.values = self._normalised(self._as_float(), step)
            case ChannelsStep():
                self.tensor = self._with_channels(step)

    def result(self) -> ModelInput:
        tensor = self.tensor if self.tensor is not None else self._as_float()
        placement = self.placement or Placement.whole(self.box.rows, self.box.columns)
        return ModelInput(
            tensor=np.ascontiguousarray(tensor),
            source_box=self.box,
            scale=(placement.rows / self.box.rows, placement.columns / self.box.columns),
            offset=(placement.top, placement.left),
            mirrored=self.mirrored,
            remarks=tuple(dict.fromkeys(self.remarks)),
        )

    # --- pixel-wise, on the table ----------------------------------------------------------------

    def _window(self, step: WindowStep) -> None:
        if self.values is not None:
            raise ValueError("a window step comes before what makes fractions of stored values")
        self.table = window_table(step, self.mammogram, self._table())
        if step.mode != "none":
            self.top = step.to

    def _invert(self) -> None:
        """Where the lowest value displays white (PS3.3 C.7.6.3.1.2)."""
        if not self.mammogram.monochrome1:
            return
        if self.values is not None:
            self.values = self.top - self.values
        else:
            self.table = self.top - self._table()

    def _table(self) -> NDArray[np.float64]:
        if self.table is None:
            return np.arange(2**self.mammogram.bits_stored, dtype=np.float64)
        return self.table

    # --- geometry --------------------------------------------------------------------------------

    def _found(self) -> Breast | None:
        if self.breast is None:
            image = self.mammogram
            self.breast = find_breast(
                image.pixels,
                monochrome1=display_of(self.recipe).falls(image),
                bits_stored=image.bits_stored,
            )
        return self.breast

    def _before_resize(self, name: str) -> None:
        if self.placement is not None:
            raise ValueError(f"step {name} comes before resize")

    def _spacing_or_none(self) -> tuple[float, float] | None:
        """(row, column) spacing of the source, mm; an assumed one of film if need be."""
        if self.mammogram.pixel_spacing_mm is not None or not self.mammogram.header.film:
            return self.mammogram.pixel_spacing_mm
        for step in self.recipe.steps:
            if isinstance(step, ResizeStep) and step.film_spacing_mm is not None:
                self.remarks.append(Remark.SPACING_ASSUMED)
                return step.film_spacing_mm, step.film_spacing_mm
        return None

    def _resize(self, step: ResizeStep) -> None:
        self._before_resize("a second resize")
        picture = self._cut()
        spacing = self._spacing_or_none() if step.mode == "spacing_mm" else None
        at = self.placement = place(step, picture.shape[0], picture.shape[1], spacing)
        if at.shrunk_to_canvas:
            self.remarks.append(Remark.SHRUNK_TO_CANVAS)
        if self.mirror_is_due and step.interpolation == "nearest":
            # Nearest takes the left one of two equals; the other methods are symmetric.
            picture = self._mirrored_now(picture)
        size = (at.columns, at.rows)
        small = cv2.resize(picture, size, interpolation=interpolation(step, picture.shape, at))
        if self.mirror_is_due:
            small = self._mirrored_now(small)
        canvas = np.zeros((step.height, step.width), np.float32)
        canvas[at.top : at.top + at.rows, at.left : at.left + at.columns] = small
        self.values = canvas

    def _mirrored_now(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        self.mirror_is_due = False
        return np.asarray(cv2.flip(picture, 1), np.float32)

    def _cut(self) -> NDArray[np.float32]:
        """The part of the image within the box as float32, not mirrored; 0 beyond the image."""
        if self.values is not None:
            return self.values
        rows, columns = self.mammogram.pixels.shape
        box = self.box
        inside = Box(
            top=max(0, box.top),
            left=max(0, box.left),
            bottom=min(rows, box.bottom),
            right=min(columns, box.right),
        )
        part = inside.cut(self.mammogram.pixels)
        if self.table is None:
            values = part.astype(np.float32)
        else:
            full = np.full(1 << 16, self.table[-1], np.float32)
            full[: self.table.size] = self.table
            values = np.asarray(cv2.LUT(part, full), np.float32)
        if inside == box:
            return values
        canvas = np.zeros((box.rows, box.columns), np.float32)
        canvas[
            inside.top - box.top : inside.bottom - box.top,
            inside.left - box.left : inside.right - box.left,
        ] = values
        return canvas

    def _as_float(self) -> NDArray[np.float32]:
        if self.values is None:
            self.values = self._cut()
        if self.mirror_is_due:
            self.values = self._mirrored_now(self.values)
        return self.values

    # --- values ----------------------------------------------------------------------------------

    def _normalised(self, x: NDArray[np.float32], step: NormaliseStep) -> NDArray[np.float32]:
        if step.mode == "per_image":
            mean, deviation = cv2.meanStdDev(x)
            figures = float(mean.item()), max(float(deviation.item()), step.epsilon)
            return np.asarray((x - np.float32(figures[0])) / np.float32(figures[1]), np.float32)
        if step.mode == "fixed":
            mean_, std = np.array(step.mean, np.float32), np.array(step.std, np.float32)
            if mean_.size > 1:
                return np.asarray((x - mean_[:, None, None]) / std[:, None, None], np.float32)
            return np.asarray((x - mean_[0]) / std[0], np.float32)
        return self._normalised_locally(x, step)

    def _normalised_locally(
        self, x: NDArray[np.float32], step: NormaliseStep
    ) -> NDArray[np.float32]:
        """Only where there is content: padding is 0 and stays 0."""
        if step.box_mm is None:
            raise ValueError("normalise local needs box_mm")
        at = self.placement or Placement.whole(*x.shape)
        side = box_side_px(step.box_mm, self._spacing_of_canvas())
        rows, columns = slice(at.top, at.top + at.rows), slice(at.left, at.left + at.columns)
        content = np.ascontiguousarray(x[rows, columns])
        if step.floor is None:
            counted = np.ones(content.shape, np.uint8)
        else:
            counted = (content > step.floor).view(np.uint8)
        result = np.zeros_like(x)
        result[rows, columns] = normalise_local(
            content, counted=counted, side_px=side, epsilon=step.epsilon
        )
        return result

    def _spacing_of_canvas(self) -> float:
        for step in self.recipe.steps:
            if isinstance(step, ResizeStep) and step.spacing_mm is not None:
                return step.spacing_mm
        raise ValueError("normalise local needs a resize to spacing_mm before it")

    def _with_channels(self, step: ChannelsStep) -> NDArray[np.generic]:
        x = self._as_float()
        if step.element_type == "u16":
            return _channels(np.clip(np.rint(x), 0, 65535).astype(np.uint16), step)
        return _channels(x, step)


def interpolation(step: ResizeStep, shape: tuple[int, ...], at: Placement) -> int:
    """OpenCV's method; `area` is the mean of what a pixel covers, so it is for shrinking only."""
    if step.interpolation == "area" and (at.rows > shape[0] or at.columns > shape[1]):
        return cv2.INTER_LINEAR
    return INTERPOLATIONS[step.interpolation]


def _scaled(x: NDArray[np.float32], step: ScaleStep) -> NDArray[np.float32]:
    if step.mode == "affine":
        y = x * np.float32(step.factor) + np.float32(step.offset)
    elif step.mode == "minmax":
        low, high = x.min(), x.max()
        y = (x - low) / (high - low) if high > low else np.zeros_like(x)
    else:
        divisor = x.max() if step.by == "image_max" else np.float32(step.by or 1.0)
        y = x / divisor if divisor else x
    if step.clip_low is not None or step.clip_high is not None:
        y = np.clip(y, step.clip_low, step.clip_high)
    return np.asarray(y, np.float32)


def _channels(x: NDArray[np.generic], step: ChannelsStep) -> NDArray[np.generic]:
    stacked = np.broadcast_to(x, (step.count, *x.shape[-2:]))[np.newaxis]
    return stacked if step.layout == "NCHW" else stacked.transpose(0, 2, 3, 1)
