"""How an image becomes a model input: an ordered recipe of declared steps."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.frozen import Frozen


class WindowStep(Frozen):
    """Stored values to display values.

    `voi_lut`: VOI LUT Sequence, else window by its function (LINEAR, LINEAR_EXACT, SIGMOID;
    PS3.3 C.11.2), else what `absent` says. `minmax`: lowest to highest value of the whole image.
    `percentile`: `low_percent` to `high_percent` of the whole image, ranks interpolated linearly.
    The result is float32 from 0 to `to`. `none` leaves the stored values (as float32). A window
    counts in stored values, so this step comes before `monochrome1`.
    """

    step: Literal["window"] = "window"
    mode: Literal["voi_lut", "minmax", "percentile", "none"]
    to: float = Field(default=1.0, gt=0)
    low_percent: float = Field(default=0.0, ge=0, le=100)
    high_percent: float = Field(default=100.0, ge=0, le=100)
    absent: Literal["minmax", "stored_range"] = "minmax"
    """Of mode `voi_lut`, for an image without a usable window: as `minmax`, or 0 to
    2**bits_stored-1 (PS3.3 C.11.2: without a VOI transform the values are displayed as they are).
    """


class Monochrome1Step(Frozen):
    """Inverts images whose lowest value displays white (PS3.3 C.7.6.3.1.2).

    About the top of the value range at that point of the recipe: `to` of a window step before
    it, else 2**bits_stored - 1.
    """

    step: Literal["monochrome1"] = "monochrome1"
    mode: Literal["invert"] = "invert"


class OrientStep(Frozen):
    """Mirrors the image so that the breast's chest wall is at the other side of `facing`.

    `facing: right` means that the nipple points to the right. Decided by laterality (a right
    breast is displayed facing left, PS3.3 C.8.11.7.1.4) or by where the tissue is (`content`).
    """

    step: Literal["orient"] = "orient"
    facing: Literal["left", "right", "none"]
    by: Literal["laterality", "content"] = "content"


class CropStep(Frozen):
    """`breast_box`: the bounding box of the breast plus `margin_mm` or `margin_px` on every side.

    `best_center_window`: a window of `height` x `width` source pixels placed at the breast (after
    the NYU convention): rows centred on its bounding box, columns from its chest wall on, zero
    outside the image.
    """

    step: Literal["crop"] = "crop"
    mode: Literal["breast_box", "best_center_window", "none"]
    margin_px: int = Field(default=0, ge=0)
    margin_mm: float = Field(default=0.0, ge=0, le=100)
    """Added to `margin_px`; in source pixels it is round(margin_mm / source spacing)."""
    height: int | None = Field(default=None, gt=0)
    width: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _window_needs_a_size(self) -> Self:
        if self.mode == "best_center_window" and (self.height is None or self.width is None):
            raise ValueError("best_center_window needs height and width")
        return self


class ResizeStep(Frozen):
    """To `height` x `width`.

    `squeeze` ignores the aspect ratio. `fit_pad` keeps it and pads with zero. `spacing_mm` brings
    the image to `spacing_mm` per pixel and pads with zero; content larger than the canvas is
    shrunk to fit. Where a film scan stored as Secondary Capture carries no spacing,
    `film_spacing_mm` is assumed and remarked; without it such an image is not assessed.
    Interpolation `area` is the mean of what a pixel covers; where an axis is enlarged, `linear`.
    """

    step: Literal["resize"] = "resize"
    mode: Literal["squeeze", "fit_pad", "spacing_mm"]
    height: int = Field(gt=0, le=8192)
    width: int = Field(gt=0, le=8192)
    spacing_mm: float | None = Field(default=None, gt=0)
    film_spacing_mm: float | None = Field(default=None, gt=0)
    align: Literal["center", "top_left"] = "center"
    interpolation: Literal["area", "linear", "cubic", "nearest"] = "area"

    @model_validator(mode="after")
    def _spacing_needs_a_spacing(self) -> Self:
        if (self.mode == "spacing_mm") != (self.spacing_mm is not None):
            raise ValueError("spacing_mm is needed by mode spacing_mm, and by no other")
        return self


class ScaleStep(Frozen):
    """`divide` by a number or the image's own maximum; `affine` x*factor+offset; `minmax` 0..1."""

    step: Literal["scale"] = "scale"
    mode: Literal["divide", "affine", "minmax"]
    by: float | Literal["image_max"] | None = None
    factor: float = 1.0
    offset: float = 0.0
    clip_low: float | None = None
    clip_high: float | None = None


class NormaliseStep(Frozen):
    """Mean and deviation, subtracted and divided by; the deviation is at least `epsilon`.

    `fixed`: one figure, or one for each channel. `per_image`: the image's own. `local`: those of
    a box of `box_mm` around each pixel, counting only pixels above `floor`; pixels at or below it
    (air, padding) become 0. The box's side in pixels of the canvas is
    round(box_mm / resize.spacing_mm), made odd by adding 1 where it is even.
    """

    step: Literal["normalise"] = "normalise"
    mode: Literal["fixed", "per_image", "local"]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    epsilon: float = Field(default=1e-5, gt=0)
    box_mm: float | None = Field(default=None, gt=0)
    floor: float | None = None
    """Of mode `local`, as a value at that point of the recipe; None counts every pixel."""

    @model_validator(mode="after")
    def _mode_has_its_figures(self) -> Self:
        if self.mode == "local" and self.box_mm is None:
            raise ValueError("local needs box_mm")
        if self.mode == "fixed" and (not self.mean or len(self.mean) != len(self.std)):
            raise ValueError("fixed needs mean and std, equally many of each")
        if self.mode == "fixed" and min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


class ChannelsStep(Frozen):
    """Adds batch and channel axes; three channels by replication."""

    step: Literal["channels"] = "channels"
    count: Literal[1, 3] = 1
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    element_type: Literal["f32", "u16"] = "f32"


Step = Annotated[
    WindowStep
    | Monochrome1Step
    | OrientStep
    | CropStep
    | ResizeStep
    | ScaleStep
    | NormaliseStep
    | ChannelsStep,
    Field(discriminator="step"),
]


class Recipe(Frozen):
    """Steps in order. From `folded_from` on they live in the IR; the runtime stops there."""

    steps: tuple[Step, ...] = Field(min_length=1)
    folded_from: int | None = Field(default=None, ge=0)

    @property
    def runtime_steps(self) -> tuple[Step, ...]:
        """The steps that the runtime executes."""
        return self.steps if self.folded_from is None else self.steps[: self.folded_from]
