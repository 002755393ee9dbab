"""One object on its way from a socket to the disk."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import uuid
from typing import TYPE_CHECKING

from firmware_bridge.dicom_network.association_limits import AssociationLimits, LimitExceededError
from firmware_bridge.dicom_network.store_status import StoreRefusal, StoreStatus
from runtime.system.kernel_hints import WRITE_BACK_BYTES, start_write_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOGGER = logging.getLogger(__name__)
PREFIX = "dicom-"
SUFFIX = ".part"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class IncomingObject:
    """A file that grows in `folder` while its object arrives.

    An object for which there is no room, from the start or while it arrives, or which the disk does
    not take, keeps no byte: the rest is read from the socket and dropped, because DICOM has an
    answer for a complete request only (PS3.7 9.1.1). `refusal` is that answer.

    Args:
        folder: where the file grows; on the file system of the spool.
        limits: of the association.
        started_s: the monotonic clock now.
        room: why an object that is about to grow by so many bytes must not; None if it may. Asked
            at the beginning and every `WRITE_BACK_BYTES`: the size of an object is not known
            before its end, and others arrive at the same time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: AssociationLimits,
        started_s: float,
        room: Callable[[int], StoreRefusal | None],
    ) -> None:
        self.path = folder / f"{PREFIX}{uuid.uuid4().hex}{SUFFIX}"
        self.refusal = room(0)
        self.size_bytes = 0
        self.data_set_offset = 0
        self._limits = limits
        self._room = room
        self._deadline_s = started_s + limits.object_timeout_s
        self._written_back = 0
        self._descriptor: int | None = None
        if self.refusal is None:
            self._guarded(self._open)

    @property
    def name(self) -> str:
        """The path as pynetdicom's storage service wants it, to unlink what is left of it."""
        return os.fspath(self.path)

    def begin(self, file_meta: bytes) -> None:
        """Writes preamble, prefix and file meta information (PS3.10 7.1) before the data set."""
        if self._descriptor is not None:
            self._guarded(lambda: self._write(file_meta))
        self.data_set_offset = len(file_meta)

    def append(self, fragment: memoryview | bytes, *, now_s: float) -> None:
        """Writes the next bytes.

        Raises:
            LimitExceededError: the object grew too large or took too long.
        """
        self.size_bytes += len(fragment)
        if self.size_bytes > self._limits.max_object_bytes:
            raise LimitExceededError("object too large")
        if now_s > self._deadline_s:
            raise LimitExceededError("object too slow")
        if self._descriptor is not None:
            self._guarded(lambda: self._write(fragment))

    def close(self) -> None:
        """Closes the file; its bytes are in the kernel's hands, not yet durable."""
        self._guarded(self._close)

    def discard(self) -> None:
        """Closes and removes the file, if it is still where it was."""
        # A disk that does not even do this is told of by what failed before; what stays is removed
        # at the next start.
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _open(self) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _write(self, fragment: memoryview | bytes) -> None:
        if self._descriptor is None:
            return
        view = memoryview(fragment)
        while view:
            view = view[os.write(self._descriptor, view) :]
        unwritten = self.size_bytes - self._written_back
        if unwritten >= WRITE_BACK_BYTES:
            start_write_back(self._descriptor, self._written_back, unwritten)
            self._written_back = self.size_bytes
            self._refuse(self._room(WRITE_BACK_BYTES))

    def _guarded(self, action: Callable[[], None]) -> None:
        """A disk that does not take the object refuses it: it is no fault of the peer."""
        try:
            action()
        except OSError as fault:
            full = fault.errno in _NO_ROOM
            LOGGER.warning("an arriving object cannot be written: %s", fault.strerror)
            comment = "disk full" if full else "disk fault"
            self._refuse(StoreRefusal(status=StoreStatus.OUT_OF_RESOURCES, comment=comment))

    def _refuse(self, refusal: StoreRefusal | None) -> None:
        if refusal is not None:
            self.discard()
            self.refusal = refusal


def remove_leftovers(folder: Path) -> int:
    """Removes files that an earlier process left behind half received; how many they were."""
    removed = 0
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            removed += 1
    return removed
