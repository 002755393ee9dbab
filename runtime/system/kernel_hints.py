"""Hints to the kernel about large files and memory.

Each is a call that may be missing or refused: then nothing changes but the time that it takes. They
go through ctypes, which lets go of the interpreter's lock; `mmap.mmap` keeps it while it populates.
"""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

WRITE_BACK_BYTES = 4 << 20
"""How much of a file is worth a call."""
SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h
MADV_POPULATE_READ = 22  # linux/mman.h, since Linux 5.14

_libc = ctypes.CDLL(None, use_errno=True)


def start_write_back(descriptor: int, offset: int, size_bytes: int) -> None:
    """Asks the kernel to start writing these pages out, without waiting for it.

    The fsync at the end then finds most of the file on the disk already.
    """
    call = getattr(_libc, "sync_file_range", None)
    if call is not None:
        call(
            descriptor,
            ctypes.c_int64(offset),
            ctypes.c_int64(size_bytes),
            ctypes.c_uint(SYNC_FILE_RANGE_WRITE),
        )


def allocate(descriptor: int, size_bytes: int) -> None:
    """Gives an empty file its place on the disk at once, not a piece with each write-back."""
    call = getattr(_libc, "fallocate", None)
    if call is not None:
        call(descriptor, ctypes.c_int(0), ctypes.c_int64(0), ctypes.c_int64(size_bytes))


def populate(mapped: memoryview) -> None:
    """Fills the page table for mapped memory: one call instead of a fault for every few pages."""
    call = getattr(_libc, "madvise", None)
    if call is not None and len(mapped):
        address = np.frombuffer(mapped, np.uint8).ctypes.data
        start = address - address % mmap.PAGESIZE
        size_bytes = len(mapped) + address - start
        call(ctypes.c_void_p(start), ctypes.c_size_t(size_bytes), ctypes.c_int(MADV_POPULATE_READ))
