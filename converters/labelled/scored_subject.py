"""What gets one score: an image, the two views of a breast, the four of an exam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.manifest import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from converters.labelled.labels import LabelledImage

Question = tuple[tuple[str, "LabelledImage"], ...]
"""(view of the input port, image) for every input of the package."""


def counted_as(scope: Scope) -> str:
    """What one score is for."""
    return {Scope.VIEW: "images", Scope.BREAST: "breasts", Scope.EXAM: "exams"}[scope]


@dataclass(frozen=True, kw_only=True)
class SlottedImage:
    """One image and the input that it can feed."""

    slot: str
    """View of the input port: `any`, `CC`, `RMLO`; "" where none takes it."""
    image: LabelledImage


@dataclass(frozen=True, kw_only=True)
class ScoredSubject:
    """Images that are judged together."""

    images: tuple[SlottedImage, ...]
    """Oldest first."""
    wanted: tuple[str, ...]
    """The views of the package's inputs."""

    @property
    def positive(self) -> bool:
        """The worst of its images' labels."""
        return any(slotted.image.positive for slotted in self.images)

    @property
    def subgroups(self) -> tuple[str, ...]:
        """Those that all its images are in."""
        first, *rest = (slotted.image.subgroups for slotted in self.images)
        return tuple(group for group in first if all(group in other for other in rest))

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of its images."""
        return tuple(slotted.image.path for slotted in self.images)

    @property
    def missing(self) -> tuple[str, ...]:
        """Views of which there is no image."""
        there = {slotted.slot for slotted in self.images}
        return tuple(view for view in self.wanted if view not in there)

    def questions(self) -> Iterator[Question]:
        """What a unit would ask the package (`runtime.exam_rules.job_planning`).

        The newest image of each view, and each older one beside the newest of the others.
        """
        newest = {s.slot: s.image for s in self.images if s.slot in self.wanted}
        for slotted in self.images:
            if slotted.slot in self.wanted and slotted.image is not newest[slotted.slot]:
                older = {**newest, slotted.slot: slotted.image}
                yield tuple((view, older[view]) for view in self.wanted)
        yield tuple((view, newest[view]) for view in self.wanted)
