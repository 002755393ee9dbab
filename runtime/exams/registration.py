"""An image arrives: is it one of its exam's, does it stand, which jobs does it make.

One transaction of the ledger for each image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.dicom.patient_identity import PatientIdentity
from runtime.exam_rules.job_planning import plan_jobs
from runtime.exam_rules.state_machine import Exam, image_received, role_of
from runtime.exams.intake_ports import FRAMES, Receipt, Received
from runtime.image.outcome import NotAssessed
from runtime.image.reasons import Reason
from runtime.ledger.object_table import NewObject
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.manifest import Manifest
    from runtime.exam_rules.exam_flag import Role
    from runtime.exam_rules.state_machine import ExamRules
    from runtime.exams.exam_revision import ExamRevisions
    from runtime.image.header import ImageHeader
    from runtime.image.outcome import JobOutcome, ModelRef, ViewOutcome
    from runtime.ledger.ledger import Ledger
    from runtime.ledger.transaction import LedgerTransaction
    from runtime.publishing.message_factory import MessageFactory

NOT_DECODED = {Reason.UNDECODABLE, Reason.UNREADABLE}


@dataclass(frozen=True, kw_only=True)
class ActivePackage:
    """The package that new jobs are made for."""

    manifest: Manifest
    model: ModelRef

    def accepts_intent(self, header: ImageHeader) -> bool:
        """Whether the image's presentation intent is one that the package was made for."""
        return header.intent is None or header.intent in self.manifest.accepts.presentation_intents


@dataclass(frozen=True, kw_only=True)
class SpooledObject:
    """A complete, durable file in the spool, before the ledger knows of it."""

    header: ImageHeader
    sha256: str
    path: str
    size_bytes: int
    source: str
    peer: str
    identity: PatientIdentity = field(default_factory=PatientIdentity)


