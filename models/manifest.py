"""The manifest of a model package: contract 1, as frozen pydantic models.

The JSON Schema that other people's tools use is `Manifest.model_json_schema()`; it is never
written twice. Unknown keys are refused everywhere.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Frozen(BaseModel):
    """Base of every part of the manifest: immutable, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Scope(StrEnum):
    """What one inference sees."""

    VIEW = "view"
    BREAST = "breast"
    EXAM = "exam"


# --- preparation: an ordered recipe of declared steps -------------------------------------------


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


# --- inputs, outputs, precisions ----------------------------------------------------------------


class InputPort(Frozen):
    """One input tensor of the graph: which view feeds it, its shape, and how it is prepared.

    `view` is `any` for scope view; `CC` or `MLO` for breast; `RCC`, `LCC`, `RMLO`, `LMLO` for exam.
    """

    tensor: str
    view: Literal["any", "CC", "MLO", "RCC", "LCC", "RMLO", "LMLO"] = "any"
    shape: tuple[int, ...]
    preparation: Recipe | None = None


class OutputPort(Frozen):
    """One score: element `index` of the flattened output `tensor`, after `activation`.

    Exactly one output (or one for each laterality) is the `suspicion`.
    """

    tensor: str
    score: Name
    index: int = Field(default=0, ge=0)
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    suspicion: bool = False
    laterality: Literal["R", "L"] | None = None


class EvidencePort(Frozen):
    """An optional evidence map (values 0-1) of `rows` x `columns` cells over the model input."""

    tensor: str
    rows: int = Field(gt=0)
    columns: int = Field(gt=0)


class Precision(Frozen):
    """One IR pair. `inference_precision` is what the engine is asked for at compile time.

    `golden_tolerance`: for each executed precision, how far a golden score may be off.
    """

    xml: str
    bin: str
    inference_precision: Literal["f32", "f16", "bf16"] = "f32"
    golden_tolerance: dict[Literal["f32", "f16", "bf16", "int8"], float]


class OperatingPoint(Frozen):
    """A threshold on the suspicion score, with what it was measured to give."""

    name: Name
    threshold: Probability
    sensitivity: Probability | None = None
    sensitivity_ci95: tuple[Probability, Probability] | None = None
    specificity: Probability | None = None
    specificity_ci95: tuple[Probability, Probability] | None = None
    measured_on: str = ""


class Accepts(Frozen):
    """What the package was made for; anything else is not assessed, with the reason."""

    presentation_intents: tuple[Literal["FOR PRESENTATION", "FOR PROCESSING"], ...] = (
        "FOR PRESENTATION",
    )
    views: tuple[Literal["CC", "MLO", "ML", "LM", "XCCL"], ...] = ("CC", "MLO")
    manufacturers: tuple[str, ...] | Literal["any"] = "any"
    film: bool = True
    minimum_rows: int = Field(default=256, ge=1)
    minimum_columns: int = Field(default=256, ge=1)
    pixel_spacing_mm: tuple[float, float] = (0.02, 0.4)


class Source(Frozen):
    """Where the weights came from."""

    file: str
    sha256: Sha256
    framework: str
    licence: str


class Parity(Frozen):
    """How far a precision on a device is from the source model."""

    precision: str
    device: str
    largest_score_difference: float
    auc_difference: float | None = None
    auc_difference_ci95: tuple[float, float] | None = None
    images: int
    accepted_auc_loss: Probability | None = None
    """The figure by which an engineer accepted more loss than the margin; None if he did not."""


class PackageFile(Frozen):
    """One file of the package besides the manifest and its signature."""

    path: str
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class Manifest(Frozen):
    """Contract 1: everything about a package but its weights."""

    schema_version: Literal[1] = 1
    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+([-+][A-Za-z0-9.-]+)?$")]
    created_at: datetime
    source: Source
    intended_use: str
    scope: Scope
    accepts: Accepts = Accepts()
    preparation: Recipe
    inputs: tuple[InputPort, ...] = Field(min_length=1)
    outputs: tuple[OutputPort, ...] = Field(min_length=1)
    evidence: EvidencePort | None = None
    precisions: dict[Literal["fp32", "fp16", "bf16", "int8"], Precision] = Field(min_length=1)
    exam_rule: Literal["mean_of_views_then_max_of_breasts", "max_view", "direct"]
    operating_points: tuple[OperatingPoint, ...] = Field(min_length=1)
    parity: tuple[Parity, ...] = ()
    advice: dict[str, str | int | float] = Field(default_factory=dict)
    files: tuple[PackageFile, ...] = ()

    @property
    def label(self) -> str:
        """`NAME-VERSION`, as zips and the unit's store call the package."""
        return f"{self.name}-{self.version}"

    def operating_point(self, name: str) -> OperatingPoint:
        """The operating point called `name`; KeyError with the names there are."""
        for point in self.operating_points:
            if point.name == name:
                return point
        raise KeyError(f"{name!r} is none of {', '.join(p.name for p in self.operating_points)}")

    def recipe_for(self, port: InputPort) -> Recipe:
        """How the image for `port` is prepared."""
        return port.preparation or self.preparation

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        wanted = {
            Scope.VIEW: [{"any"}],
            Scope.BREAST: [{"CC", "MLO"}],
            Scope.EXAM: [{"RCC", "LCC", "RMLO", "LMLO"}],
        }[self.scope]
        if {port.view for port in self.inputs} not in wanted:
            views = ", ".join(sorted(wanted[0]))
            raise ValueError(f"inputs: scope {self.scope} needs one for each of the views {views}")
        if len({port.view for port in self.inputs}) != len(self.inputs):
            raise ValueError("inputs: two name the same view")
        suspicion = [o.laterality for o in self.outputs if o.suspicion]
        if suspicion not in ([None], ["R", "L"], ["L", "R"]):
            named = ", ".join(o.score for o in self.outputs if o.suspicion) or "none"
            raise ValueError(
                "outputs: exactly one (or one for each laterality) is the suspicion; "
                f"suspicion = true stands at: {named}"
            )
        if self.scope is Scope.EXAM and self.exam_rule != "direct":
            raise ValueError("exam_rule: must be direct, scope exam judges the exam itself")
        if len({p.name for p in self.operating_points}) != len(self.operating_points):
            raise ValueError("operating_points: two have the same name")
        return self
