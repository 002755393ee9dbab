"""What the modality says about its exams: what it will take, what it rejected, when it is done.

Each notice is one ledger transaction, so that it holds after a power cut; each may come twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.exam_rules.exam_flag import Completion
from runtime.exam_rules.procedure_step import StepAnswer, StepState
from runtime.exam_rules.retakes import Rejection
from runtime.exam_rules.state_machine import image_rejected
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.exam_rules.exam_flag import ExamFlag
    from runtime.exam_rules.procedure_step import StepBegun, StepEnded
    from runtime.exams.exam_revision import ExamRevisions
    from runtime.ledger.ledger import Ledger
    from runtime.ledger.transaction import LedgerTransaction
    from runtime.publishing.message_factory import MessageFactory


class ModalityNotices:
    """Implements `intake_ports.NoticeReceiver`. Thread-safe: the ledger serialises.

    Args:
        ledger: where they are kept.
        message_factory: how the site hears of them.
        expected_views: of the unit's settings; a notice may narrow them, never widen them.
        revisions: makes the revisions that a notice brings.
        clock_ms: milliseconds since the epoch.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        message_factory: MessageFactory,
        expected_views: Sequence[str],
        revisions: ExamRevisions,
        clock_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._expected_views = tuple(expected_views)
        self._revisions = revisions
        self._clock_ms = clock_ms

    def close_exam(self, study_uid: str, by: Completion) -> ExamFlag | None:
        """No more images of the exam will come; final as soon as none waits for the worker.

        None if that is later, or if nothing of the exam has come yet (it is remembered).
        """
        return self._ledger.transact(self._close, study_uid, by)

    def _close(self, tx: LedgerTransaction, study_uid: str, by: Completion) -> ExamFlag | None:
        return self._revisions.close(tx, study_uid, by, self._clock_ms())

    # --- what will be taken ----------------------------------------------------------------------

    def narrow_views(self, study_uid: str, views: Sequence[str]) -> None:
        """Only these views will be taken (mastectomy, one-sided exam).

        Views that the unit's settings do not expect are passed over; where none is
        left the notice is not taken: an exam of which nothing is expected would be `none` with
        nothing judged.
        """
        self._ledger.transact(self._narrow, study_uid, views)

    def _narrow(self, tx: LedgerTransaction, study_uid: str, views: Sequence[str]) -> None:
        kept = [view for view in self._expected_views if view in views]
        if kept:
            tx.notices.narrow_views(study_uid, kept, self._clock_ms())

    # --- what was rejected -----------------------------------------------------------------------

    def reject_image(
        self, study_uid: str, sop_uid: str, *, retake_uid: str | None = None, detail: str = ""
    ) -> bool:
        """The unit rejected an image: its retake supersedes it, whichever comes first.

        Until the retake is there the image can raise the exam's flag and no more lower it. Says a
        `repeat` event with `detail` (a reason, never an identity). False if it was known.
        """
        rejection = Rejection(sop_uid=sop_uid, retake_uid=retake_uid)
        return self._ledger.transact(self._reject, study_uid, rejection, detail)

    def _reject(
        self, tx: LedgerTransaction, study_uid: str, rejection: Rejection, detail: str
    ) -> bool:
        now_ms = self._clock_ms()
        if not tx.notices.reject(study_uid, rejection, now_ms):
            return False
        event = self._message_factory.event_message(
            EventKind.REPEAT, at_ms=now_ms, detail=detail, exam=study_uid, image=rejection.sop_uid
        )
        tx.enqueue(event, now_ms)
        superseded = self._revisions.supersede(tx, study_uid)
        exam = tx.exam(study_uid)
        if exam is None:
            return True  # the note outran its image
        changed = {
            image.image_id
            for image in tx.exam_images(study_uid)
            if image.outcome is not None
            and (image.image_id in superseded or image.sop_instance_uid == rejection.sop_uid)
        }
        exam = image_rejected(exam, now_ms)
        if changed:
            self._revisions.publish(tx, exam, now_ms, changed=changed)
        else:
            tx.save_exam(exam)
        return True

    # --- performed procedure steps ---------------------------------------------------------------

    def begin_step(self, step: StepBegun) -> StepAnswer:
        """A performed procedure step begins; it may narrow the expected views."""
        return self._ledger.transact(self._begin_step, step)

    def _begin_step(self, tx: LedgerTransaction, step: StepBegun) -> StepAnswer:
        if tx.notices.step(step.step_uid) is not None:
            return StepAnswer.DUPLICATE
        tx.notices.add_step(step, self._clock_ms())
        if step.mammography:
            self._narrow(tx, step.study_instance_uid, step.views)
        return StepAnswer.TAKEN

    def end_step(self, end: StepEnded) -> StepAnswer:
        """A step ends: with the last one of an exam the exam is closed.

        Images that it lists and that have not come keep the exam open until they are here (or the
        idle time-out): MPPS travels faster than pixels.
        """
        return self._ledger.transact(self._end_step, end)

    def _end_step(self, tx: LedgerTransaction, end: StepEnded) -> StepAnswer:
        step = tx.notices.step(end.step_uid)
        if step is None:
            return StepAnswer.UNKNOWN
        if step.state is not StepState.IN_PROGRESS:
            return StepAnswer.ENDED
        tx.notices.end_step(end.step_uid, end.state)
        if not step.mammography:
            return StepAnswer.TAKEN
        self._narrow(tx, step.study_uid, end.views)
        tx.notices.await_images(step.study_uid, end.images, self._clock_ms())
        if not tx.notices.steps_in_progress(step.study_uid):
            self._close(tx, step.study_uid, Completion.MPPS)
        return StepAnswer.TAKEN
