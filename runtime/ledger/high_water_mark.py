"""How far a ledger had come, kept beside it: whoever finds the ledger behind its mark knows.

A ledger that was put back from a copy, or lost the end of its write-ahead log, looks whole. The
mark is one sector, written in place after each commit that gave a number, and fsynced now and then;
what a plug pulled at the wrong moment takes from it makes it lower, never higher.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import zlib
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECTOR_BYTES = 512
FS_IOC_GETVERSION = 0x80087601
"""An inode's generation (ioctl_iflags(2)): a number of an inode is used again, with another one."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What was true of the ledger. `file`: which file it was. `sha256`: of it, at a clean stop."""

    ledger_id: str
    last_seq: int
    file: str
    sha256: str = ""


class HighWaterMark:
    """The mark of the ledger at `ledger`. Used by one thread. Raises OSError where the disk fails.

    Attributes:
        path: of the mark.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self.path = ledger.with_suffix(".mark")
        self._mark: Mark | None = None
        self._looked_at: list[int] = []
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Gives the files back; after SQLite has closed the ledger."""
        for descriptor in (self._descriptor, *self._looked_at):
            os.close(descriptor)

    def read(self) -> Mark | None:
        """The mark as it stands; None if there is none, or it was torn."""
        self._mark = _decoded(os.pread(self._descriptor, SECTOR_BYTES, 0))
        return self._mark

    def unlike(self, ledger_id: str, last_seq: int) -> str:
        """Why this ledger is not the one that was left, or is behind it; "" if it is that one."""
        mark = self._mark
        if mark is None:
            return "its mark is gone"
        if mark.ledger_id != ledger_id:
            return "it is another ledger than the one that was left"
        if mark.last_seq > last_seq:
            return f"it ends at number {last_seq}, and {mark.last_seq} had been given"
        if mark.file != self._identity():
            return "its file is a copy, which may be older than the ledger was"
        return ""

    @property
    def untouched(self) -> bool | None:
        """Whether the file is byte by byte as at the last stop; None: that was not a clean one."""
        if self._mark is None or not self._mark.sha256:
            return None
        wal = self._ledger.with_name(self._ledger.name + "-wal")
        left_over = wal.exists() and wal.stat().st_size > 0
        return not left_over and file_sha256(self._ledger) == self._mark.sha256

    def opened(self) -> None:
        """From now on the file changes: what was said of its bytes holds no more."""
        if self._mark is not None and self._mark.sha256:
            self._write(replace(self._mark, sha256=""))
            self.sync()

    def set(self, ledger_id: str, last_seq: int) -> None:
        """The ledger has come so far."""
        file = self._mark.file if self._mark else ""
        self._write(Mark(ledger_id=ledger_id, last_seq=last_seq, file=file))

    def take_over(self, ledger_id: str, last_seq: int) -> None:
        """This file is the ledger from now on."""
        file = self._identity()
        self._write(Mark(ledger_id=ledger_id, last_seq=last_seq, file=file))
        self.sync()

    def closed(self) -> None:
        """A clean stop: the file is complete and does not change until it is opened again."""
        if self._mark is not None:
            self._write(replace(self._mark, sha256=file_sha256(self._ledger)))
            self.sync()

    def sync(self) -> None:
        """Puts the mark on the disk. Also a proof that the disk can be written at all."""
        os.pwrite(self._descriptor, _encoded(self._mark), 0)
        os.fsync(self._descriptor)

    def _identity(self) -> str:
        """Which file it is: a copy has another inode, or the same one in another generation."""
        descriptor = os.open(self._ledger, os.O_RDONLY | os.O_CLOEXEC)
        # Open until `close`: closing any descriptor of a file takes away the locks that this
        # process has on it (fcntl(2)), SQLite's among them.
        self._looked_at.append(descriptor)
        return f"{os.fstat(descriptor).st_ino}:{_generation(descriptor)}"

    def _write(self, mark: Mark) -> None:
        self._mark = mark
        os.pwrite(self._descriptor, _encoded(mark), 0)


def file_sha256(path: Path) -> str:
    """Of all bytes of a file, in hex; "" if there is none."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _encoded(mark: Mark | None) -> bytes:
    body = json.dumps(None if mark is None else asdict(mark)).encode()
    return b"%08x %s" % (zlib.crc32(body), body.ljust(SECTOR_BYTES - 10)) + b"\n"


def _decoded(sector: bytes) -> Mark | None:
    """What a newer version of us wrote besides is passed over."""
    body = sector[9:].rstrip()
    if sector[:8] != b"%08x" % zlib.crc32(body):
        return None
    told = json.loads(body)
    if told is None:
        return None
    ours = {field.name for field in fields(Mark)}
    return Mark(**{name: value for name, value in told.items() if name in ours})


def _generation(descriptor: int) -> str:
    try:
        answer = fcntl.ioctl(descriptor, FS_IOC_GETVERSION, struct.pack("l", 0))
    except OSError:
        return ""  # not every file system counts them (tmpfs never uses a number again)
    return str(struct.unpack("l", answer)[0] & 0xFFFFFFFF)
