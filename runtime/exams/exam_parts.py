"""The parts that make and change exams, tied together on one ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.exams.exam_revision import ExamRevisions
from runtime.exams.exam_service import ExamService
from runtime.exams.modality_notices import ModalityNotices
from runtime.exams.registration import ImageRegistration

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.exam_rules.state_machine import ExamRules
    from runtime.exams.registration import ActivePackage
    from runtime.ledger.ledger import Ledger
    from runtime.publishing.message_factory import MessageFactory


@dataclass(frozen=True, kw_only=True)
class ExamParts:
    """The parts that make and change exams, on one ledger."""

    registration: ImageRegistration
    notices: ModalityNotices
    exam_service: ExamService


def exam_parts(
    *,
    ledger: Ledger,
    message_factory: MessageFactory,
    rules: ExamRules,
    active: ActivePackage,
    clock_ms: Callable[[], int],
) -> ExamParts:
    """Ties them together: all three stand on the exam's revisions, none on its caller."""
    revisions = ExamRevisions(message_factory=message_factory, rules=rules, model=active.model)
    registration = ImageRegistration(
        ledger=ledger,
        message_factory=message_factory,
        rules=rules,
        active=active,
        revisions=revisions,
        clock_ms=clock_ms,
    )
    return ExamParts(
        registration=registration,
        notices=ModalityNotices(
            ledger=ledger,
            message_factory=message_factory,
            expected_views=rules.expected_views,
            revisions=revisions,
            clock_ms=clock_ms,
        ),
        exam_service=ExamService(
            ledger=ledger,
            message_factory=message_factory,
            rules=rules,
            model=active.model,
            registration=registration,
            revisions=revisions,
            clock_ms=clock_ms,
        ),
    )
