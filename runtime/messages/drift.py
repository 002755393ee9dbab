"""`drift`: a day's scores and images against what they were."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.descriptor_reference import MOST_BINS, Descriptor
from runtime.image.reasons import Reason
from runtime.messages.envelope import ModelPart, NumberedMessage, Part, Score
from runtime.messages.vocabulary import Open, open_keys


class BaselineSource(StrEnum):
    """What a day's image descriptors are compared with."""

    PACKAGE = "package"
    """The package's `reference.json`."""
    UNIT = "unit"
    """The unit's own first images."""


class DescriptorPart(Part):
    """A day's counts of one descriptor over the bins of the baseline."""

    edges: tuple[float, ...] | None = Field(
        max_length=MOST_BINS, description="of a number; one count more than edges"
    )
    labels: tuple[Annotated[str, Field(max_length=32)], ...] | None = Field(
        max_length=MOST_BINS + 1, description="of a word; those that are new have none expected"
    )
    counts: tuple[Annotated[int, Field(ge=0)], ...] = Field(max_length=MOST_BINS + 1)
    expected: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        max_length=MOST_BINS + 1, description="the baseline's counts, not scaled to the day"
    )
    psi: float | None = Field(description="population stability index; null: too few images")


class DescriptorDriftPart(Part):
    """What the day's images looked like: tells a changed scanner from a changed population."""

    baseline: Open[BaselineSource]
    baseline_images: int = Field(ge=0)
    baseline_needed: int = Field(
        ge=0, description="until the unit has that many of its own, `by_name` is empty"
    )
    baseline_since: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] | None = Field(
        default=None, description="the day that the unit's settings begin the baseline with"
    )
    images: int = Field(ge=0, description="of the day, in which a breast was found")
    by_name: dict[Open[Descriptor], DescriptorPart] = Field(json_schema_extra=open_keys(Descriptor))


class DriftMessage(NumberedMessage):
    """A day's scores and images against the model's `reference.json`."""

    omitted_when_none: ClassVar[frozenset[str]] = frozenset({"descriptors"})
    schema_id: Literal["mammoedge.drift/1"] = Field(default="mammoedge.drift/1", alias="schema")
    model: ModelPart
    day: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$", examples=["2026-11-22"])]
    images: int = Field(ge=0)
    exams: int = Field(ge=0)
    histogram: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        max_length=256, description="judged images by score, equal bins from 0 to 1"
    )
    psi: float | None = Field(description="population stability index; null: too few images")
    priority_rate: Score | None = Field(description="of exams")
    not_assessed_rate: dict[Open[Reason], Score] = Field(
        description="of images, by reason", json_schema_extra=open_keys(Reason)
    )
    descriptors: DescriptorDriftPart | None = Field(
        default=None, description="absent where the unit described no image"
    )
