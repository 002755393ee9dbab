"""The spool: a complete file becomes a durable image; between every intake and the ledger."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runtime.dicom.arrived_file import ArrivedFile, read_arrived_file
from runtime.exams.intake_ports import ObjectRefusedError, OutOfRoomError, Receipt, Received
from runtime.exams.registration import SpooledObject
from runtime.image.header import HeaderRefusedError
from runtime.image.reasons import Reason
from runtime.ledger.ledger import LedgerError
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from io import BufferedReader

    from runtime.dicom.patient_identity import IdentityField
    from runtime.exams.event_reporter import EventReporter
    from runtime.exams.registration import ImageRegistration

LOG = logging.getLogger(__name__)

FSYNC_THREADS = 8
"""Two for each object that is being made durable."""


@dataclass(frozen=True, kw_only=True)
class SpoolLimits:
    """When images are refused for want of room."""

    reserve_bytes: int
    max_waiting_images: int
    max_object_bytes: int


class WorkerHints(Protocol):
    """Whoever works on what was spooled. Thread-safe."""

    def anticipate(self, path: str, sop_instance_uid: str) -> None:
        """An object is about to become known: who is idle may begin with it."""
        ...

    def wake(self) -> None:
        """A job may have been committed."""
        ...


class Spooler:
    """Implements `intake_ports.ObjectReceiver`. Thread-safe: associations call it at once.

    Args:
        folder: of the unit; `incoming` and `spool` lie in it.
        limits: when an image is refused.
        registration: where spooled objects become known.
        worker: told of what comes.
        events: told of what is refused.
        shown: what is read of a patient's identity.
    """

    def __init__(
        self,
        *,
        folder: Path,
        limits: SpoolLimits,
        registration: ImageRegistration,
        worker: WorkerHints,
        events: EventReporter,
        shown: Collection[IdentityField] = (),
    ) -> None:
        self._incoming = folder / "incoming"
        self._spool = folder / "spool"
        self._limits = limits
        self._registration = registration
        self._worker = worker
        self._events = events
        self._shown = shown
        self.backlog_is_full = False
        self._fsync = ThreadPoolExecutor(FSYNC_THREADS, thread_name_prefix="fsync")
        for place in (self._incoming, self._spool):
            place.mkdir(parents=True, exist_ok=True)

    @property
    def incoming(self) -> Path:
        """Folder for files that are still arriving; on the spool's file system."""
        return self._incoming

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
        self.backlog_is_full = self._registration.jobs_open >= self._limits.max_waiting_images
        if self.backlog_is_full:
            raise OutOfRoomError("too many images wait for the worker")

    def receive(
        self, path: Path, *, source: str, peer: str, sha256: Callable[[], str] | None = None
    ) -> Received:
        """Takes over a complete DICOM file below `incoming`; returns when it is durable."""
        try:
            return self._receive(path, source=source, peer=peer, sha256=sha256)
        except ObjectRefusedError as error:
            LOG.warning("image refused: source=%s reason=%s", source, error.reason)
            self._events.publish_refusal(EventKind.IMAGE_REFUSED, f"{source}: {error.reason}")
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
        received: Received | None = None
        try:
            with spooled.open("rb") as stream:
                arrived, digest = self._make_durable(stream, spooled, sha256)
            received = self._registration.receive(
                SpooledObject(
                    header=arrived.header,
                    identity=arrived.identity,
                    sha256=digest,
                    path=str(spooled),
                    size_bytes=size_bytes,
                    source=source,
                    peer=peer,
                )
            )
        except (OSError, LedgerError) as error:
            raise OutOfRoomError(f"could not be made durable: {error}") from error
        finally:
            if received is None:
                self.remove(str(spooled))
        if received.receipt is Receipt.KNOWN:
            self.remove(str(spooled))
        self._worker.wake()
        return received

    def _make_durable(
        self, stream: BufferedReader, spooled: Path, sha256: Callable[[], str] | None
    ) -> tuple[ArrivedFile, str]:
        """What the file says, and the hash of its data set; both read while the disk is busy."""
        # Content and directory entry at once: a journal commits both together, and without a
        # row a file that has only one of them is swept away at the next start.
        durable = [
            self._fsync.submit(os.fsync, stream.fileno()),
            self._fsync.submit(_fsync_folder, self._spool),
        ]
        try:
            arrived = self._read(stream)
            # No hint beside an intake that hashes on a core of its own: on two cores the sender
            # would wait for its answer a fifth longer, and the flag comes 10 ms sooner.
            if sha256 is None:
                self._worker.anticipate(str(spooled), arrived.header.sop_instance_uid)
                # Of the data set alone: what stands before it is the receiver's own (PS3.10 7.1).
                stream.seek(arrived.data_set_offset)
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            else:
                digest = sha256()
            for place in durable:
                place.result()
        finally:
            wait(durable)
        return arrived, digest

    def _read(self, stream: BufferedReader) -> ArrivedFile:
        """Raises ObjectRefusedError: it is no mammogram, or cannot be read."""
        try:
            arrived = read_arrived_file(stream, self._shown)
        except HeaderRefusedError as error:
            raise ObjectRefusedError(error.reason, error.detail) from error
        if not arrived.header.mammography:
            raise ObjectRefusedError(Reason.NOT_MAMMOGRAPHY, arrived.header.class_detail)
        return arrived

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
            self._events.publish(
                EventKind.FAULT, f"{len(orphans)} spooled files without a ledger: in lost+found"
            )
            orphans = []
        orphans += list(self._incoming.iterdir())
        for orphan in orphans:
            with contextlib.suppress(IsADirectoryError):
                orphan.unlink(missing_ok=True)
        return len(orphans)


def _fsync_folder(folder: Path) -> None:
    """The entries of a directory."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
