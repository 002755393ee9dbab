"""Reception: a complete file becomes a durable image; between every intake and the ledger."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import threading
import time
import uuid
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.dicom.header_reader import read_image_header
from runtime.dicom.part10_reader import data_set_offset
from runtime.dicom.patient_identity import PatientIdentity
from runtime.exams.intake_ports import ObjectRefusedError, OutOfRoomError, Receipt, Received
from runtime.exams.registration import SpooledObject
from runtime.image.header import HeaderRefusedError
from runtime.image.reasons import Reason
from runtime.ledger.ledger import LedgerError
from runtime.messages.payloads import EventKind
from runtime.system.thread_pool import full_pool
from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.exam_rules.exam_flag import Completion
    from runtime.exam_rules.procedure_step import StepAnswer, StepBegun, StepEnded
    from runtime.exams.exam_service import ExamService
    from runtime.exams.modality_feed import ModalityFeed
    from runtime.image.header import ImageHeader

LOG = logging.getLogger(__name__)

HASH_BLOCK_BYTES = 1 << 20
FSYNC_THREADS = 8
"""Two for each object that is being made durable."""
COUNT_EVERY_S = 0.2
EVENTS_AT_ONCE = 20
EVENTS_PER_S = 0.2


@dataclass(frozen=True, kw_only=True)
class SpoolLimits:
    """When images are refused for want of room."""

    reserve_bytes: int
    max_waiting_images: int
    max_object_bytes: int


class Spooler:
    """Implements `intake_ports.Receiver`. Thread-safe: associations call it at once."""

    def __init__(
        self,
        *,
        folder: Path,
        limits: SpoolLimits,
        desk: ExamService,
        modality_feed: ModalityFeed,
        waiting_images: Callable[[], int],
        arrived: Callable[[], None],
        anticipate: Callable[[str], None],
        event: Callable[[EventKind, str], None],
        reached: Callable[[str], None],
        identify: Callable[[Path], PatientIdentity] = lambda _path: PatientIdentity(),
    ) -> None:
        self._incoming = folder / "incoming"
        self._spool = folder / "spool"
        self._limits = limits
        self._desk = desk
        self._modality_feed = modality_feed
        self._waiting_images = waiting_images
        self._arrived = arrived
        self._anticipate = anticipate
        self._event = event
        self._reached = reached
        # A sender that is refused again and again must not fill the outbox.
        self._events = TokenBucket(
            capacity=EVENTS_AT_ONCE, per_s=EVENTS_PER_S, monotonic=time.monotonic
        )
        self._events_lock = threading.Lock()
        self.backlog_is_full = False
        self._count_again_s = 0.0
        self._identify = identify
        self._fsync = full_pool(FSYNC_THREADS, "fsync")
        for place in (self._incoming, self._spool):
            place.mkdir(parents=True, exist_ok=True)

    @property
    def incoming(self) -> Path:
        """Folder for files that are still arriving; on the spool's file system."""
        return self._incoming

    @property
    def modality_feed(self) -> ModalityFeed:
        """Where the unit's firmware tells its events, and hears of its exams."""
        return self._modality_feed

    def close(self) -> None:
        """Waits for running fsyncs."""
        self._fsync.shutdown()

    def free_bytes(self) -> int:
        """What the disk has left above its reserve; negative if it is below."""
        return shutil.disk_usage(self._spool).free - self._limits.reserve_bytes

    def check_room(self, size_bytes: int = 0) -> None:
        """Raises OutOfRoomError if an object of that size must not be taken now."""
        if self.free_bytes() < size_bytes:
            raise OutOfRoomError("the disk is below its reserve")
        now_s = time.monotonic()
        if now_s >= self._count_again_s:
            # Asked every few megabytes of each object that arrives: not a transaction each time.
            self._count_again_s = now_s + COUNT_EVERY_S
            self.backlog_is_full = self._waiting_images() >= self._limits.max_waiting_images
        if self.backlog_is_full:
            raise OutOfRoomError("too many images wait for the worker")

    def report(self, event: str, detail: str, *, source: str) -> None:
        """Logs and publishes something that an operator should know."""
        LOG.warning("%s: %s: %s", source, event, detail)
        self._event(EventKind(event), f"{source}: {detail}")

    def close_exam(self, study_instance_uid: str, by: Completion) -> None:
        """The unit's own word that no more images of the exam will come."""
        self._desk.close_exam(study_instance_uid, by)

    def narrow_views(self, study_instance_uid: str, views: Sequence[str]) -> None:
        """The unit says that it will take only these views."""
        self._desk.word.narrow_views(study_instance_uid, views)

    def reject_image(
        self,
        study_instance_uid: str,
        sop_instance_uid: str,
        *,
        retake_uid: str | None = None,
        detail: str = "",
    ) -> bool:
        """The unit rejected an image; its retake supersedes it. False if that was known."""
        return self._desk.word.reject_image(
            study_instance_uid, sop_instance_uid, retake_uid=retake_uid, detail=detail
        )

    def begin_step(self, step: StepBegun) -> StepAnswer:
        """A performed procedure step begins."""
        return self._desk.word.begin_step(step)

    def end_step(self, end: StepEnded) -> StepAnswer:
        """A performed procedure step ends; the last one of an exam closes it."""
        return self._desk.word.end_step(end)

    def receive(
        self, path: Path, *, source: str, peer: str, sha256: Callable[[], str] | None = None
    ) -> Received:
        """Takes over a complete DICOM file below `incoming`; returns when it is durable."""
        try:
            return self._receive(path, source=source, peer=peer, sha256=sha256)
        except ObjectRefusedError as error:
            LOG.warning("image refused: source=%s reason=%s", source, error.reason)
            with self._events_lock:
                allowed = self._events.take()
            if allowed:
                self._event(EventKind.IMAGE_REFUSED, f"{source}: {error.reason}")
            raise
        finally:
            path.unlink(missing_ok=True)

    def _receive(
        self, path: Path, *, source: str, peer: str, sha256: Callable[[], str] | None
    ) -> Received:
        size_bytes = path.stat().st_size
        self.check_room()
        if size_bytes > self._limits.max_object_bytes:
            raise ObjectRefusedError(Reason.TOO_LARGE, f"{size_bytes} bytes")
        spooled = self._spool / f"{uuid.uuid4().hex}.dcm"
        path.rename(spooled)
        # Content and directory entry at once: a journal commits both together, and without a
        # row a file that has only one of them is swept away at the next start. What the image is
        # we read while the disk is busy.
        durable = [self._fsync.submit(_make_durable, place) for place in (spooled, self._spool)]
        received: Received | None = None
        try:
            header, offset = _described(spooled)
            # No hint for what may be a repeat: no work is lost on it, no poison tried again. And
            # none beside an intake that hashes on a core of its own: on two cores the sender
            # would wait for its answer a fifth longer, and the flag comes 10 ms sooner.
            if sha256 is None and not self._desk.knows(header.sop_instance_uid):
                self._anticipate(str(spooled))
            arrived = SpooledObject(
                header=header,
                identity=self._identify(spooled),
                sha256=_sha256(spooled, offset) if sha256 is None else sha256(),
                path=str(spooled),
                size_bytes=size_bytes,
                source=source,
                peer=peer,
            )
            for place in durable:
                place.result()
            self._reached("spooled")
            received = self._desk.receive(arrived)
        except (OSError, LedgerError) as error:
            raise OutOfRoomError(f"could not be made durable: {error}") from error
        finally:
            if received is None:
                wait(durable)
                self.remove(str(spooled))
        self._reached("received")
        if received.receipt is Receipt.KNOWN:
            self.remove(str(spooled))
        self._arrived()
        return received

    def remove(self, path: str) -> None:
        """Takes an object out of the spool, with the artefacts beside it."""
        for item in self._spool.glob(f"{Path(path).stem}.*"):
            item.unlink(missing_ok=True)

    def sweep(self, known_paths: set[str], *, ledger_is_new: bool) -> int:
        """At start: files that no row knows were never answered with success; how many went.

        Unless the ledger is new: then it was lost or taken away, and what lies in the spool may
        have been answered. That is set aside in `lost+found`, for a person to look at.
        """
        known = {Path(path).stem for path in known_paths}
        # Artefacts lie beside their object: NAME.dcm, NAME.evidence.npy.
        orphans = [item for item in self._spool.iterdir() if item.name.split(".")[0] not in known]
        if orphans and ledger_is_new:
            shelter = self._spool.with_name("lost+found")
            shelter.mkdir(exist_ok=True)
            for orphan in orphans:
                orphan.rename(shelter / orphan.name)
            LOG.error("the ledger is new, the spool is not: files=%d in lost+found", len(orphans))
            self._event(
                EventKind.FAULT, f"{len(orphans)} spooled files without a ledger: in lost+found"
            )
            orphans = []
        orphans += list(self._incoming.iterdir())
        for orphan in orphans:
            with contextlib.suppress(IsADirectoryError):
                orphan.unlink(missing_ok=True)
        return len(orphans)


def _described(path: Path) -> tuple[ImageHeader, int]:
    """The header of a mammogram, and where its data set begins.

    Raises:
        ObjectRefusedError: it is none, or cannot be read.
    """
    try:
        header = read_image_header(path)
        offset = data_set_offset(path)
    except HeaderRefusedError as error:
        raise ObjectRefusedError(error.reason, error.detail) from error
    if not header.mammography:
        raise ObjectRefusedError(Reason.NOT_MAMMOGRAPHY, "its SOP class is not one of a mammogram")
    return header, offset


def _sha256(path: Path, offset: int) -> str:
    """Of the data set alone: what stands before it is the receiver's own (PS3.10 7.1)."""
    digest = hashlib.sha256()
    block = bytearray(HASH_BLOCK_BYTES)
    view = memoryview(block)
    with path.open("rb", buffering=0) as stream:
        stream.seek(offset)
        while size := stream.readinto(block):
            digest.update(view[:size])
    return digest.hexdigest()


def _make_durable(place: Path) -> None:
    """A file's content, or a directory's entries."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
