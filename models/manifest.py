"""The manifest of a model package, as frozen pydantic models: the package format.

The JSON Schema that other people's tools use is `Manifest.model_json_schema()`; it is never
written twice. Unknown keys are refused everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.frozen import Frozen
from models.package_role import PackageRole, role_by_names
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
    "ImageTypeTerm",
    "InputPort",
    "Manifest",
    "Monochrome1Step",
    "Name",
    "NormaliseStep",
    "OperatingPoint",
    "OrientStep",
    "OutputPort",
    "PackageFile",
    "PackageRole",
    "Parity",
    "PointParity",
    "Precision",
    "Probability",
    "ProofVerdict",
    "Recipe",
    "ResizeStep",
    "ScaleStep",
    "Scope",
    "Sha256",
    "Source",
    "Step",
    "Triage",
    "WindowStep",
]

SCHEMA_VERSION = 1
EXACTEST_FIRST = ("fp32", "fp16", "bf16", "int8")
"""By how much of the source's numbers is kept."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
ImageTypeTerm = Annotated[str, Field(pattern=r"^[A-Z0-9_]{1,16}$")]
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

    tensor: str = Field(description="name of the graph's input")
    view: Literal["any", "CC", "MLO", "RCC", "LCC", "RMLO", "LMLO"] = Field(
        default="any", description="which view feeds it"
    )
    shape: tuple[int, ...] = Field(description="of the tensor, batch included")
    preparation: Recipe | None = Field(
        default=None, description="of this input alone; none: the package's"
    )


class OutputPort(Frozen):
    """One score: element `index` of the flattened output `tensor`, after `activation`.

    A softmax runs over one dimension: of an output of two heads, [1, 2, 2], over each by itself.

    In the role `triage` exactly one output (or one for each laterality) is the `suspicion`.
    """

    tensor: str = Field(description="name of the graph's output")
    score: Name = Field(description="what the score is called")
    index: int = Field(default=0, ge=0, description="which element of the flattened output")
    activation: Literal["none", "sigmoid", "softmax", "exp"] = Field(
        default="none",
        description="still to be applied; `exp` where the graph ends in a logarithm (log-softmax)",
    )
    complement: bool = Field(
        default=False, description="the score is 1 minus that: the output is of the healthy"
    )
    axis: int | None = Field(
        default=None,
        ge=0,
        description="of activation `softmax`: the dimension that it runs over; none: the last that"
        " has more than one element",
    )
    suspicion: bool = Field(default=False, description="this score is held against the threshold")
    laterality: Literal["R", "L"] | None = Field(
        default=None, description="of one breast, where an exam's model has one output for each"
    )


class EvidencePort(Frozen):
    """An optional evidence map (values 0-1) of `rows` x `columns` cells over the model input."""

    tensor: str = Field(description="name of the graph's output")
    rows: int = Field(gt=0, description="cells from top to bottom")
    columns: int = Field(gt=0, description="cells from left to right")


class Precision(Frozen):
    """One IR pair. `inference_precision` is what the engine is asked for at compile time.

    `golden_tolerance`: for each executed precision, how far a golden score may be off.
    """

    xml: str = Field(description="file of the graph")
    bin: str = Field(description="file of the weights")
    inference_precision: Literal["f32", "f16", "bf16"] = Field(
        default="f32", description="what the engine is asked for at compile time"
    )
    golden_tolerance: dict[Literal["f32", "f16", "bf16", "int8"], float] = Field(
        description="by executed precision: how far a golden score may be off"
    )


class OperatingPoint(Frozen):
    """A threshold on the suspicion score, with what it was measured to give."""

    name: Name = Field(description="as settings name it")
    threshold: Probability = Field(description="at or above it an image is suspicious")
    sensitivity: Probability | None = Field(default=None, description="measured at the threshold")
    sensitivity_ci95: tuple[Probability, Probability] | None = Field(
        default=None, description="its 95 % interval"
    )
    specificity: Probability | None = Field(default=None, description="measured at the threshold")
    specificity_ci95: tuple[Probability, Probability] | None = Field(
        default=None, description="its 95 % interval"
    )
    measured_on: str = Field(default="", description="the set that it was measured on")


