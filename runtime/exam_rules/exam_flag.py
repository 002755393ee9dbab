"""The exam's flag: one value for a whole exam, with everything it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runtime.image.outcome import Execution, Flag, ModelRef, ViewOutcome
from runtime.image.reasons import Reason


class Role(StrEnum):
    """What an image is to its exam."""

    EXPECTED = "expected"
    """One of the expected views: it settles that view."""
    ADDITIONAL = "additional"
    """Listed; does not change the flag by being unassessed."""
    SUPERSEDED = "superseded"
    """Rejected and retaken: on record, not counted."""


class Completion(StrEnum):
    """What finished an exam, in order of preference."""

    EXAM_CLOSED = "exam_closed"
    MPPS = "mpps"
    EXPECTED_VIEWS = "expected_views"
    TIMEOUT = "timeout"


@dataclass(frozen=True, kw_only=True)
class ExamImage:
    """One image as its exam sees it. `outcome` is None while it waits for the worker."""

    image_id: int
    sop_instance_uid: str
    view_code: str
    role: Role
    outcome: ViewOutcome | None
    received_at_ms: int
    acquired_at: str = ""
    superseded_by: int | None = None
    rejected: bool = False
    """The unit rejected it: it can raise the exam's flag until its retake is here, not lower it."""


@dataclass(frozen=True, kw_only=True)
class ExamFlag:
    """One revision of an exam's flag. Times are milliseconds since the epoch, UTC."""

    study_instance_uid: str
    revision: int
    final: bool
    completed_by: Completion | None
    flag: Flag
    score: float | None
    reasons: tuple[Reason, ...]
    missing_views: tuple[str, ...]
    images: tuple[ExamImage, ...]
    decided_at_ms: int
    images_surplus: int = 0
    """Images beyond the exam's limit: kept, not judged, not among `images`."""
    model: ModelRef | None = None
    execution: Execution | None = None
