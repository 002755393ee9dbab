"""An exam's next revision, and the messages that it brings.

Registration, the modality's notices and the exam service all end here. Every step is inside a
transaction of the ledger that the caller began.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.exam_rules.exam_flag import Completion
from runtime.exam_rules.job_planning import CHECK_ONLY
from runtime.exam_rules.retakes import retakes
from runtime.exam_rules.state_machine import Exam, Phase, revise
from runtime.image.outcome import ImageOutcome, JobOutcome, NotAssessed
from runtime.image.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from runtime.exam_rules.exam_flag import ExamFlag, ExamImage
    from runtime.exam_rules.state_machine import ExamRules
    from runtime.image.outcome import ModelRef
    from runtime.ledger.transaction import LedgerTransaction
    from runtime.publishing.message_factory import MessageFactory


class ExamRevisions:
    """Makes them. `now_ms`: milliseconds since the epoch, UTC.

    Args:
        message_factory: makes the messages.
        rules: of exams.
        model: of which images that are settled without the worker are not assessed.
    """

    def __init__(
        self, *, message_factory: MessageFactory, rules: ExamRules, model: ModelRef
    ) -> None:
        self._message_factory = message_factory
        self._rules = rules
        self._model = model

    def publish(
        self,
        tx: LedgerTransaction,
        exam: Exam,
        now_ms: int,
        *,
        changed: Collection[int] = (),
        stage_ms: Mapping[str, float] | None = None,
    ) -> ExamFlag:
        """The messages of the images `changed`, then the exam's next revision and its message.

        Args:
            tx: to write in.
            exam: as it stands, not saved yet.
            now_ms: when.
            changed: images whose own message is due.
            stage_ms: how long the worker took over them, by stage.
        """
        study_uid = exam.study_instance_uid
        images = tx.exam_images(study_uid)
        self._publish_views(tx, study_uid, images, changed, now_ms=now_ms, stage_ms=stage_ms or {})
        revised, flag = revise(exam, images, self._rules, now_ms)
        tx.save_exam(revised, flag)
        # The message has it only where the site has switched that on.
        accession_number = tx.exam_history.accession_number(study_uid)
        message = self._message_factory.exam_message(
            flag, at_ms=now_ms, accession_number=accession_number
        )
        seq = tx.enqueue(message, now_ms)
        tx.exam_history.revised(flag, seq)
        return flag

    def publish_superseded(self, tx: LedgerTransaction, study_uid: str, now_ms: int) -> None:
        """Puts on record which images are superseded by now, and publishes their messages."""
        if superseded := self.supersede(tx, study_uid):
            images = tx.exam_images(study_uid)
            self._publish_views(tx, study_uid, images, superseded, now_ms=now_ms, stage_ms={})

    @staticmethod
    def supersede(tx: LedgerTransaction, study_uid: str) -> set[int]:
        """Puts on record which images are superseded by now; those that are so newly."""
        rejections = tx.notices.rejections(study_uid)
        if not rejections:
            return set()
        pairs = retakes(tx.exam_images(study_uid), rejections)
        for image_id, retake_id in pairs:
            tx.notices.supersede(image_id, retake_id)
        return {image_id for image_id, _retake in pairs}

    def _publish_views(
        self,
        tx: LedgerTransaction,
        study_uid: str,
        images: Sequence[ExamImage],
        which: Collection[int],
        *,
        now_ms: int,
        stage_ms: Mapping[str, float],
    ) -> None:
        """The messages of the images `which`, so far as they have an outcome."""
        for image in images:
            if image.image_id in which and image.outcome is not None:
                view = self._message_factory.view_message(
                    image,
                    study_instance_uid=study_uid,
                    at_ms=now_ms,
                    stage_ms=stage_ms,
                    among=images,
                )
                tx.enqueue(view, now_ms)

    # --- ends ------------------------------------------------------------------------------------

    def close(
        self, tx: LedgerTransaction, study_uid: str, by: Completion, now_ms: int
    ) -> ExamFlag | None:
        """No more images will come: final as soon as none waits for the worker; None till then.

        Images that the modality announced are waited for, unless it says that the exam is over.
        """
        exam = tx.exam(study_uid) or Exam(study_instance_uid=study_uid, last_activity_ms=now_ms)
        if exam.closed_by in (by, Completion.EXAM_CLOSED):
            return None
        was_final = exam.phase is Phase.FINAL
        exam = replace(exam, closed_by=by)
        tx.save_exam(exam)
        if exam.images_missing and by is not Completion.EXAM_CLOSED:
            return None
        settled = self._settle_leftovers(tx, study_uid, now_ms)
        images = tx.exam_images(study_uid)
        if was_final or not images or any(image.outcome is None for image in images):
            return None
        return self.publish(tx, exam, now_ms, changed=settled)

    def time_out(self, tx: LedgerTransaction, exam: Exam, now_ms: int) -> None:
        """Nothing came for the idle time-out: final as soon as no image waits for the worker."""
        study_uid = exam.study_instance_uid
        exam = replace(exam, timed_out=True)
        tx.save_exam(exam)
        settled = self._settle_leftovers(tx, study_uid, now_ms)
        if all(image.outcome is not None for image in tx.exam_images(study_uid)):
            self.publish(tx, exam, now_ms, changed=settled)

    def _settle_leftovers(self, tx: LedgerTransaction, study_uid: str, now_ms: int) -> set[int]:
        """Images that wait for companions which did not come are not assessed, and say so."""
        in_jobs = tx.images_in_jobs(study_uid)
        model = self._model
        settled = set()
        for image in tx.exam_images(study_uid):
            if image.outcome is not None or image.image_id in in_jobs:
                continue
            job_id = tx.add_job(
                study_uid,
                model.package_sha256,
                model.precision,
                [(image.image_id, CHECK_ONLY)],
                now_ms,
            )
            outcome = NotAssessed(reasons=(Reason.COMPANION_MISSING,), model=model)
            image_outcome = ImageOutcome(image_id=image.image_id, outcome=outcome)
            tx.finish_job(JobOutcome(job_id=job_id, images=(image_outcome,)), now_ms)
            settled.add(image.image_id)
        return settled
