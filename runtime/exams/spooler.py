"""The spool: a complete file becomes a durable image; between every intake and the ledger."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import shutil
import time
import uuid
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runtime.dicom.arrived_file import ArrivedFile, read_arrived_file
from runtime.exams.intake_ports import (
    ObjectPassedOverError,
    ObjectRefusedError,
    OutOfRoomError,
    Receipt,
    Received,
)
from runtime.exams.registration import SpooledObject
from runtime.image.header import HeaderRefusedError, NoImageError
from runtime.image.outcome import EVIDENCE_SUFFIX, PREVIEW_SUFFIX
from runtime.image.reasons import Reason
from runtime.ledger.ledger import LedgerError
from runtime.ledger.opening import SET_ASIDE
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
REFUSAL_SAID_S = 30.0
RECOVERED = "recovered"
"""The `source` of an image whose file lay in the spool without a row."""
ARTEFACT_SUFFIXES = (EVIDENCE_SUFFIX, PREVIEW_SUFFIX)


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
        self._set_aside_folder = folder / SET_ASIDE
        self._limits = limits
        self._registration = registration
        self._worker = worker
        self._events = events
        self._shown = shown
        self._refused_at_s = -math.inf
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

    @property
    def refused_of_late(self) -> bool:
        """Whether an image was refused in the last half minute, the disk being too full for it."""
        return time.monotonic() - self._refused_at_s < REFUSAL_SAID_S

    @property
    def backlog_is_full(self) -> bool:
        """Whether too many images wait for the worker."""
        return self._registration.jobs_open >= self._limits.max_waiting_images

    def check_room(self, size_bytes: int = 0) -> None:
        """Raises OutOfRoomError if an object of that size must not be taken now."""
        fault = self._registration.ledger_fault
        if fault is not None:
            # What can be committed may still be unable to become a flag.
            raise OutOfRoomError(f"the ledger fails: {fault.detail}")
        if self.free_bytes() < size_bytes:
            self._refused_at_s = time.monotonic()
            raise OutOfRoomError("the disk is below its reserve")
        if self.backlog_is_full:
            raise OutOfRoomError("too many images wait for the worker")

    def receive(
        self, path: Path, *, source: str, peer: str, sha256: Callable[[], str] | None = None
    ) -> Received:
        """Takes over a complete DICOM file below `incoming`; returns when it is durable."""
        try:
            return self._receive(path, source=source, peer=peer, sha256=sha256)
        except ObjectPassedOverError as other:
            LOG.info("%s: %s", source, other.detail)
            raise
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
                    patient=arrived.patient,
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
        if received.instead_of:
            self.remove(received.instead_of)
        self._worker.wake()
        return received

    def _make_durable(
        self, stream: BufferedReader, spooled: Path, sha256: Callable[[], str] | None
    ) -> tuple[ArrivedFile, str]:
        """What the file says, and the hash of its data set; both read while the disk is busy."""
        # Content and directory entry at once: a journal commits both together, and a file that has
        # only one of them was not answered yet.
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
        except NoImageError as other:
            raise ObjectPassedOverError(other.name) from other
        except HeaderRefusedError as error:
            raise ObjectRefusedError(error.reason, error.detail) from error
        if not arrived.header.mammography:
            raise ObjectRefusedError(Reason.NOT_MAMMOGRAPHY, arrived.header.class_detail)
        return arrived

    def remove(self, path: str) -> None:
        """Takes an object out of the spool, with the artefacts beside it."""
        for item in self._spool.glob(f"{Path(path).stem}.*"):
            item.unlink(missing_ok=True)

    # --- at the start ----------------------------------------------------------------------------

    def unregistered(self, known_paths: set[str]) -> list[Path]:
        """Files of the spool that no row knows, oldest first: to be asked for before any intake is.

        What still lies in `incoming` was never answered with success, and is removed.
        """
        for half in self._incoming.iterdir():
            with contextlib.suppress(IsADirectoryError):
                half.unlink(missing_ok=True)
        known = {Path(path).stem for path in known_paths}
        # Artefacts lie beside their object: NAME.dcm, NAME.evidence.npy. A file system whose root
        # the spool is has a folder of its own there.
        found = [
            item
            for item in self._spool.iterdir()
            if item.name.split(".")[0] not in known and item.name != "lost+found"
        ]
        return sorted(found, key=lambda item: item.stat().st_mtime)

    def take_in_again(self, path: Path) -> bool:
        """Makes a file of the spool known that no row knew; False if it was set aside.

        It may have been answered with success: the ledger was put back, or lost its last rows. The
        file is the whole truth. What cannot be read goes to `set-aside`, for a person to look at.

        Raises:
            LedgerError: it cannot be made known now.
            OSError: it can neither be read nor set aside now.
        """
        if path.suffix != ".dcm" and not path.name.endswith(ARTEFACT_SUFFIXES):
            return self._set_aside(path)
        if not path.with_name(f"{path.name.split('.')[0]}.dcm").exists():
            path.unlink(missing_ok=True)  # an artefact of an image that is gone
            return True
        if path.suffix != ".dcm":
            return True  # an artefact: its image decides, and the worker writes it again
        try:
            with path.open("rb") as stream:
                arrived, digest = self._make_durable(stream, path, None)
        except (ObjectRefusedError, OSError) as error:
            reason = error.reason if isinstance(error, ObjectRefusedError) else error.strerror
            LOG.warning("set aside: %s: %s", path.name, reason)
            return self._set_aside(path)
        received = self._registration.receive(
            SpooledObject(
                header=arrived.header,
                identity=arrived.identity,
                patient=arrived.patient,
                sha256=digest,
                path=str(path),
                size_bytes=path.stat().st_size,
                source=RECOVERED,
                peer="",
            )
        )
        if received.receipt is Receipt.KNOWN:
            self.remove(str(path))
        self._worker.wake()
        return True

    @property
    def files_set_aside(self) -> bool:
        """Whether files wait in `set-aside` for a person to look at."""
        try:
            return any(self._set_aside_folder.iterdir())
        except OSError:
            return False  # none yet, or somebody took it away from us

    def _set_aside(self, path: Path) -> bool:
        self._set_aside_folder.mkdir(exist_ok=True)
        path.rename(self._set_aside_folder / path.name)
        return False


def _fsync_folder(folder: Path) -> None:
    """The entries of a directory."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
