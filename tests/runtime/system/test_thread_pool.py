"""A full pool has all its threads before it has work."""

from __future__ import annotations

import threading

from runtime.system.thread_pool import full_pool


def test_all_threads_run_from_the_start() -> None:
    """And no more come with work."""
    pool = full_pool(3, "counted")

    def names() -> set[str]:
        return {t.name for t in threading.enumerate() if t.name.startswith("counted")}

    before = names()
    list(pool.map(lambda _: None, range(50)))
    assert len(before) == 3
    assert names() == before
    pool.shutdown()
    assert not names()
