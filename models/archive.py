"""A package that comes as one .zip: unpacked into the unit's store, or refused."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING

from models.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

MAXIMUM_FILES = 256
MAXIMUM_BYTES = 1024 * 1024 * 1024
"""Of a package, unpacked."""
CHUNK_BYTES = 1024 * 1024
SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")


class ArchiveFaultError(OperatorError):
    """A zip that must not be unpacked; `faults` has a sentence for each reason."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


def is_safe_path(path: str) -> bool:
    """True for a relative POSIX path of plain names: no `..`, no drive, no backslash."""
    return bool(path) and all(SAFE_PART.fullmatch(part) for part in path.split("/"))


def unpack(archive: Path, into: Path) -> None:
    """Unpack `archive` into the empty folder `into`.

    Nothing is written before every entry's name, kind and declared size was looked at, and no
    entry may grow beyond what it declared.

    Raises:
        ArchiveFaultError: not a zip, or one that would leave its folder, link, or grow too large.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            faults = _faults(entries)
            if faults:
                raise ArchiveFaultError(faults)
            for entry in entries:
                _unpack_entry(opened, entry, into)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as fault:
        raise ArchiveFaultError([f"not a readable zip: {fault}"]) from fault


def _faults(entries: list[zipfile.ZipInfo]) -> list[str]:
    faults = []
    if len(entries) > MAXIMUM_FILES:
        faults.append(f"{len(entries)} files, at most {MAXIMUM_FILES} are allowed")
    if sum(entry.file_size for entry in entries) > MAXIMUM_BYTES:
        faults.append(f"more than {MAXIMUM_BYTES} bytes unpacked")
    seen: set[str] = set()
    for entry in entries:
        shown = entry.filename[:80]
        # The upper half of external_attr is the Unix mode (APPNOTE 4.4.15); 0 where none was kept.
        mode = entry.external_attr >> 16
        if not is_safe_path(entry.filename):
            faults.append(f"{shown!r}: a name that could leave the package's folder")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            faults.append(f"{shown!r}: a link or device, not a file")
        if entry.flag_bits & 0x1:
            faults.append(f"{shown!r}: encrypted")
        # Case folded: the store may lie on a file system that does not tell cases apart.
        if entry.filename.casefold() in seen:
            faults.append(f"{shown!r}: listed twice")
        seen.add(entry.filename.casefold())
    return faults


def _unpack_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, into: Path) -> None:
    target = into / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, target.open("xb") as sink:
        while chunk := source.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise ArchiveFaultError([f"{entry.filename!r}: larger than it declares"])
            sink.write(chunk)
