"""The unit's own word about its exams: what it will take, what it rejected, when it is done.

Each word is one ledger transaction, so that it holds after a power cut; each may come twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.exam_rules.exam_flag import Completion
from runtime.exam_rules.procedure_step import StepAnswer, StepState
from runtime.exam_rules.retakes import Rejection, retakes
from runtime.exam_rules.state_machine import image_rejected
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.exam_rules.exam_flag import ExamFlag
    from runtime.exam_rules.procedure_step import StepBegun, StepEnded
    from runtime.exam_rules.state_machine import Exam
    from runtime.ledger.ledger import Ledger
    from runtime.ledger.transaction import LedgerTransaction
    from runtime.publishing.message_factory import MessageFactory


class ModalityNotices:
    """Takes what a unit says. Thread-safe: the ledger serialises the transactions.

    Args:
        ledger: where it is kept.
        message_factory: how the site hears of it.
        expected_views: of the unit's settings; a word may narrow them, never widen them.
        close: ends an exam inside a transaction.
        publish: makes the exam's next revision inside a transaction; given the images whose own
            message is due again.
        clock_ms: milliseconds since the epoch.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        message_factory: MessageFactory,
        expected_views: Sequence[str],
        close: Callable[[LedgerTransaction, str, Completion], ExamFlag | None],
        publish: Callable[[LedgerTransaction, Exam, set[int], int], ExamFlag],
        clock_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._expected_views = tuple(expected_views)
        self._close = close
        self._publish = publish
        self._clock_ms = clock_ms

    # --- what will be taken ----------------------------------------------------------------------

    def narrow_views(self, study_uid: str, views: Sequence[str]) -> None:
        """Only these views will be taken (mastectomy, one-sided exam).

        Views that the unit's settings do not expect are passed over; where none is left the word
        is not taken: an exam of which nothing is expected would be `none` with nothing judged.
        """
        self._ledger.transact(lambda tx: self._narrow(tx, study_uid, views))

    def _narrow(self, tx: LedgerTransaction, study_uid: str, views: Sequence[str]) -> None:
        kept = [view for view in self._expected_views if view in views]
        if kept:
            tx.word.narrow_views(study_uid, kept, self._clock_ms())

    # --- what was rejected -----------------------------------------------------------------------

    def reject_image(
        self, study_uid: str, sop_uid: str, *, retake_uid: str | None = None, detail: str = ""
    ) -> bool:
        """The unit rejected an image: its retake supersedes it, whichever comes first.

        Until the retake is there the image can raise the exam's flag and no more lower it. Says a
        `repeat` event with `detail` (a reason, never an identity). False if it was known.
        """
        rejection = Rejection(sop_uid=sop_uid, retake_uid=retake_uid)
        return self._ledger.transact(lambda tx: self._reject(tx, study_uid, rejection, detail))

    def _reject(
        self, tx: LedgerTransaction, study_uid: str, rejection: Rejection, detail: str
    ) -> bool:
        now_ms = self._clock_ms()
        if not tx.word.reject(study_uid, rejection, now_ms):
            return False
        event = self._message_factory.event_message(
            EventKind.REPEAT, at_ms=now_ms, detail=detail, exam=study_uid, image=rejection.sop_uid
        )
        tx.enqueue(event, now_ms)
        superseded = self.supersede(tx, study_uid)
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
            self._publish(tx, exam, changed, now_ms)
        else:
            tx.save_exam(exam)
        return True

    @staticmethod
    def supersede(tx: LedgerTransaction, study_uid: str) -> set[int]:
        """Puts on record which images are superseded by now; those that are so newly."""
        rejections = tx.word.rejections(study_uid)
        if not rejections:
            return set()
        pairs = retakes(tx.exam_images(study_uid), rejections)
        for image_id, retake_id in pairs:
            tx.word.supersede(image_id, retake_id)
        return {image_id for image_id, _retake in pairs}

    # --- performed procedure steps ---------------------------------------------------------------

    def begin_step(self, step: StepBegun) -> StepAnswer:
        """A performed procedure step begins; it may narrow the expected views."""

        def work(tx: LedgerTransaction) -> StepAnswer:
            if tx.word.step(step.step_uid) is not None:
                return StepAnswer.DUPLICATE
            tx.word.add_step(step, self._clock_ms())
            if step.mammography:
                self._narrow(tx, step.study_instance_uid, step.views)
            return StepAnswer.TAKEN

        return self._ledger.transact(work)

    def end_step(self, end: StepEnded) -> StepAnswer:
        """A step ends: with the last one of an exam the exam is closed.

        Images that it lists and that have not come keep the exam open until they are here (or the
        idle time-out): MPPS travels faster than pixels.
        """

        def work(tx: LedgerTransaction) -> StepAnswer:
            step = tx.word.step(end.step_uid)
            if step is None:
                return StepAnswer.UNKNOWN
            if step.state is not StepState.IN_PROGRESS:
                return StepAnswer.ENDED
            tx.word.end_step(end.step_uid, end.state)
            if not step.mammography:
                return StepAnswer.TAKEN
            self._narrow(tx, step.study_uid, end.views)
            tx.word.await_images(step.study_uid, end.images, self._clock_ms())
            if not tx.word.steps_in_progress(step.study_uid):
                self._close(tx, step.study_uid, Completion.MPPS)
            return StepAnswer.TAKEN

        return self._ledger.transact(work)
