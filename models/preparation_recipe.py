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
    mode: Literal["voi_lut", "minmax", "percentile", "none"] = Field(
        description="how stored values become gray values"
    )
    to: float = Field(default=1.0, gt=0, description="the highest gray value")
    low_percent: float = Field(default=0.0, ge=0, le=100, description="of mode `percentile`")
    high_percent: float = Field(default=100.0, ge=0, le=100, description="of mode `percentile`")
    absent: Literal["minmax", "stored_range"] = Field(
        default="minmax",
        description="of mode `voi_lut`, for an image without a usable window: as `minmax`, or 0 to"
        " 2**bits_stored-1 (PS3.3 C.11.2: displayed as they are)",
    )


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
    facing: Literal["left", "right", "none"] = Field(description="where the nipple points to")
    by: Literal["laterality", "content"] = Field(
        default="content", description="by the header's laterality, or by where the breast lies"
    )


class CropStep(Frozen):
    """`breast_box`: the bounding box of the breast plus `margin_mm` or `margin_px` on every side.

    `best_center_window`: a window of `height` x `width` source pixels placed at the breast (after
    the NYU convention): rows centred on its bounding box, columns from its chest wall on, zero
    outside the image. With `align: mlo_top` it begins at the top of a breast that is shorter than
    the window where the view is MLO: the NYU code pads such views at the bottom only.
    """

    step: Literal["crop"] = "crop"
    mode: Literal["breast_box", "best_center_window", "none"] = Field(description="what is cut out")
    margin_px: int = Field(default=0, ge=0, description="of mode `breast_box`")
    margin_mm: float = Field(default=0.0, ge=0, le=100, description="of mode `breast_box`")
    height: int | None = Field(
        default=None, gt=0, description="of mode `best_center_window`, source pixels"
    )
    width: int | None = Field(
        default=None, gt=0, description="of mode `best_center_window`, source pixels"
    )
    align: Literal["center", "mlo_top"] = Field(
        default="center",
        description="of mode `best_center_window`: where a breast lies that is shorter than it",
    )

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
    mode: Literal["squeeze", "fit_pad", "spacing_mm"] = Field(
        description="squeeze to the canvas, fit into it, or a fixed pixel spacing"
    )
    height: int = Field(gt=0, le=8192, description="of the canvas, pixels")
    width: int = Field(gt=0, le=8192, description="of the canvas, pixels")
    spacing_mm: float | None = Field(default=None, gt=0, description="of mode `spacing_mm`")
    film_spacing_mm: float | None = Field(
        default=None,
        gt=0,
        description="assumed of a film scan that carries no spacing; none: such an image is not"
        " assessed",
    )
    align: Literal["center", "top_left"] = Field(
        default="center", description="where the content lies on the canvas"
    )
    interpolation: Literal["area", "linear", "cubic", "nearest"] = Field(
        default="area", description="of OpenCV"
    )

    @model_validator(mode="after")
    def _spacing_needs_a_spacing(self) -> Self:
        if (self.mode == "spacing_mm") != (self.spacing_mm is not None):
            raise ValueError("spacing_mm is needed by mode spacing_mm, and by no other")
        return self


class ScaleStep(Frozen):
    """`divide` by a number or the image's own maximum; `affine` x*factor+offset; `minmax` 0..1."""

    step: Literal["scale"] = "scale"
    mode: Literal["divide", "affine", "minmax"] = Field(
        description="divide, affine, or lowest to highest value to 0-1"
    )
    by: float | Literal["image_max"] | None = Field(default=None, description="of mode `divide`")
    factor: float = Field(default=1.0, description="of mode `affine`")
    offset: float = Field(default=0.0, description="of mode `affine`, added afterwards")
    clip_low: float | None = Field(default=None, description="lower values become it")
    clip_high: float | None = Field(default=None, description="higher values become it")


class NormaliseStep(Frozen):
    """Mean and deviation, subtracted and divided by; the deviation is at least `epsilon`.

    `fixed`: one figure, or one for each channel. `per_image`: the image's own. `local`: those of
    a box of `box_mm` around each pixel, counting only pixels above `floor`; pixels at or below it
    (air, padding) become 0. The box's side in pixels of the canvas is
    round(box_mm / resize.spacing_mm), made odd by adding 1 where it is even.
    """

    step: Literal["normalise"] = "normalise"
    mode: Literal["fixed", "per_image", "local"] = Field(
        description="by fixed figures, the image's own, or those of a box around each pixel"
    )
    mean: tuple[float, ...] = Field(
        default=(), description="of mode `fixed`: one, or one for each channel"
    )
    std: tuple[float, ...] = Field(
        default=(), description="of mode `fixed`: one, or one for each channel"
    )
    epsilon: float = Field(default=1e-5, gt=0, description="the deviation is at least that")
    box_mm: float | None = Field(default=None, gt=0, description="of mode `local`: side of the box")
    floor: float | None = Field(
        default=None,
        description="of mode `local`: pixels at or below it count for nothing and become 0; none:"
        " all count",
    )

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
    count: Literal[1, 3] = Field(default=1, description="the gray value is repeated")
    layout: Literal["NCHW", "NHWC"] = Field(default="NCHW", description="order of the dimensions")
    element_type: Literal["f32", "u16"] = Field(default="f32", description="of the tensor")


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

    steps: tuple[Step, ...] = Field(min_length=1, description="in their order")
    folded_from: int | None = Field(
        default=None, ge=0, description="index of the first step that lives in the graph"
    )

    @property
    def runtime_steps(self) -> tuple[Step, ...]:
        """The steps that the runtime executes."""
        return self.steps if self.folded_from is None else self.steps[: self.folded_from]
