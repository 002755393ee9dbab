"""How far a long command is, on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 30


def progress_bar(task: str, total: int, *, counted: str = "images") -> Callable[[int], None]:
    """Says how many of `total` are done: in place on a terminal, every hundred elsewhere."""
    in_place = sys.stderr.isatty()

    def say(done: int) -> None:
        if in_place:
            filled = WIDTH * done // max(total, 1)
            bar = "#" * filled + "." * (WIDTH - filled)
            end = "" if done < total else "\n"
            print(f"\r{task:12} [{bar}] {done}/{total}", end=end, file=sys.stderr, flush=True)
        elif done % 100 == 0 or done == total:
            print(f"{task}: {done}/{total} {counted}", file=sys.stderr, flush=True)

    return say
