"""Reception: a complete file becomes a durable image; between every intake and the ledger."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.exam_desk import SpooledObject
from runtime.exam_identity import ExamIdentity
from runtime.header_reading import read_image_header
from runtime.image_header import HeaderRefusedError
from runtime.intake import OutOfRoomError, Receipt, Received, ReceptionRefusedError
from runtime.ledger import LedgerError
from runtime.messages import EventKind
from runtime.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.exam_desk import ExamDesk
    from runtime.exam_flag import Completion

LOG = logging.getLogger(__name__)

HASH_BLOCK_BYTES = 1 << 20
FSYNC_THREADS = 4


@dataclass(frozen=True, kw_only=True)
class RoomLimits:
    """When images are refused for want of room."""

    reserve_bytes: int
    max_waiting_images: int
    max_object_bytes: int


class Reception:
    """Implements `runtime.intake.Receiver`. Thread-safe: associations call it at once."""

    def __init__(
        self,
        *,
        folder: Path,
        limits: RoomLimits,
        desk: ExamDesk,
        waiting_images: Callable[[], int],
        arrived: Callable[[], None],
        anticipate: Callable[[str], None],
        event: Callable[[EventKind, str], None],
        reached: Callable[[str], None],
        identify: Callable[[Path], ExamIdentity] = lambda _path: ExamIdentity(),
    ) -> None:
        self._incoming = folder / "incoming"
        self._spool = folder / "spool"
        self._limits = limits
        self._desk = desk
        self._waiting_images = waiting_images
        self._arrived = arrived
        self._anticipate = anticipate
        self._event = event
        self._reached = reached
        self._identify = identify
        self._fsync = ThreadPoolExecutor(max_workers=FSYNC_THREADS, thread_name_prefix="fsync")
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
        if self._waiting_images() >= self._limits.max_waiting_images:
            raise OutOfRoomError("too many images wait for the worker")

    def report(self, event: str, detail: str, *, source: str) -> None:
        """Logs and publishes something that an operator should know."""
        LOG.warning("%s: %s: %s", source, event, detail)
        self._event(EventKind(event), f"{source}: {detail}")

    def close_exam(self, study_instance_uid: str, by: Completion) -> None:
        """The unit's own word that no more images of the exam will come."""
        self._desk.close_exam(study_instance_uid, by)

    def receive(self, path: Path, *, source: str, peer: str) -> Received:
        """Takes over a complete DICOM file below `incoming`; returns when it is durable."""
        try:
            return self._receive(path, source=source, peer=peer)
        except ReceptionRefusedError as error:
            LOG.warning("image refused: source=%s reason=%s", source, error.reason)
            self._event(EventKind.IMAGE_REFUSED, f"{source}: {error}")
            raise
        finally:
            path.unlink(missing_ok=True)

    def _receive(self, path: Path, *, source: str, peer: str) -> Received:
        size_bytes = path.stat().st_size
        self.check_room()
        try:
            header = read_image_header(path)
        except HeaderRefusedError as error:
            raise ReceptionRefusedError(error.reason, error.detail) from error
        if not header.mammography:
            raise ReceptionRefusedError(
                Reason.NOT_MAMMOGRAPHY, f"SOP class {header.sop_class_uid} is no mammogram"
            )
        spooled = self._spool / f"{uuid.uuid4().hex}.dcm"
        path.rename(spooled)
        self._anticipate(str(spooled))
        try:
            durable = self._fsync.submit(_make_durable, spooled)
            sha256 = _sha256(spooled)
            durable.result()
            self._reached("spooled")
            received = self._desk.receive(
                SpooledObject(
                    header=header,
                    sha256=sha256,
                    path=str(spooled),
                    size_bytes=size_bytes,
                    source=source,
                    peer=peer,
                    identity=self._identify(spooled),
                )
            )
        except (OSError, LedgerError) as error:
            spooled.unlink(missing_ok=True)
            raise OutOfRoomError(f"could not be made durable: {error}") from error
        self._reached("received")
        if received.receipt is Receipt.KNOWN:
            spooled.unlink(missing_ok=True)
        self._arrived()
        return received

    def remove(self, path: str) -> None:
        """Takes an object out of the spool, with the artefacts beside it."""
        for item in self._spool.glob(f"{Path(path).stem}.*"):
            item.unlink(missing_ok=True)

    def sweep(self, known_paths: set[str]) -> int:
        """At start: files that no row knows were never answered with success; how many went."""
        # Artefacts lie beside their object: NAME.dcm, NAME.evidence.npy.
        known = {Path(path).stem for path in known_paths}
        orphans = [item for item in self._spool.iterdir() if item.name.split(".")[0] not in known]
        orphans += list(self._incoming.iterdir())
        for orphan in orphans:
            with contextlib.suppress(IsADirectoryError):
                orphan.unlink(missing_ok=True)
        return len(orphans)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    block = bytearray(HASH_BLOCK_BYTES)
    view = memoryview(block)
    with path.open("rb", buffering=0) as stream:
        while size := stream.readinto(block):
            digest.update(view[:size])
    return digest.hexdigest()


def _make_durable(path: Path) -> None:
    """File content first, then the directory entry."""
    for place, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(place, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
