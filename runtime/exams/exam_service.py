"""The judged life of an exam: outcomes are recorded, time passes, a new package takes over.

It joins the pure rules (state machine, triage rules, job planning) to the ledger and to what is
published. Nothing here decides; nothing here blocks on anything but the ledger.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from runtime.drift.descriptor_drift import descriptor_drift
from runtime.drift.score_drift import day_before, drift_figures
from runtime.exam_rules.state_machine import Exam, ExamRules, outcome_recorded, timeout_due_ms
from runtime.image.outcome import ImageOutcome, JobOutcome, NotAssessed, PixelComparison
from runtime.image.reasons import Reason
from runtime.ledger.transaction import LedgerTransaction
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.histogram import ScoreHistogram
    from runtime.drift.settings import DriftSettings
    from runtime.exam_rules.exam_flag import ExamFlag
    from runtime.exams.exam_revision import ExamRevisions
    from runtime.exams.registration import ImageRegistration
    from runtime.image.outcome import ModelRef
    from runtime.ledger.job_table import OpenJob
    from runtime.ledger.ledger import Ledger
    from runtime.publishing.message_factory import MessageFactory

LOG = logging.getLogger(__name__)

PACKAGE_NOTE = "active_package_sha256"
DRIFT_NOTE = "drift_published_for"
WORKER_DEATHS_ALLOWED = 1
"""An object that took a worker down twice is not tried a third time."""


class ExamService:
    """Each step is one transaction. Thread-safe: the ledger serialises them.

    Args:
        ledger: where exams are kept.
        message_factory: makes what is published besides revisions.
        rules: of exams.
        model: that jobs are done with.
        registration: takes up a copy of an image that could not be decoded.
        revisions: makes the revisions that an outcome or a time-out brings.
        clock_ms: milliseconds since the epoch.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        message_factory: MessageFactory,
        rules: ExamRules,
        model: ModelRef,
        registration: ImageRegistration,
        revisions: ExamRevisions,
        clock_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._rules = rules
        self._model = model
        self._registration = registration
        self._revisions = revisions
        self._clock_ms = clock_ms

    # --- jobs ------------------------------------------------------------------------------------

    def next_job(self) -> OpenJob | None:
        """The oldest job without an outcome."""
        return self._ledger.transact(LedgerTransaction.next_job)

    def knows(self, sop_instance_uid: str) -> bool:
        """Whether an object is stored under that SOP Instance UID."""
        return bool(self._ledger.transact(LedgerTransaction.objects_with_uid, sop_instance_uid))

    def record(self, outcome: JobOutcome) -> ExamFlag | None:
        """Writes a job's outcome, the new exam revision and its messages. Idempotent.

        None if the job was already done, or compared two files and judged nothing.
        """
        return self._ledger.transact(self._record, outcome)

    def _record(self, tx: LedgerTransaction, outcome: JobOutcome) -> ExamFlag | None:
        job = tx.open_job(outcome.job_id)
        if job is None:
            return None
        now_ms = self._clock_ms()
        tx.finish_job(outcome, now_ms)
        if outcome.comparison is not None:
            self._registration.take_comparison(tx, job.job, outcome.comparison, now_ms)
            return None
        for image in outcome.images:
            if image.header is not None:
                role = self._registration.role(image.header)
                tx.correct_header(image.image_id, image.header, role)
            self._say_if_lost(tx, job.study_uid, image, now_ms)
        self._registration.replace_undecoded(tx, job.study_uid, outcome, now_ms)
        exam = tx.exam(job.study_uid) or Exam(study_instance_uid=job.study_uid)
        judged = {image.image_id for image in outcome.images}
        judged |= self._revisions.supersede(tx, job.study_uid)
        return self._revisions.publish(
            tx, outcome_recorded(exam), now_ms, changed=judged, stage_ms=outcome.stage_ms
        )

    def _say_if_lost(
        self, tx: LedgerTransaction, study_uid: str, image: ImageOutcome, now_ms: int
    ) -> None:
        """The disk did not keep what was answered with success: that is nobody's daily business."""
        outcome = image.outcome
        if not isinstance(outcome, NotAssessed) or Reason.INTEGRITY_FAILED not in outcome.reasons:
            return
        LOG.error("image %d: %s", image.image_id, outcome.detail)
        event = self._message_factory.event_message(
            EventKind.INTEGRITY_FAILED,
            at_ms=now_ms,
            detail=f"{outcome.detail}; send the image again",
            exam=study_uid,
            image=tx.object(image.image_id).header.sop_instance_uid,
        )
        tx.enqueue(event, now_ms)

    def worker_died_of(self, job_id: int, reason: Reason) -> ExamFlag | None:
        """Counts a worker's death against a job; the second ends it not assessed, for `reason`."""
        deaths = self._ledger.transact(LedgerTransaction.worker_died_of, job_id)
        if deaths <= WORKER_DEATHS_ALLOWED:
            return None
        return self.fail_job(job_id, reason, f"{deaths} workers were lost over it")

    def fail_job(self, job_id: int, reason: Reason, detail: str) -> ExamFlag | None:
        """Ends a job without the worker: every image of it is not assessed, with the reason."""
        return self._ledger.transact(self._fail_job, job_id, reason, detail)

    def _fail_job(
        self, tx: LedgerTransaction, job_id: int, reason: Reason, detail: str
    ) -> ExamFlag | None:
        job = tx.open_job(job_id)
        if job is None:
            return None
        if job.job.is_comparison:
            different = PixelComparison(same_pixels=False)
            return self._record(tx, JobOutcome(job_id=job_id, comparison=different))
        outcome = NotAssessed(reasons=(reason,), detail=detail, model=self._model)
        images = tuple(
            ImageOutcome(image_id=image.image_id, outcome=outcome) for image in job.job.images
        )
        return self._record(tx, JobOutcome(job_id=job_id, images=images))

    def fail_jobs_older_than(self, age_ms: int, detail: str) -> None:
        """No worker can be started: without one, images end not assessed. Silence is no `none`."""
        latest_ms = self._clock_ms() - age_ms
        for job_id in self._ledger.transact(LedgerTransaction.jobs_waiting_since, latest_ms):
            self.fail_job(job_id, Reason.ENGINE_FAULT, detail)

    # --- time passes -----------------------------------------------------------------------------

    def next_timeout_ms(self) -> int | None:
        """When the next open exam times out (ms since the epoch); None if none is open."""
        oldest = self._ledger.transact(LedgerTransaction.oldest_collecting_ms)
        return None if oldest is None else oldest + self._rules.idle_timeout_ms

    def time_out_idle(self) -> int:
        """Finishes the exams for which nothing came for the idle time-out; how many."""
        now_ms = self._clock_ms()
        self._ledger.transact(LedgerTransaction.clamp_activity, now_ms)
        idle_since_ms = now_ms - self._rules.idle_timeout_ms
        studies = self._ledger.transact(LedgerTransaction.collecting_exams, idle_since_ms)
        for study_uid in studies:
            self._ledger.transact(self._time_out, study_uid)
        return len(studies)

    def _time_out(self, tx: LedgerTransaction, study_uid: str) -> None:
        now_ms = self._clock_ms()
        exam = tx.exam(study_uid)
        if exam is None:
            return
        due_ms = timeout_due_ms(exam, self._rules)
        # Or else an image came in between.
        if due_ms is not None and due_ms <= now_ms:
            self._revisions.time_out(tx, exam, now_ms)

    def publish_drift(self, reference: ScoreHistogram, settings: DriftSettings) -> bool:
        """Compares the last whole day (UTC) with the reference, once; whether it was due."""
        return self._ledger.transact(self._drift, reference, settings)

    def _drift(
        self, tx: LedgerTransaction, reference: ScoreHistogram, settings: DriftSettings
    ) -> bool:
        now_ms, model = self._clock_ms(), self._model
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
        now_ms, model = self._clock_ms(), self._model
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
