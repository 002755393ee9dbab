"""How far a long command is, on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 30
EVERY_S = 10.0
"""Without a terminal, a line."""
TELLING_S = 2.0
"""Before that nobody can say how long the rest takes."""


def progress_bar(
    task: str,
    total: int,
    *,
    counted: str = "images",
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[int], None]:
    """Says how many of `total` are done, and in how long the rest will be.

    In place on a terminal; elsewhere a line every hundred and every ten seconds.
    """
    in_place = sys.stderr.isatty()
    began = clock()
    told_at = began

    def say(done: int) -> None:
        nonlocal told_at
        now = clock()
        rest = _rest(now - began, done, total)
        if in_place:
            filled = WIDTH * done // max(total, 1)
            bar = "#" * filled + "." * (WIDTH - filled)
            end = "" if done < total else "\n"
            told = f"\r{task:12} [{bar}] {done}/{total}{rest:16}"
            print(told, end=end, file=sys.stderr, flush=True)
        elif done % 100 == 0 or done == total or now - told_at >= EVERY_S:
            told_at = now
            print(f"{task}: {done}/{total} {counted}{rest}", file=sys.stderr, flush=True)

    return say


def _rest(spent_s: float, done: int, total: int) -> str:
    if spent_s < TELLING_S or not 0 < done < total:
        return ""
    return f", {spent_s / done * (total - done):.0f} s left"
