"""Which files have not changed for a while. Pure: states and a clock go in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from firmware_bridge.dropped_file import FileState


class Settling:
    """Remembers since when each file is as it is.

    Args:
        settle_s: how long a file must stay unchanged.
    """

    def __init__(self, *, settle_s: float) -> None:
        self._settle_s = settle_s
        self._since_s: dict[Path, tuple[FileState, float]] = {}

    @property
    def waiting(self) -> bool:
        """Whether there are files that were not taken yet."""
        return bool(self._since_s)

    def look(self, states: Mapping[Path, FileState], *, now_s: float) -> dict[Path, FileState]:
        """Takes in what is there now; those that are settled. What is gone is forgotten."""
        since_s: dict[Path, tuple[FileState, float]] = {}
        for path, state in states.items():
            before = self._since_s.get(path)
            unchanged = before is not None and before[0] == state
            since_s[path] = before if before is not None and unchanged else (state, now_s)
        self._since_s = since_s
        return {
            path: state
            for path, (state, began_s) in since_s.items()
            if now_s - began_s >= self._settle_s
        }

    def forget(self, path: Path) -> None:
        """The file was taken or set aside."""
        self._since_s.pop(path, None)
