"""What the control process asks of the C library's allocator (glibc's; others are left alone)."""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8  # malloc.h of glibc; mallopt(3)
MOST_ARENAS = 2


def keep_few_arenas() -> bool:
    """Lets all threads share two arenas, which each keep what they once needed; before any thread.

    glibc makes one for each thread, up to eight a processor. After 1,000 exams by frame socket
    sixteen of them held 18 MB that nobody used (`malloc_info`), two of them 10 MB after 500.
    Python's own lock leaves little to contend for.

    Returns:
        False: a C library that knows no arenas (musl); nothing is different then.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, MOST_ARENAS))


def give_back_free_memory() -> None:
    """Pages that nobody uses go back to the kernel; at rest, because it holds up who allocates.

    An arena keeps what it once needed: how much that is depends on how much came at once on the
    busiest day, and would look like growth. About a millisecond where there is little to give back.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))
