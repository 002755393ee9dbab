"""What a pixel worker is asked, and what it answers: a value either way, never silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from runtime.image.descriptors import ImageDescriptors
from runtime.image.header import ImageHeader
from runtime.image.reasons import Reason, Remark

if TYPE_CHECKING:
    from models.package_role import PackageRole

PREVIEW_SUFFIX = ".preview.jpg"
EVIDENCE_SUFFIX = ".evidence.npy"
"""Files that the worker leaves beside a spooled object; the control process serves them."""


COMPARE = "compare"
"""Slot of the two images of a comparison: the one that stands, then other bytes under its UID."""


class Flag(StrEnum):
    """Three flags, never two."""

    PRIORITY = "priority"
    NONE = "none"
    NOT_ASSESSED = "not_assessed"


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """What produced a judgement; part of every result."""

    name: str
    version: str
    package_sha256: str
    """SHA-256 of manifest.json: it holds the hash of every other file."""
    operating_point: str
    threshold: float
    precision: str
    """The precision asked for: fp32, fp16, bf16, int8."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how an inference was run."""

    requested_device: str
    actual_device: str
    executed_precision: str
    """As the engine reports it: f32, f16, bf16 or int8."""
    fallback_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A file that the worker wrote beside the spooled object (preview, evidence map)."""

    kind: str
    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ViewResult:
    """A judged image. `score` is the suspicion, 0-1."""

    score: float
    flag: Flag
    model: ModelRef
    execution: Execution
    scores: dict[str, float] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    artefacts: tuple[Artefact, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NotAssessed:
    """An image that was not judged, and why. `detail` carries data, never an identity."""

    reasons: tuple[Reason, ...]
    detail: str = ""
    remarks: tuple[Remark, ...] = ()
    model: ModelRef | None = None
    execution: Execution | None = None
    artefacts: tuple[Artefact, ...] = ()
    """A preview, where the pixels could be decoded."""

    def __post_init__(self) -> None:
        if not self.reasons:
            raise ValueError("an image that was not assessed needs a reason")


ViewOutcome = ViewResult | NotAssessed


@dataclass(frozen=True, kw_only=True)
class AnsweredBytes:
    """The bytes that the sender was answered for: those, and no others, may be judged."""

    sha256: str
    """Of the data set alone: what stands before it is the receiver's own (PS3.10 7.1)."""
    transfer_syntax_uid: str
    """It stands before the data set, and says how to read it."""


@dataclass(frozen=True, kw_only=True)
class JobImage:
    """One spooled object of a job. `slot` is the input port's view: `any`, `CC`, `RMLO`."""

    image_id: int
    path: str
    slot: str
    answered: AnsweredBytes | None = None
    """None where nobody was answered: files on a bench."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The unit of work: a package (by hash), a precision, and the spooled objects by view."""

    job_id: int
    package_sha256: str
    precision: str
    images: tuple[JobImage, ...]
    is_comparison: bool = False
    """Two files are to be compared, and nothing judged."""


@dataclass(frozen=True, kw_only=True)
class ImageOutcome:
    """What the worker found out about one image of a job."""

    image_id: int
    outcome: ViewOutcome
    header: ImageHeader | None = None
    """As the pixels corrected it (laterality from content); None if the header was unreadable."""
    descriptors: ImageDescriptors | None = None
    """What the image looks like; None where no breast was found in it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a package of another role than triage says of an image: no flag, no suspicion."""

    role: PackageRole
    outputs: dict[str, float]
    """0-1, by name."""
    execution: Execution
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageFinding:
    """What was found in one image, or why nothing was. No exam is made of it."""

    outcome: Finding | NotAssessed
    header: ImageHeader | None = None
    descriptors: ImageDescriptors | None = None


@dataclass(frozen=True, kw_only=True)
class PixelComparison:
    """What the worker found out about two files under one SOP Instance UID."""

    same_pixels: bool
    """After decoding: every stored value."""
    changed: tuple[str, ...] = ()
    """Names of the facts that a judgement rests on and that differ all the same."""


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """The answer to a job: one outcome for each of its images, or what a comparison found."""

    job_id: int
    images: tuple[ImageOutcome, ...] = ()
    comparison: PixelComparison | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage: `read`, `decode`, `suitability`, `prepare`, `infer`, `total`."""
