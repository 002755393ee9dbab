"""A hint to the kernel: start writing a growing file out before anybody waits for it."""

from __future__ import annotations

import ctypes

WRITE_BACK_BYTES = 4 << 20
"""How much of a file is worth a call."""
SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h

_libc = ctypes.CDLL(None, use_errno=True)


def start_write_back(descriptor: int, offset: int, size_bytes: int) -> None:
    """Asks the kernel to start writing these pages out, without waiting for it.

    The fsync at the end then finds most of the file on the disk already. It is a hint: where the
    call is missing or fails, the fsync does the work.
    """
    call = getattr(_libc, "sync_file_range", None)
    if call is not None:
        call(
            descriptor,
            ctypes.c_int64(offset),
            ctypes.c_int64(size_bytes),
            ctypes.c_uint(SYNC_FILE_RANGE_WRITE),
        )
