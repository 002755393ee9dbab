"""Pools whose threads are all there from the start."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor


def full_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool of `threads` threads, called `name` and a number, each of which runs already.

    A plain pool starts one whenever none is idle, so that the busiest moment of a week decides how
    many stacks and how much memory a process keeps, and a memory that stands still looks as if it
    grew.
    """
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)
    all_run = threading.Barrier(threads + 1)
    for _ in range(threads):
        pool.submit(all_run.wait)
    all_run.wait()
    return pool
