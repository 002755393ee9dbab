"""One file in a watched folder: is it complete, is it fit, and a copy of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from models.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PREFIX, SUFFIX = "folder-", ".part"
COPY_BYTES = 1 << 20
ROOM_CHECK_BYTES = 4 * COPY_BYTES
PREAMBLE_BYTES, PREFIX_BYTES = 128, b"DICM"  # PS3.10 7.1


class CopyProblem(StrEnum):
    """Why a file was not copied; the codes go into the reason beside a refused file."""

    BEING_WRITTEN = "being_written"
    GONE = "gone"
    NOT_DICOM = "not_dicom"
    TOO_LARGE = "too_large"


class UnfitFileError(PeerError):
    """A file that is not to be handed over, now or ever."""

    def __init__(self, problem: CopyProblem) -> None:
        self.problem = problem
        super().__init__(problem.value)


@dataclass(frozen=True, kw_only=True)
class FileState:
    """What changes when a file is written to."""

    inode: int
    size_bytes: int
    modified_ns: int


def state_of(path: Path) -> FileState | None:
    """The state of a regular file; None for anything else (pipe, device, link) or nothing.

    Raises:
        OSError: it is there, and may not be looked at.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _state(found) if stat.S_ISREG(found.st_mode) else None


def _state(found: os.stat_result) -> FileState:
    return FileState(inode=found.st_ino, size_bytes=found.st_size, modified_ns=found.st_mtime_ns)


def copy_into(
    folder: Path,
    path: Path,
    *,
    state: FileState,
    max_bytes: int,
    check_room: Callable[[int], None],
) -> Path:
    """Copies a settled file into `folder`; the path of the copy.

    Args:
        folder: of files that are still arriving.
        path: the file.
        state: as it was when it settled; another one now means that it is being written.
        max_bytes: the largest file that is taken.
        check_room: raises what it likes if so many bytes must not be written; asked for the whole
            file, and again every `ROOM_CHECK_BYTES`: others write at the same time.

    Raises:
        UnfitFileError: being written, gone, no DICOM file, too large.
        OSError: of the disk.
    """
    # The path may have become a link or a pipe meanwhile: neither follow it nor wait on it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        source = os.open(path, flags)
    except OSError as fault:
        if fault.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise UnfitFileError(CopyProblem.GONE) from None
        raise
    copy = folder / f"{PREFIX}{uuid.uuid4().hex}{SUFFIX}"
    complete = False
    try:
        _check(source, state=state, max_bytes=max_bytes)
        check_room(state.size_bytes)
        _copy(source, copy, state=state, check_room=check_room)
        complete = True
    finally:
        os.close(source)
        if not complete:
            copy.unlink(missing_ok=True)
    return copy


def _check(source: int, *, state: FileState, max_bytes: int) -> None:
    found = os.fstat(source)
    if not stat.S_ISREG(found.st_mode):
        raise UnfitFileError(CopyProblem.GONE)
    if _state(found) != state or _has_a_writer(source):
        raise UnfitFileError(CopyProblem.BEING_WRITTEN)
    if found.st_size > max_bytes:
        raise UnfitFileError(CopyProblem.TOO_LARGE)
    if os.pread(source, len(PREFIX_BYTES), PREAMBLE_BYTES) != PREFIX_BYTES:
        raise UnfitFileError(CopyProblem.NOT_DICOM)


def _has_a_writer(source: int) -> bool:
    """Whether anybody has the file open for writing: a copy that stalls has, and does not grow.

    Linux gives a read lease only on a file that nobody has open for writing (fcntl(2), F_SETLEASE),
    and only to its owner; to others the settled size has to be enough.
    """
    try:
        fcntl.fcntl(source, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as fault:
        return fault.errno == errno.EAGAIN
    fcntl.fcntl(source, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _copy(
    source: int, target: Path, *, state: FileState, check_room: Callable[[int], None]
) -> None:
    """Copies its size and no more: a file that grows for ever must not fill the spool."""
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        left = state.size_bytes
        while left:
            block = os.read(source, min(COPY_BYTES, left))
            if not block:
                raise UnfitFileError(CopyProblem.BEING_WRITTEN)
            left -= len(block)
            if (state.size_bytes - left) % ROOM_CHECK_BYTES == 0:
                check_room(min(left, ROOM_CHECK_BYTES))
            view = memoryview(block)
            while view:
                view = view[os.write(descriptor, view) :]
        if _state(os.fstat(source)) != state:
            raise UnfitFileError(CopyProblem.BEING_WRITTEN)
    finally:
        os.close(descriptor)


def set_aside(path: Path, folder: Path, *, reason: str | None = None) -> None:
    """Moves a file into `folder` under a name that is free there.

    Args:
        path: the file.
        folder: where to; made if it is not there.
        reason: goes into a file beside it, its name with `.reason.txt`.
    """
    target = folder / path.name
    if os.path.lexists(target):
        target = folder / f"{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.rename(target)
        if reason is not None:
            # Whoever sees the reason can read it: it gets its name when it is written.
            part = folder / f".{uuid.uuid4().hex}.part"
            part.write_text(f"{reason}\n", encoding="utf-8")
            part.rename(target.with_name(target.name + ".reason.txt"))


def remove_leftovers(folder: Path) -> None:
    """Removes copies that an earlier process left behind half made."""
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        path.unlink(missing_ok=True)
