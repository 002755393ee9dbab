"""A performed procedure step (MPPS): what a unit says of an exam while it takes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StepState(StrEnum):
    """Performed Procedure Step Status (0040,0252), PS3.3 C.4.14."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class StepAnswer(StrEnum):
    """What became of the unit's word about a step."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    """A step of that UID was begun before."""
    UNKNOWN = "unknown"
    """No step of that UID was begun."""
    ENDED = "ended"
    """The step has ended already and can change no more (PS3.4 F.7.2.2.2)."""


@dataclass(frozen=True, kw_only=True)
class StepBegun:
    """A step that begins (N-CREATE). Only one of mammography says anything about our exams."""

    step_uid: str
    study_instance_uid: str
    mammography: bool
    views: tuple[str, ...] = ()
    """The only views (`LCC`, …) that will be taken, where the unit says so; else ()."""


@dataclass(frozen=True, kw_only=True)
class StepEnded:
    """A step that ends (N-SET), whether completed or discontinued."""

    step_uid: str
    state: StepState
    images: tuple[str, ...] = ()
    """SOP Instance UIDs of the images that were made and will be sent, where the unit says so."""
    views: tuple[str, ...] = ()
    """As above, where it is said only at the end."""
