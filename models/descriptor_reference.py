"""What images looked like where drift is measured from: counts of each descriptor of an image."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from models.manifest import Frozen

Label = Annotated[str, Field(max_length=32)]
MOST_BINS = 32


class Descriptor(StrEnum):
    """What is measured on each image; the first three on its pixels."""

    BRIGHTNESS = "brightness"
    """Mean stored value within the breast, as a share of the range of values (0-1)."""
    BREAST_AREA = "breast_area_cm2"
    DENSITY = "density"
    """Share of the breast that is brighter than the middle of its range (0-1); a proxy."""
    PIXEL_SPACING = "pixel_spacing_mm"
    """As a word: a unit has a few of them, and one more is another scanner or another setting."""
    MANUFACTURER = "manufacturer"


class DescriptorBins(Frozen):
    """Counts over numbers (`edges`, one count more than edges) or over words (`labels`)."""

    edges: tuple[float, ...] = Field(default=(), max_length=MOST_BINS - 1)
    labels: tuple[Label, ...] = Field(default=(), max_length=MOST_BINS)
    counts: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, max_length=MOST_BINS)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bool(self.edges) == bool(self.labels):
            raise ValueError("either edges or labels")
        wanted = len(self.edges) + 1 if self.edges else len(self.labels)
        if len(self.counts) != wanted:
            raise ValueError(f"{len(self.counts)} counts where {wanted} belong")
        if any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must rise")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label is named twice")
        return self


class DescriptorReference(Frozen):
    """The descriptors of a set of images (part of `reference.json`, or a unit's own baseline)."""

    images: int = Field(ge=0)
    bins: dict[Descriptor, DescriptorBins]
