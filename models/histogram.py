"""The score histogram that a package ships: what normal operation looks like, for drift."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from models.descriptor_reference import DescriptorReference
from models.manifest import Frozen


class ScoreHistogram(Frozen):
    """Counts of suspicion scores over equal bins of 0..1 (`reference.json`)."""

    score: str
    counts: tuple[int, ...] = Field(min_length=2)
    images: int = Field(ge=0)
    not_assessed: int = Field(default=0, ge=0)
    measured_on: str = ""
    descriptors: DescriptorReference | None = Field(
        default=None, description="what the same images looked like; absent in older packages"
    )

    @model_validator(mode="after")
    def _counts_add_up(self) -> Self:
        if min(self.counts) < 0 or sum(self.counts) != self.images:
            raise ValueError("the counts must not be negative and must add up to `images`")
        return self

    @classmethod
    def of(cls, score: str, values: list[float], *, measured_on: str, bins: int = 20) -> Self:
        """Histogram of `values` (0..1) in `bins` equal bins; 1.0 falls into the last."""
        counts = [0] * bins
        for value in values:
            counts[min(int(value * bins), bins - 1)] += 1
        return cls(score=score, counts=tuple(counts), images=len(values), measured_on=measured_on)
