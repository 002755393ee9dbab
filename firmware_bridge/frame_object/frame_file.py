"""A frame on its way from the firmware's memory to the disk."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from runtime.system.kernel_hints import WRITE_BACK_BYTES, allocate, start_write_back

if TYPE_CHECKING:
    from pathlib import Path

PREFIX, SUFFIX = "frame-", ".part"


def write_frame(folder: Path, head: bytes, pixels: memoryview) -> Path:
    """Writes a DICOM file of `head` and `pixels` into `folder`; its path.

    The kernel copies from the mapped memory of the firmware into the page cache: the pixels are
    in no buffer of ours. The bytes are not durable yet.

    Raises:
        OSError: of the disk; no file stays.
    """
    path = folder / f"{PREFIX}{uuid.uuid4().hex}{SUFFIX}"
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        allocate(descriptor, len(head) + len(pixels))
        written = _write_all(descriptor, memoryview(head))
        for start in range(0, len(pixels), WRITE_BACK_BYTES):
            size_bytes = _write_all(descriptor, pixels[start : start + WRITE_BACK_BYTES])
            start_write_back(descriptor, written, size_bytes)
            written += size_bytes
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return path


def _write_all(descriptor: int, content: memoryview) -> int:
    left = content
    while left:
        left = left[os.write(descriptor, left) :]
    return len(content)


def remove_leftovers(folder: Path) -> None:
    """Removes files that an earlier process left behind half written."""
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        path.unlink(missing_ok=True)