class ImageRegistration:
    """Takes images into their exams.

    Args:
        ledger: where they are kept.
        message_factory: how the site hears of what is out of the ordinary.
        rules: of exams.
        active: the package that jobs are made for.
        revisions: makes the revisions that an image brings before it is judged.
        clock_ms: milliseconds since the epoch.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        message_factory: MessageFactory,
        rules: ExamRules,
        active: ActivePackage,
        revisions: ExamRevisions,
        clock_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._rules = rules
        self._active = active
        self._revisions = revisions
        self._clock_ms = clock_ms

    @property
    def jobs_open(self) -> int:
        """How many jobs wait for the worker; asks no transaction."""
        return self._ledger.jobs_open

    def role(self, header: ImageHeader) -> Role:
        """What an image of that header is to its exam."""
        return role_of(
            header,
            self._rules.expected_views,
            intent_accepted=self._active.accepts_intent(header),
            synthetic_accepted=self._active.manifest.accepts.synthetic_2d,
            image_types=self._active.manifest.accepts.image_types,
        )

    def receive(self, spooled: SpooledObject) -> Received:
        """Makes an object known: its row, its exam and its jobs, in one transaction.

        The same bytes again are the same image. Other bytes under a known SOP Instance UID are
        kept and raise an event; the first stands, unless it could not be decoded. A frame and the
        unit's own object of the same image are twins by design: no event. Beyond the exam's limit
        an image is kept and not judged.
        """
        return self._ledger.transact(self._receive, spooled)

    def _receive(self, tx: LedgerTransaction, spooled: SpooledObject) -> Received:
        now_ms = self._clock_ms()
        study_uid = spooled.header.study_instance_uid
        known = tx.objects_with_uid(spooled.header.sop_instance_uid)
        for image_id, sha256 in known:
            if sha256 == spooled.sha256:
                return Received(image_id=image_id, receipt=Receipt.KNOWN)
        standing = known[0][0] if known else None
        image_id = tx.add_object(self._row(spooled, now_ms), standing)
        if standing is None:
            if tx.arrivals.images_counted(study_uid) > self._rules.max_images:
                self._keep_beyond_limit(tx, image_id, study_uid, now_ms)
                return Received(image_id=image_id, receipt=Receipt.STORED)
        elif _not_decoded(_outcome_in(tx, study_uid, standing)):
            self._replace(tx, standing, image_id, spooled.header, now_ms)
        elif _twins(tx, standing, spooled):
            return Received(image_id=image_id, receipt=Receipt.TWIN)
        else:
            self._say_conflict(tx, spooled.header, "the first image stands", now_ms)
            return Received(image_id=image_id, receipt=Receipt.CONFLICT)
        exam_key = self._message_factory.exam_key(study_uid)
        tx.exam_history.identify(study_uid, exam_key, spooled.identity, now_ms)
        self._say_unknown_type(tx, spooled.header, now_ms)
        self._join(tx, image_id, study_uid, now_ms)
        return Received(image_id=image_id, receipt=Receipt.STORED)

    def replace_undecoded(
        self, tx: LedgerTransaction, study_uid: str, outcome: JobOutcome, now_ms: int
    ) -> None:
        """Images that could not be decoded, and of which other bytes have come meanwhile."""
        for image in outcome.images:
            if not _not_decoded(image.outcome):
                continue
            copy_id = next(iter(tx.arrivals.untried_copies(image.image_id, study_uid)), None)
            if copy_id is not None:
                header = tx.object(copy_id).header
                self._replace(tx, image.image_id, copy_id, header, now_ms)
                self._join(tx, copy_id, study_uid, now_ms)

    def _row(self, spooled: SpooledObject, now_ms: int) -> NewObject:
        return NewObject(
            header=spooled.header,
            sha256=spooled.sha256,
            path=spooled.path,
            size_bytes=spooled.size_bytes,
            role=self.role(spooled.header),
            source=spooled.source,
            peer=spooled.peer,
            received_at_ms=now_ms,
        )

    def _replace(
        self,
        tx: LedgerTransaction,
        standing: int,
        copy_id: int,
        header: ImageHeader,
        now_ms: int,
    ) -> None:
        """Both stay on record. Nothing is lost with the first: nobody could see it."""
        tx.arrivals.let_stand(copy_id, standing)
        what = "the first image could not be decoded, this one stands"
        self._say_conflict(tx, header, what, now_ms)

    def _join(self, tx: LedgerTransaction, image_id: int, study_uid: str, now_ms: int) -> None:
        """The image counts: its exam is open again, and the worker has something to do."""
        exam = tx.exam(study_uid) or Exam(study_instance_uid=study_uid)
        tx.save_exam(image_received(exam, now_ms))
        self._revisions.publish_superseded(tx, study_uid, now_ms)
        jobs = plan_jobs(
            self._active.manifest.scope,
            tx.object(image_id),
            tx.exam_objects(study_uid),
            tx.images_in_jobs(study_uid),
        )
        model = self._active.model
        for images in jobs:
            tx.add_job(study_uid, model.package_sha256, model.precision, images, now_ms)

    def _keep_beyond_limit(
        self, tx: LedgerTransaction, image_id: int, study_uid: str, now_ms: int
    ) -> None:
        """The image is kept and not judged; with the first of them the exam says so."""
        first = tx.arrivals.surplus(study_uid) == 0
        tx.arrivals.add_surplus(image_id, study_uid)
        exam = tx.exam(study_uid)
        if not first or exam is None:
            return
        event = self._message_factory.event_message(
            EventKind.TOO_MANY_IMAGES,
            at_ms=now_ms,
            detail=f"more than {self._rules.max_images} images: the others are kept, not judged",
            exam=study_uid,
        )
        tx.enqueue(event, now_ms)
        self._revisions.publish(tx, exam, now_ms)

    def _say_conflict(
        self, tx: LedgerTransaction, header: ImageHeader, which_stands: str, now_ms: int
    ) -> None:
        event = self._message_factory.event_message(
            EventKind.IMAGE_CONFLICT,
            at_ms=now_ms,
            detail=f"other bytes under a known SOP Instance UID; {which_stands}",
            exam=header.study_instance_uid,
            image=header.sop_instance_uid,
        )
        tx.enqueue(event, now_ms)

    def _say_unknown_type(self, tx: LedgerTransaction, header: ImageHeader, now_ms: int) -> None:
        """Once in an exam for each term: a unit that writes one writes it into each image."""
        known = self._active.manifest.accepts.image_types
        terms = header.unknown_terms(known)
        images = tx.exam_objects(header.study_instance_uid) if terms else []
        if not terms or any(terms == other.header.unknown_terms(known) for other in images[:-1]):
            return
        event = self._message_factory.event_message(
            EventKind.UNKNOWN_IMAGE_TYPE,
            at_ms=now_ms,
            detail=header.kind_detail,
            exam=header.study_instance_uid,
            image=header.sop_instance_uid,
            data={"terms": "\\".join(terms)},
        )
        tx.enqueue(event, now_ms)


def _outcome_in(tx: LedgerTransaction, study_uid: str, image_id: int) -> ViewOutcome | None:
    """The outcome of one of the exam's images; None for those of another exam."""
    images = tx.exam_images(study_uid)
    return next((image.outcome for image in images if image.image_id == image_id), None)


def _not_decoded(outcome: ViewOutcome | None) -> bool:
    return isinstance(outcome, NotAssessed) and not NOT_DECODED.isdisjoint(outcome.reasons)


def _twins(tx: LedgerTransaction, first: int, spooled: SpooledObject) -> bool:
    """Whether one of the two came as a frame and the other did not, in the same exam."""
    one_is_a_frame = (tx.source_of(first) == FRAMES) != (spooled.source == FRAMES)
    return one_is_a_frame and tx.object(first).study_uid == spooled.header.study_instance_uid
