"""Which files are ready to be looked at. Pure: states and a clock go in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from firmware_bridge.folder_intake.watched_file import FileState


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A file as it is, and since when it is so."""

    state: FileState
    ready_at_s: float
    tried: bool = False


class FileStability:
    """Remembers since when each file is as it is, and which of them have to wait longer.

    Args:
        settle_s: how long a file must stay unchanged.
    """

    def __init__(self, *, settle_s: float) -> None:
        self._settle_s = settle_s
        self._seen: dict[Path, _Seen] = {}

    @property
    def next_ready_s(self) -> float | None:
        """When the first file will be ready if it stays as it is; None without files."""
        return min((seen.ready_at_s for seen in self._seen.values()), default=None)

    def look(self, states: Mapping[Path, FileState], *, now_s: float) -> dict[Path, FileState]:
        """Takes in what is there now; those that are ready. What is gone is forgotten.

        Files that were tried already come last: one that fails each time must not stand in the way.
        """
        seen: dict[Path, _Seen] = {}
        for path, state in states.items():
            before = self._seen.get(path)
            if before is not None and before.state == state:
                seen[path] = before
            else:
                seen[path] = _Seen(state=state, ready_at_s=now_s + self._settle_s)
        self._seen = seen
        ready = [path for path, found in seen.items() if now_s >= found.ready_at_s]
        return {path: seen[path].state for path in sorted(ready, key=lambda p: seen[p].tried)}

    def postpone(self, path: Path, *, until_s: float) -> None:
        """The file was tried in vain: it is not ready before `until_s`, unless it changes."""
        seen = self._seen.get(path)
        if seen is not None:
            self._seen[path] = _Seen(state=seen.state, ready_at_s=until_s, tried=True)

    def forget(self, path: Path) -> None:
        """The file was taken or set aside."""
        self._seen.pop(path, None)
