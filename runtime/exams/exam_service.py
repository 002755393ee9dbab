"""The exam desk: every step of an exam's life as one ledger transaction.

It joins the pure rules (exam, judgement, job planning) to the ledger and to what is published.
Nothing here decides; nothing here blocks on anything but the ledger.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from runtime.drift.descriptor_drift import descriptor_drift
from runtime.drift.score_drift import day_before, drift_figures
from runtime.exam_rules.exam_flag import Completion, ExamFlag
from runtime.exam_rules.job_planning import CHECK_ONLY
from runtime.exam_rules.state_machine import (
    Exam,
    ExamRules,
    Phase,
    outcome_recorded,
    revise,
    timeout_due_ms,
)
from runtime.exams.modality_notices import ModalityNotices
from runtime.exams.registration import ActivePackage, ImageRegistration, SpooledObject
from runtime.image.outcome import ImageOutcome, JobOutcome, NotAssessed
from runtime.image.reasons import Reason
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from models.histogram import ScoreHistogram
    from runtime.drift.settings import DriftSettings
    from runtime.exam_rules.exam_flag import ExamImage
    from runtime.exams.intake_ports import Received
    from runtime.ledger.ledger import Ledger
    from runtime.ledger.transaction import LedgerTransaction
    from runtime.publishing.message_factory import MessageFactory

PACKAGE_NOTE = "active_package_sha256"
DRIFT_NOTE = "drift_published_for"
WORKER_DEATHS_ALLOWED = 1
"""An object that took a worker down twice is not tried a third time."""


class ExamService:
    """All changes to exams. Thread-safe: the ledger serialises the transactions."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        message_factory: MessageFactory,
        rules: ExamRules,
        active: ActivePackage,
        clock_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._rules = rules
        self._active = active
        self._clock_ms = clock_ms
        self.word = ModalityNotices(
            ledger=ledger,
            message_factory=message_factory,
            expected_views=rules.expected_views,
            close=self._close,
            publish=lambda tx, exam, changed, now_ms: self._publish(tx, exam, changed, {}, now_ms),
            clock_ms=clock_ms,
        )
        self._registration = ImageRegistration(
            message_factory=message_factory,
            rules=rules,
            active=active,
            superseded=self._say_superseded,
            publish=lambda tx, exam, now_ms: self._publish(tx, exam, (), {}, now_ms),
        )

    # --- images arrive ---------------------------------------------------------------------------

    def receive(self, spooled: SpooledObject) -> Received:
        """Makes an object known: its row, its exam and its job, in one transaction.

        The same bytes again are the same image. Other bytes under a known SOP Instance UID are
        kept and raise an event; the first stands, unless it could not be decoded. A frame and the
        unit's own object of the same image are twins by design: no event. Beyond the exam's limit
        an image is kept and not judged.
        """
        return self._ledger.transact(
            lambda tx: self._registration.receive(tx, spooled, self._clock_ms())
        )

    def knows(self, sop_instance_uid: str) -> bool:
        """Whether an object is stored under that SOP Instance UID."""
        return bool(self._ledger.transact(lambda tx: tx.objects_with_uid(sop_instance_uid)))

    # --- outcomes arrive -------------------------------------------------------------------------

    def record(self, outcome: JobOutcome) -> ExamFlag | None:
        """Writes a job's outcome, the new exam revision and its messages. Idempotent.

        None if the job was already done.
        """
        return self._ledger.transact(lambda tx: self._record(tx, outcome))

    def _record(self, tx: LedgerTransaction, outcome: JobOutcome) -> ExamFlag | None:
        job = tx.open_job(outcome.job_id)
        if job is None:
            return None
        now_ms = self._clock_ms()
        tx.finish_job(outcome, now_ms)
        for image in outcome.images:
            if image.header is not None:
                role = self._registration.role(image.header)
                tx.correct_header(image.image_id, image.header, role)
        self._registration.replace_undecoded(tx, job.study_uid, outcome, now_ms)
        exam = tx.exam(job.study_uid) or Exam(study_instance_uid=job.study_uid)
        judged = {image.image_id for image in outcome.images}
        judged |= self.word.supersede(tx, job.study_uid)
        return self._publish(tx, outcome_recorded(exam), judged, outcome.stage_ms, now_ms)

    def worker_died_of(self, job_id: int, reason: Reason) -> ExamFlag | None:
        """Counts a worker's death against a job; the second ends it not assessed, for `reason`."""
        deaths = self._ledger.transact(lambda tx: tx.worker_died_of(job_id))
        if deaths <= WORKER_DEATHS_ALLOWED:
            return None
        return self.fail_job(job_id, reason, f"{deaths} workers were lost over it")

    def fail_job(self, job_id: int, reason: Reason, detail: str) -> ExamFlag | None:
        """Ends a job without the worker: every image of it is not assessed, with the reason."""

        def work(tx: LedgerTransaction) -> ExamFlag | None:
            job = tx.open_job(job_id)
            if job is None:
                return None
            return self._record(
                tx,
                JobOutcome(
                    job_id=job_id,
                    images=tuple(
                        ImageOutcome(
                            image_id=image.image_id,
                            outcome=NotAssessed(
                                reasons=(reason,), detail=detail, model=self._active.model
                            ),
                        )
                        for image in job.job.images
                    ),
                ),
            )

        return self._ledger.transact(work)

    def _publish(
        self,
        tx: LedgerTransaction,
        exam: Exam,
        judged: Collection[int],
        stage_ms: Mapping[str, float],
        now_ms: int,
    ) -> ExamFlag:
        """The messages of the images `judged`, then the exam's next revision and its message."""
        study_uid = exam.study_instance_uid
        images = tx.exam_images(study_uid)
        self._say_views(tx, study_uid, images, judged, stage_ms=stage_ms, now_ms=now_ms)
        revised, flag = revise(exam, images, self._rules, now_ms)
        tx.save_exam(revised, flag)
        # The voice says it only where the site has switched that on.
        accession_number = tx.exam_history.accession_number(study_uid)
        message = self._message_factory.exam_message(
            flag, at_ms=now_ms, accession_number=accession_number
        )
        seq = tx.enqueue(message, now_ms)
        tx.exam_history.revised(flag, seq)
        return flag

    def _say_superseded(self, tx: LedgerTransaction, study_uid: str, now_ms: int) -> None:
        if superseded := self.word.supersede(tx, study_uid):
            self._say_views(tx, study_uid, tx.exam_images(study_uid), superseded, now_ms=now_ms)

    def _say_views(
        self,
        tx: LedgerTransaction,
        study_uid: str,
        images: Sequence[ExamImage],
        which: Collection[int],
        *,
        now_ms: int,
        stage_ms: Mapping[str, float] | None = None,
    ) -> None:
        """The messages of the images `which`, so far as they have an outcome."""
        for image in images:
            if image.image_id in which and image.outcome is not None:
                view = self._message_factory.view_message(
                    image,
                    study_instance_uid=study_uid,
                    at_ms=now_ms,
                    stage_ms=stage_ms or {},
                    among=images,
                )
                tx.enqueue(view, now_ms)

    # --- the unit's own word ---------------------------------------------------------------------

    def close_exam(self, study_uid: str, by: Completion) -> ExamFlag | None:
        """The unit says that the exam is over; final as soon as no image waits for the worker.

        None if that is later, or if nothing of the exam has come yet (it is remembered).
        """
        return self._ledger.transact(lambda tx: self._close(tx, study_uid, by))

    def _close(self, tx: LedgerTransaction, study_uid: str, by: Completion) -> ExamFlag | None:
        now_ms = self._clock_ms()
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
        return self._publish(tx, exam, settled, {}, now_ms)

    # --- time passes -----------------------------------------------------------------------------

    def next_timeout_ms(self) -> int | None:
        """When the next open exam times out (ms since the epoch); None if none is open."""
        oldest = self._ledger.transact(lambda tx: tx.oldest_collecting_ms())
        return None if oldest is None else oldest + self._rules.idle_timeout_ms

    def time_out_idle(self) -> int:
        """Finishes the exams for which nothing came for the idle time-out; how many."""
        now_ms = self._clock_ms()
        self._ledger.transact(lambda tx: tx.clamp_activity(now_ms))
        idle_since_ms = now_ms - self._rules.idle_timeout_ms
        studies = self._ledger.transact(lambda tx: tx.collecting_exams(idle_since_ms))
        for study_uid in studies:
            self._ledger.transact(partial(self._time_out, study_uid=study_uid))
        return len(studies)

    def _time_out(self, tx: LedgerTransaction, study_uid: str) -> None:
        now_ms = self._clock_ms()
        exam = tx.exam(study_uid)
        if exam is None:
            return
        due_ms = timeout_due_ms(exam, self._rules)
        if due_ms is None or due_ms > now_ms:
            return  # an image came in between
        exam = replace(exam, timed_out=True)
        tx.save_exam(exam)
        settled = self._settle_leftovers(tx, study_uid, now_ms)
        if all(image.outcome is not None for image in tx.exam_images(study_uid)):
            self._publish(tx, exam, settled, {}, now_ms)

    def _settle_leftovers(self, tx: LedgerTransaction, study_uid: str, now_ms: int) -> set[int]:
        """Images that wait for companions which did not come are not assessed, and say so."""
        in_jobs = tx.images_in_jobs(study_uid)
        model = self._active.model
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

    def publish_drift(self, reference: ScoreHistogram, settings: DriftSettings) -> bool:
        """Compares the last whole day (UTC) with the reference, once; whether it was due."""
        return self._ledger.transact(lambda tx: self._drift(tx, reference, settings))

    def _drift(
        self, tx: LedgerTransaction, reference: ScoreHistogram, settings: DriftSettings
    ) -> bool:
        now_ms, model = self._clock_ms(), self._active.model
        day = day_before(now_ms)
        if (tx.meta(DRIFT_NOTE) or "") >= day.name:
            return False
        tx.set_meta(DRIFT_NOTE, day.name)
        outcomes = tx.outcomes_between(model.package_sha256, day.start_ms, day.end_ms)
        flags = tx.flags_between(day.start_ms, day.end_ms)
        figures = drift_figures(outcomes, flags, reference)
        if not figures.images:
            return False
        publication = self._message_factory.drift_message(
            at_ms=now_ms,
            model=model,
            day=day.name,
            images=figures.images,
            exams=figures.exams,
            histogram=figures.histogram,
            psi=figures.psi,
            priority_rate=figures.priority_rate,
            not_assessed_rate=figures.not_assessed_rate,
            descriptors=descriptor_drift(
                tx, reference.descriptors, settings, day.start_ms, day.end_ms
            ),
        )
        tx.enqueue(publication, now_ms)
        return True

    # --- start -----------------------------------------------------------------------------------

    def adopt_open_work(self) -> int:
        """After a start: open jobs are done with the active package; how many are open.

        A package that is not the one of the last start is said as an event.
        """
        return self._ledger.transact(self._adopt)

    def _adopt(self, tx: LedgerTransaction) -> int:
        now_ms, model = self._clock_ms(), self._active.model
        tx.enqueue(
            self._message_factory.event_message(EventKind.SERVICE_STARTED, at_ms=now_ms), now_ms
        )
        before = tx.meta(PACKAGE_NOTE)
        if before != model.package_sha256:
            tx.set_meta(PACKAGE_NOTE, model.package_sha256)
            if before is not None:
                event = self._message_factory.event_message(
                    EventKind.MODEL_CHANGED,
                    at_ms=now_ms,
                    detail=f"{model.name}-{model.version}",
                    data={"package_sha256": model.package_sha256, "before": before},
                )
                tx.enqueue(event, now_ms)
        tx.repin_jobs(model.package_sha256, model.precision)
        return tx.jobs_open()
