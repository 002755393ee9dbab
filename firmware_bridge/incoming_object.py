"""One object on its way from a socket to the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from typing import TYPE_CHECKING

from firmware_bridge.association_limits import AssociationLimits, LimitExceededError
from firmware_bridge.store_status import Refusal, StoreStatus
from firmware_bridge.write_back import WRITE_BACK_BYTES, start_write_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PREFIX = "dicom-"
SUFFIX = ".part"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class IncomingObject:
    """A file that grows in `folder` while its object arrives.

    An object that is refused from the start (`refusal` set) or for which the disk fills up keeps
    no byte: the rest is read from the socket and dropped, because DICOM has an answer for a
    complete request only (PS3.7 9.1.1).

    Args:
        folder: where the file grows; on the file system of the spool.
        limits: of the association.
        started_s: the monotonic clock now.
        refusal: why the object will not be taken, if that is known already.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: AssociationLimits,
        started_s: float,
        refusal: Refusal | None = None,
    ) -> None:
        self.path = folder / f"{PREFIX}{uuid.uuid4().hex}{SUFFIX}"
        self.refusal = refusal
        self.size_bytes = 0
        self.data_set_offset = 0
        self._limits = limits
        self._deadline_s = started_s + limits.object_timeout_s
        self._written_back = 0
        self._descriptor: int | None = None
        if refusal is None:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            self._guarded(lambda: self._open(flags))

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
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def discard(self) -> None:
        """Closes and removes the file, if it is still where it was."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _open(self, flags: int) -> None:
        self._descriptor = os.open(self.path, flags, 0o600)

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

    def _guarded(self, action: Callable[[], None]) -> None:
        """A disk that is full refuses the object; any other fault of the disk is raised."""
        try:
            action()
        except OSError as fault:
            if fault.errno not in _NO_ROOM:
                raise
            self.discard()
            self.refusal = Refusal(status=StoreStatus.OUT_OF_RESOURCES, comment="disk full")


def remove_leftovers(folder: Path) -> int:
    """Removes files that an earlier process left behind half received; how many they were."""
    removed = 0
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            removed += 1
    return removed