class Accepts(Frozen):
    """What the package was made for; anything else is not assessed, with the reason."""

    presentation_intents: tuple[Literal["FOR PRESENTATION", "FOR PROCESSING"], ...] = Field(
        default=("FOR PRESENTATION",), description="Presentation Intent Type (0008,0068)"
    )
    views: tuple[Literal["CC", "MLO", "ML", "LM", "XCCL"], ...] = Field(
        default=("CC", "MLO"), description="views that the model was made for"
    )
    manufacturers: tuple[str, ...] | Literal["any"] = Field(
        default="any", description="as the header names them; any: all"
    )
    film: bool = Field(default=True, description="scanned film as well")
    synthetic_2d: bool = Field(
        default=False, description="views computed from tomosynthesis (C-View, S-View) as well"
    )
    image_types: tuple[ImageTypeTerm, ...] = Field(
        default=(), description="terms of Image Type (0008,0008) that the runtime does not know"
    )
    minimum_rows: int = Field(default=256, ge=1, description="smaller images are not assessed")
    minimum_columns: int = Field(default=256, ge=1, description="smaller images are not assessed")
    pixel_spacing_mm: tuple[float, float] = Field(
        default=(0.02, 0.4), description="lowest and highest"
    )


class Source(Frozen):
    """Where the weights came from."""

    file: str = Field(description="name of the file that was converted")
    sha256: Sha256 = Field(description="of that file")
    framework: str = Field(description="that it came from")
    licence: str = Field(description="of the weights")


class ProofVerdict(StrEnum):
    """What labelled images say of a precision: `pass` means proved, and nothing less."""

    PROVED = "pass"
    NOT_PROVED = "not proved"
    FAIL = "fail"


class PointParity(Frozen):
    """An operating point at one precision, and the flags that are not the source model's."""

    name: str = Field(description="of the operating point")
    sensitivity: Probability | None = Field(default=None, description="at this precision")
    sensitivity_ci95: tuple[Probability, Probability] | None = Field(
        default=None, description="its 95 % interval"
    )
    specificity: Probability | None = Field(default=None, description="at this precision")
    specificity_ci95: tuple[Probability, Probability] | None = Field(
        default=None, description="its 95 % interval"
    )
    positives_lost: int = Field(ge=0, description="positives that only the source flags")
    positives_won: int = Field(ge=0, description="positives that only this precision flags")
    negatives_lost: int = Field(ge=0, description="negatives that only this precision flags")
    negatives_won: int = Field(ge=0, description="negatives that only the source flags")


class Parity(Frozen):
    """How far a precision on a device is from the source model."""

    precision: str = Field(description="of the package")
    device: str = Field(description="that it ran on")
    largest_score_difference: float = Field(description="of all images")
    auc_difference: float | None = Field(default=None, description="precision minus source")
    auc_difference_ci95: tuple[float, float] | None = Field(
        default=None, description="its 95 % interval"
    )
    images: int = Field(description="how many were compared")
    accepted_auc_loss: Probability | None = Field(
        default=None,
        description="by which an engineer accepted more loss than the margin; none if he did not",
    )
    verdict: ProofVerdict | None = Field(
        default=None,
        description="of the proof on labelled images; none: there was none. A precision that fails"
        " is not in the package",
    )
    because: tuple[str, ...] = Field(default=(), description="why it is no `pass`")
    positives: int | None = Field(default=None, ge=0, description="how many of the images")
    measured_on: str = Field(default="", description="the labelled images")
    points: tuple[PointParity, ...] = Field(
        default=(), description="each operating point at this precision"
    )


class PackageFile(Frozen):
    """One file of the package besides the manifest and its signature."""

    path: str = Field(description="relative to the package")
    sha256: Sha256 = Field(description="of its bytes")
    size_bytes: int = Field(ge=0, description="of the file")


@dataclass(frozen=True, kw_only=True)
class Triage:
    """What a flag is made of: only a package of the role `triage` has it."""

    suspicion: tuple[OutputPort, ...]
    operating_points: tuple[OperatingPoint, ...]

    def operating_point(self, name: str) -> OperatingPoint:
        """The operating point called `name`; KeyError with the names there are."""
        for point in self.operating_points:
            if point.name == name:
                return point
        raise KeyError(f"{name!r} is none of {', '.join(p.name for p in self.operating_points)}")


