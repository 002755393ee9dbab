"""The exam state machine: images arrive, revisions leave. Pure: no clock, no storage.

Everything that decides when an exam is complete, and which revision of its flag leaves, lives
in this file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from runtime.exam_rules.exam_flag import Completion, ExamFlag, ExamImage, Role
from runtime.exam_rules.triage_rules import judge_exam

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from runtime.image.header import ImageHeader


class Phase(StrEnum):
    """Where an exam is in its life."""

    COLLECTING = "collecting"
    FINAL = "final"


class ExamEvent(StrEnum):
    """What can happen to an exam."""

    IMAGE_RECEIVED = "image_received"
    OUTCOME_RECORDED = "outcome_recorded"
    IMAGE_REJECTED = "image_rejected"
    COMPLETED = "completed"


# A late image reopens a final exam; an outcome that changes a final exam (a re-judged image)
# makes a new revision of it, which is final again. A rejected image announces its retake.
EXAM_LIFE: dict[tuple[Phase, ExamEvent], Phase] = {
    (Phase.COLLECTING, ExamEvent.IMAGE_RECEIVED): Phase.COLLECTING,
    (Phase.COLLECTING, ExamEvent.OUTCOME_RECORDED): Phase.COLLECTING,
    (Phase.COLLECTING, ExamEvent.IMAGE_REJECTED): Phase.COLLECTING,
    (Phase.COLLECTING, ExamEvent.COMPLETED): Phase.FINAL,
    (Phase.FINAL, ExamEvent.IMAGE_RECEIVED): Phase.COLLECTING,
    (Phase.FINAL, ExamEvent.OUTCOME_RECORDED): Phase.COLLECTING,
    (Phase.FINAL, ExamEvent.IMAGE_REJECTED): Phase.COLLECTING,
    (Phase.FINAL, ExamEvent.COMPLETED): Phase.FINAL,
}


@dataclass(frozen=True, kw_only=True)
class ExamRules:
    """What the site and the package say about exams."""

    expected_views: tuple[str, ...]
    idle_timeout_ms: int
    exam_rule: str
    max_images: int = 100
    """Of one exam; others are kept and not judged. Each revision lists all that count."""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One exam. `closed_by` is the unit's own word (exam_closed, MPPS), if it was given.

    `timed_out` says that nothing came for the idle time-out; a new image clears it.
    """

    study_instance_uid: str
    phase: Phase = Phase.COLLECTING
    revision: int = 0
    closed_by: Completion | None = None
    timed_out: bool = False
    last_activity_ms: int = 0
    narrowed_views: tuple[str, ...] = ()
    """The only views that the unit said it would take; () if it said nothing."""
    images_missing: bool = False
    """Whether the unit announced images that have not come."""
    images_surplus: int = 0
    """Images beyond `ExamRules.max_images`: kept, not judged."""
    two_patients: bool = False
    """Whether its images are of different patients, by their own word."""

    def expected_views(self, rules: ExamRules) -> tuple[str, ...]:
        """The views without which the exam's flag cannot be `none`."""
        return self.narrowed_views or rules.expected_views


def role_of(
    header: ImageHeader,
    expected_views: Sequence[str],
    *,
    intent_accepted: bool,
    synthetic_accepted: bool = False,
    image_types: Collection[str] = (),
) -> Role:
    """Whether an image settles one of the expected views, or is listed beside them.

    Spot, magnification and other modified views, stereotactic ones, tomosynthesis volumes,
    quality-control objects, captures, unknown image types and For Processing twins never do;
    synthetic views and unknown types only where they are accepted.
    """
    settles = (
        header.view_code in expected_views
        and not header.disqualifying_modifiers
        and not header.stereo
        and header.kind_is_accepted(synthetic_2d=synthetic_accepted, image_types=image_types)
        and not header.magnified
        and not header.tomosynthesis
        and not header.quality_control
        and intent_accepted
    )
    return Role.EXPECTED if settles else Role.ADDITIONAL


def image_received(exam: Exam, at_ms: int) -> Exam:
    """The exam after another image of it became durable."""
    return replace(
        exam,
        phase=EXAM_LIFE[exam.phase, ExamEvent.IMAGE_RECEIVED],
        timed_out=False,
        last_activity_ms=at_ms,
    )


def outcome_recorded(exam: Exam) -> Exam:
    """The exam after the worker answered for one of its images."""
    return replace(exam, phase=EXAM_LIFE[exam.phase, ExamEvent.OUTCOME_RECORDED])


def image_rejected(exam: Exam, at_ms: int) -> Exam:
    """The exam after the unit rejected one of its images: a retake is on its way, or here."""
    return replace(
        exam,
        phase=EXAM_LIFE[exam.phase, ExamEvent.IMAGE_REJECTED],
        timed_out=False,
        last_activity_ms=at_ms,
    )


def timeout_due_ms(exam: Exam, rules: ExamRules) -> int | None:
    """When the exam times out if nothing more comes (ms since the epoch); None if it cannot."""
    if exam.phase is Phase.FINAL or exam.timed_out:
        return None
    return exam.last_activity_ms + rules.idle_timeout_ms


def completion(exam: Exam, images: Sequence[ExamImage], rules: ExamRules) -> Completion | None:
    """What completes the exam now, in order of preference; None while something is open.

    An image that is still with the worker keeps every exam open; one that the unit announced and
    that has not come keeps a closed exam open, but for its expected views and the time-out.
    """
    if any(image.outcome is None and image.role is not Role.SUPERSEDED for image in images):
        return None
    if exam.closed_by is Completion.EXAM_CLOSED or (exam.closed_by and not exam.images_missing):
        return exam.closed_by
    settled = {
        image.view_code for image in images if image.role is Role.EXPECTED and not image.rejected
    }
    if settled.issuperset(exam.expected_views(rules)):
        return Completion.EXPECTED_VIEWS
    return Completion.TIMEOUT if exam.timed_out else None


def revise(
    exam: Exam, images: Sequence[ExamImage], rules: ExamRules, at_ms: int
) -> tuple[Exam, ExamFlag]:
    """The next revision of the exam's flag, final if something completes the exam."""
    completed_by = completion(exam, images, rules)
    event = ExamEvent.OUTCOME_RECORDED if completed_by is None else ExamEvent.COMPLETED
    revised = replace(exam, revision=exam.revision + 1, phase=EXAM_LIFE[exam.phase, event])
    verdict = judge_exam(
        images,
        exam.expected_views(rules),
        rules.exam_rule,
        complete=completed_by is not None,
        surplus=exam.images_surplus > 0,
        two_patients=exam.two_patients,
    )
    return revised, ExamFlag(
        study_instance_uid=exam.study_instance_uid,
        revision=revised.revision,
        final=completed_by is not None,
        completed_by=completed_by,
        flag=verdict.flag,
        score=verdict.score,
        reasons=verdict.reasons,
        missing_views=verdict.missing_views,
        images=tuple(images),
        images_surplus=exam.images_surplus,
        decided_at_ms=at_ms,
        model=verdict.model,
        execution=verdict.execution,
    )
