"""What the control process asks of Python's memory and of the C library's (glibc's alone)."""

from __future__ import annotations

import ctypes
import gc

M_ARENA_MAX = -8  # malloc.h of glibc; mallopt(3)
M_MMAP_THRESHOLD = -3
MOST_ARENAS = 2
LARGE_BYTES = 128 * 1024


def keep_few_arenas() -> bool:
    """Lets all threads share two arenas, which each keep what they once needed; before any thread.

    glibc makes one for each thread, up to eight a processor. After 1,000 exams by frame socket
    sixteen of them held 18 MB that nobody used (`malloc_info`), two of them 10 MB after 500.
    Python's own lock leaves little to contend for.

    Returns:
        False: a C library that knows no arenas (musl); nothing is different then.
    """
    return _ask(M_ARENA_MAX, MOST_ARENAS)


def keep_large_blocks_apart() -> bool:
    """What is large gets pages of its own, which go back when it ends; before any thread.

    glibc starts so, at 128 KiB, but takes each end of such a block for advice to put others of its
    size into the arenas, up to 32 MiB (mallopt(3)), and a small thing that stays there keeps them.

    Returns:
        False: a C library that cannot be asked; nothing is different then.
    """
    return _ask(M_MMAP_THRESHOLD, LARGE_BYTES)


def _ask(parameter: int, value: int) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(parameter, value))


def keep_what_stays() -> None:
    """Modules, classes and settings are no garbage: after the start they are not looked at again.

    Python looks through all objects for cycles only once those that are new are a quarter of the
    old ones (`gc`, CPython): with all modules among the old ones, the cycles of hundreds of exams
    wait for it, and the look holds every thread up: 61 ms, where without them it is under one.
    """
    gc.collect()
    gc.freeze()


def give_back_free_memory() -> None:
    """Cycles end, and pages that nobody uses go back to the kernel; at rest, as it holds others up.

    An arena keeps what it once needed: how much that is depends on how much came at once on the
    busiest day, and would look like growth in `health` (`python -m benches.soak`). About a
    millisecond where there is little to give back.
    """
    gc.collect()
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))
