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

    What is large gets pages of its own, which go back when it ends. glibc does so from 128 KiB on,
    but takes each end of such a block for advice to put others of its size into the arenas, up to
    32 MiB; there small things that stay end up between them, and the pages are never whole again
    (`mallinfo2`: after 200 exams by frame socket 0.1 MB more were in use, and 3 MB more lay idle).

    glibc makes one for each thread, up to eight a processor. After 1,000 exams by frame socket
    sixteen of them held 18 MB that nobody used (`malloc_info`), two of them 10 MB after 500.
    Python's own lock leaves little to contend for.

    Returns:
        False: a C library that knows no arenas (musl); nothing is different then.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    few, large = mallopt(M_ARENA_MAX, MOST_ARENAS), mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
    return bool(few and large)


def keep_what_stays() -> None:
    """Modules, classes and settings are no garbage: after the start they are not looked at again.

    Python looks through all objects for cycles only once those that are new are a quarter of the
    old ones (`gc`, CPython): with all modules among the old ones, the cycles of hundreds of exams
    wait for it, and the look holds every thread up. Without them it comes often and is short.
    """
    gc.collect()
    gc.freeze()


def give_back_free_memory() -> None:
    """Pages that nobody uses go back to the kernel; at rest, because it holds up who allocates.

    An arena keeps what it once needed: how much that is depends on how much came at once on the
    busiest day, and would look like growth. About a millisecond where there is little to give back.
    """
    gc.collect()
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))
