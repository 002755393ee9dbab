"""The manifest of a model package, as frozen pydantic models: the package format.

The JSON Schema that other people's tools use is `Manifest.model_json_schema()`; it is never
written twice. Unknown keys are refused everywhere.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.frozen import Frozen
from models.preparation_recipe import (
    ChannelsStep,
    CropStep,
    Monochrome1Step,
    NormaliseStep,
    OrientStep,
    Recipe,
    ResizeStep,
    ScaleStep,
    Step,
    WindowStep,
)

__all__ = [
    "SCHEMA_VERSION",
    "Accepts",
    "ChannelsStep",
    "CropStep",
    "EvidencePort",
    "Frozen",
    "InputPort",
    "Manifest",
    "Monochrome1Step",
    "Name",
    "NormaliseStep",
    "OperatingPoint",
    "OrientStep",
    "OutputPort",
    "PackageFile",
    "Parity",
    "Precision",
    "Probability",
    "Recipe",
    "ResizeStep",
    "ScaleStep",
    "Scope",
    "Sha256",
    "Source",
    "Step",
    "WindowStep",
]

SCHEMA_VERSION = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Scope(StrEnum):
    """What one inference sees."""

    VIEW = "view"
    BREAST = "breast"
    EXAM = "exam"


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
    """Everything about a package but its weights."""

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
