"""An image arrives: is it one of its exam's, does it stand, which jobs does it make.

One transaction of the ledger for each image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.dicom.patient_identity import PatientFacts, PatientIdentity
from runtime.exam_rules.job_planning import plan_jobs
from runtime.exam_rules.state_machine import Exam, image_received, role_of
from runtime.exams.intake_ports import FRAMES, Receipt, Received
from runtime.image.outcome import COMPARE, NotAssessed
from runtime.image.reasons import Reason
from runtime.ledger.object_table import NewObject
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.manifest import Manifest
    from runtime.exam_rules.exam_flag import Role
    from runtime.exam_rules.state_machine import ExamRules
    from runtime.exam_rules.stored_object import StoredObject
    from runtime.exams.exam_revision import ExamRevisions
    from runtime.image.header import ImageHeader
    from runtime.image.outcome import Job, JobOutcome, ModelRef, PixelComparison, ViewOutcome
    from runtime.ledger.ledger import Ledger, LedgerError
    from runtime.ledger.transaction import LedgerTransaction
    from runtime.publishing.message_factory import MessageFactory

NOT_DECODED = {Reason.UNDECODABLE, Reason.UNREADABLE, Reason.INTEGRITY_FAILED}
FOR_WANT_OF_A_FILE = {*NOT_DECODED, Reason.PROCESSING_FAILED}
"""What a file that is gone, cut or cut while it is read can end in."""


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
    patient: PatientFacts = field(default_factory=PatientFacts)


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

    @property
    def ledger_fault(self) -> LedgerError | None:
        """Why the ledger cannot be relied on now; None if it can. Asks no transaction."""
        return self._ledger.fault

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

        The same bytes again are the same image, and stand in for a spooled file that was lost
        before it was judged. Other bytes under a known SOP Instance UID are kept, and compared
        after decoding; the first stands, unless it could not be decoded. A frame and the unit's
        own object of the same image are twins by design: no event. Beyond the exam's limit an
        image is kept and not judged. An exam whose images say that they are of two patients has
        no flag.
        """
        return self._ledger.transact(self._receive, spooled)

    def _receive(self, tx: LedgerTransaction, spooled: SpooledObject) -> Received:
        now_ms = self._clock_ms()
        study_uid = spooled.header.study_instance_uid
        were_two = tx.patients.are_two(study_uid)
        received = self._take(tx, spooled, now_ms)
        self._say_patients(tx, spooled.header, now_ms, were_two=were_two)
        return received

    def _take(self, tx: LedgerTransaction, spooled: SpooledObject, now_ms: int) -> Received:
        study_uid = spooled.header.study_instance_uid
        known = tx.objects_with_uid(spooled.header.sop_instance_uid)
        for image_id, sha256 in known:
            if sha256 == spooled.sha256:
                return self._receive_again(tx, image_id, spooled, now_ms)
        standing = known[0][0] if known else None
        image_id = tx.add_object(self._row(spooled, now_ms), standing)
        self._add_patient(tx, image_id, spooled)
        if standing is None:
            if tx.arrivals.images_counted(study_uid) > self._rules.max_images:
                self._keep_beyond_limit(tx, image_id, study_uid, now_ms)
                return Received(image_id=image_id, receipt=Receipt.STORED)
        elif _not_decoded(_outcome_in(tx, study_uid, standing)):
            self._replace(tx, standing, image_id, spooled.header, now_ms)
        elif _twins(tx, standing, spooled):
            tx.patients.take_word(image_id)
            return Received(image_id=image_id, receipt=Receipt.TWIN)
        else:
            self._compare(tx, standing, image_id, now_ms)
            return Received(image_id=image_id, receipt=Receipt.CONFLICT)
        exam_key = self._message_factory.exam_key(study_uid)
        tx.exam_history.identify(study_uid, exam_key, spooled.identity, now_ms)
        self._say_unknown_type(tx, spooled.header, now_ms)
        self._join(tx, image_id, study_uid, now_ms)
        return Received(image_id=image_id, receipt=Receipt.STORED)

    def _receive_again(
        self, tx: LedgerTransaction, image_id: int, spooled: SpooledObject, now_ms: int
    ) -> Received:
        """The same bytes: known, unless their own file was lost before they were judged."""
        stored = tx.object(image_id)
        counts = {image.image_id: image for image in tx.exam_images(stored.study_uid)}
        image = counts.get(image_id)
        self._add_patient(tx, image_id, spooled)
        if image is not None or tx.patients.has_word(image_id):
            self._take_corrected(tx, image_id, stored.study_uid)
        if image is None or not _file_is_missed(stored, image.outcome):
            return Received(image_id=image_id, receipt=Receipt.KNOWN)
        tx.put_file(image_id, spooled.path)
        self._join(tx, image_id, stored.study_uid, now_ms)
        return Received(image_id=image_id, receipt=Receipt.STORED, instead_of=stored.path)

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

    def _compare(self, tx: LedgerTransaction, first_id: int, copy_id: int, now_ms: int) -> None:
        """The worker compares the two, after the sender was answered."""
        first, copy = tx.object(first_id), tx.object(copy_id)
        outcome = _outcome_in(tx, copy.study_uid, first_id)
        poison = isinstance(outcome, NotAssessed) and Reason.PROCESSING_FAILED in outcome.reasons
        if first.study_uid != copy.study_uid or not first.path or poison:
            self._say_conflict(tx, copy.header, "the first image stands", now_ms)
            return
        model = self._active.model
        images = [(first_id, COMPARE), (copy_id, COMPARE)]
        tx.add_job(copy.study_uid, model.package_sha256, model.precision, images, now_ms)

    def take_comparison(
        self, tx: LedgerTransaction, job: Job, found: PixelComparison, now_ms: int
    ) -> None:
        """What other bytes under a known UID turned out to be: a conflict, or the same image."""
        first_id, copy_id = (image.image_id for image in job.images)
        copy = tx.object(copy_id)
        if copy.conflicts_with is None:
            return  # the first could not be decoded: this one stands by now
        if copy.conflicts_with != first_id:
            self._compare(tx, copy.conflicts_with, copy_id, now_ms)
        elif found.same_pixels:
            self._take_header(tx, first_id, copy, found.changed, now_ms)
        else:
            self._say_conflict(tx, copy.header, "the first image stands", now_ms)

    def _take_header(
        self,
        tx: LedgerTransaction,
        first_id: int,
        copy: StoredObject,
        changed: Sequence[str],
        now_ms: int,
    ) -> None:
        """The same pixels: the newer header is the unit's last word about its image.

        Where a judgement would rest on what has changed, the image is judged again under it.
        """
        were_two = tx.patients.are_two(copy.study_uid)
        self._take_corrected(tx, copy.image_id, copy.study_uid)
        what = "what a judgement rests on is the same"
        if changed:
            what = f"judged again, changed: {', '.join(changed)}"
            tx.arrivals.let_stand(copy.image_id, first_id)
            self._join(tx, copy.image_id, copy.study_uid, now_ms)
        event = self._message_factory.event_message(
            EventKind.HEADER_CHANGED,
            at_ms=now_ms,
            detail=f"the same pixels under another header or encoding; {what}",
            exam=copy.study_uid,
            image=copy.header.sop_instance_uid,
        )
        tx.enqueue(event, now_ms)
        self._say_patients(tx, copy.header, now_ms, were_two=were_two)

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
        tx.patients.take_word(image_id)
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

    def _add_patient(self, tx: LedgerTransaction, image_id: int, spooled: SpooledObject) -> None:
        keys = self._message_factory.patient_keys(spooled.patient)
        tx.patients.add(image_id, spooled.header.study_instance_uid, keys, spooled.identity)

    @staticmethod
    def _take_corrected(tx: LedgerTransaction, image_id: int, study_uid: str) -> None:
        """The newest word about an image that is known: whose it is, and what is shown of that."""
        tx.patients.take_word(image_id)
        tx.exam_history.correct_identity(study_uid, tx.patients.identity(image_id))

    def _say_patients(
        self, tx: LedgerTransaction, header: ImageHeader, now_ms: int, *, were_two: bool
    ) -> None:
        """Where an image mixed two patients in its exam, or ended that: a revision says so."""
        exam = tx.exam(header.study_instance_uid)
        if exam is None or exam.two_patients == were_two:
            return
        if exam.two_patients:
            event = self._message_factory.event_message(
                EventKind.IDENTITY_CONFLICT,
                at_ms=now_ms,
                detail="its images are of different patients, by their own word",
                exam=header.study_instance_uid,
                image=header.sop_instance_uid,
            )
            tx.enqueue(event, now_ms)
        self._revisions.publish(tx, exam, now_ms)

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
            detail=f"other pixels under a known SOP Instance UID; {which_stands}",
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


def _file_is_missed(stored: StoredObject, outcome: ViewOutcome | None) -> bool:
    """Whether the image waits, or waits in vain, for a file that is not there or not whole."""
    if isinstance(outcome, NotAssessed):
        if Reason.INTEGRITY_FAILED in outcome.reasons:
            return True
        if FOR_WANT_OF_A_FILE.isdisjoint(outcome.reasons):
            return False
    elif outcome is not None:
        return False
    try:
        return Path(stored.path).stat().st_size != stored.size_bytes
    except FileNotFoundError:
        return True


def _not_decoded(outcome: ViewOutcome | None) -> bool:
    return isinstance(outcome, NotAssessed) and not NOT_DECODED.isdisjoint(outcome.reasons)


def _twins(tx: LedgerTransaction, first: int, spooled: SpooledObject) -> bool:
    """Whether one of the two came as a frame and the other did not, in the same exam."""
    one_is_a_frame = (tx.source_of(first) == FRAMES) != (spooled.source == FRAMES)
    return one_is_a_frame and tx.object(first).study_uid == spooled.header.study_instance_uid