class Manifest(Frozen):
    """Everything about a package but its weights."""

    schema_version: Literal[1] = 1
    name: Name = Field(description="of the package")
    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+([-+][A-Za-z0-9.-]+)?$")] = (
        Field(description="semantic version")
    )
    created_at: datetime = Field(description="UTC")
    source: Source = Field(description="where the weights came from")
    intended_use: str = Field(description="one sentence")
    role: PackageRole = Field(
        default=PackageRole.TRIAGE, description="what it is for; only `triage` flags exams"
    )
    scope: Scope = Field(description="what one inference sees")
    accepts: Accepts = Field(default=Accepts(), description="what the package was made for")
    preparation: Recipe = Field(description="from an image to the model's input")
    inputs: tuple[InputPort, ...] = Field(
        min_length=1, description="one for each view of the scope"
    )
    outputs: tuple[OutputPort, ...] = Field(
        min_length=1,
        description="scores; in the role `triage` exactly one (or one for each laterality) is the"
        " suspicion, in every other none",
    )
    evidence: EvidencePort | None = Field(
        default=None, description="an evidence map, if the graph has one"
    )
    precisions: dict[Literal["fp32", "fp16", "bf16", "int8"], Precision] = Field(
        min_length=1, description="an IR pair each"
    )
    exam_rule: Literal["mean_of_views_then_max_of_breasts", "max_view", "direct"] = Field(
        description="how scores of views become the exam's"
    )
    operating_points: tuple[OperatingPoint, ...] = Field(
        default=(),
        description="thresholds by name: in the role `triage` one at least, in every other none",
    )
    parity: tuple[Parity, ...] = Field(
        default=(), description="how far each precision is from the source"
    )
    left_out: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="precisions that the recipe asks for and the package has not, and why",
    )
    advice: dict[str, str | int | float] = Field(
        default_factory=dict,
        description="what the bench measured and recommends, e.g. `default_precision`: one that was"
        " proved",
    )
    files: tuple[PackageFile, ...] = Field(default=(), description="every other file with its hash")

    @property
    def label(self) -> str:
        """`NAME-VERSION`, as zips and the unit's store call the package."""
        return f"{self.name}-{self.version}"

    @property
    def default_precision(self) -> str:
        """The one that the bench advises; where none was proved, the nearest to the source."""
        advised = self.advice.get("default_precision")
        wanted = (advised, *EXACTEST_FIRST)
        return next(str(name) for name in wanted if name in self.precisions)

    @property
    def proved(self) -> tuple[str, ...]:
        """The precisions that labelled images proved, the nearest to the source first."""
        passed = {part.precision for part in self.parity if part.verdict is ProofVerdict.PROVED}
        return tuple(name for name in EXACTEST_FIRST if name in passed)

    def accepting(self, image_types: tuple[str, ...]) -> Manifest:
        """The same package, made to judge images with these terms of Image Type as well."""
        accepts = self.accepts
        terms = tuple(dict.fromkeys((*accepts.image_types, *image_types)))
        return self.model_copy(
            update={"accepts": accepts.model_copy(update={"image_types": terms})}
        )

    @property
    def triage(self) -> Triage | None:
        """What a flag is made of; None in every other role, from which no way leads to a flag."""
        if self.role is not PackageRole.TRIAGE:
            return None
        return Triage(
            suspicion=tuple(output for output in self.outputs if output.suspicion),
            operating_points=self.operating_points,
        )

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
        if self.scope is Scope.EXAM and self.exam_rule != "direct":
            raise ValueError("exam_rule: must be direct, scope exam judges the exam itself")
        if len({p.name for p in self.operating_points}) != len(self.operating_points):
            raise ValueError("operating_points: two have the same name")
        return self

    @model_validator(mode="after")
    def _role_is_kept(self) -> Self:
        suspicion = [output for output in self.outputs if output.suspicion]
        named = ", ".join(output.score for output in suspicion) or "none"
        if self.role is not PackageRole.TRIAGE:
            if suspicion:
                raise ValueError(
                    f"outputs: in the role {self.role} none is a suspicion, only `triage` flags;"
                    f" suspicion = true stands at: {named}"
                )
            if self.operating_points:
                raise ValueError(
                    f"operating_points: in the role {self.role} nothing is held against a"
                    " threshold; leave them out"
                )
            return self
        if [o.laterality for o in suspicion] not in ([None], ["R", "L"], ["L", "R"]):
            raise ValueError(
                "outputs: exactly one (or one for each laterality) is the suspicion; "
                f"suspicion = true stands at: {named}"
            )
        if not self.operating_points:
            raise ValueError("operating_points: the role triage needs one at least")
        for output in suspicion:
            beside = {one.score for one in self.outputs if one.tensor == output.tensor}
            if role := role_by_names(output.score, beside):
                raise ValueError(
                    f"role: the suspicion {output.score!r} is by its name of {role}, not of cancer:"
                    f' nothing may be flagged by it; write role = "{role}" into its recipe, no'
                    " suspicion and no operating points, and build it again"
                )
        return self
