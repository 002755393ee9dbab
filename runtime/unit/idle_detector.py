"""Tells when a unit has come to rest: after the last patient, between two exams.

Then free memory goes back to the kernel (`malloc_tuning`). It buys a site that watches `health` a
resident memory that stands still: without it a unit looks as if it grew (`python -m benches.soak`).
"""

from __future__ import annotations

REST_S = 30.0
"""Views of one exam follow each other faster than that."""


class IdleDetector:
    """Asked at each turn of the service's loop.

    Args:
        now_s: monotonic.
    """

    def __init__(self, now_s: float) -> None:
        self._progress = 0
        self._since_s = now_s
        self._told = True

    def lasts(self, now_s: float) -> bool:
        """Whether nothing has happened for `REST_S`."""
        return now_s - self._since_s >= REST_S

    def begins(self, progress: int, now_s: float) -> bool:
        """Whether a rest begins now: told once, when `progress` has stood still for `REST_S`.

        Args:
            progress: any number that grows while something happens.
            now_s: monotonic.
        """
        if progress != self._progress:
            self._progress, self._since_s, self._told = progress, now_s, False
        if self._told or now_s - self._since_s < REST_S:
            return False
        self._told = True
        return True
