"""One service to a folder: a lock of the kernel's, which goes with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from models.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_NAME = "lock"


class FolderInUseError(OperatorError):
    """Another process works in the folder; says which, as far as that is known."""

    def __init__(self, folder: Path, pid: str) -> None:
        self.pid = pid
        super().__init__(f"{folder}: another mammoedge works here (process {pid or 'unknown'})")


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Holds the folder for this process. A local file system is needed (flock(2)).

    Raises:
        FolderInUseError: somebody else holds it; at once, without waiting.
        OSError: the file cannot be made.
    """
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held_by = os.read(descriptor, 32).decode("ascii", errors="replace").strip()
            raise FolderInUseError(folder, held_by) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
