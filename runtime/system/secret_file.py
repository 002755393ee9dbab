"""A new file that only its owner can read: there whole, or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OWNER_ONLY = 0o600


def write_new_secret(file: Path, content: bytes) -> None:
    """Writes `content`, on the disk when this returns. What is there is never overwritten.

    Raises:
        FileExistsError: there is such a file; it is as it was.
        OSError: the disk would not take it; no file is there then.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)  # some file systems say only here that they are full
    except OSError:
        # Half a key would be taken for one, and could never be written again.
        file.unlink(missing_ok=True)
        raise
