"""What a long build has finished, on disk, so that it goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converters.errors import BenchFaultError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DONE = "done.json"


@dataclass(frozen=True, kw_only=True)
class FinishedStage:
    """A finished stage."""

    folder: Path
    record: dict[str, Any]
    """What the stage itself wrote down."""
    resumed: bool
    """An earlier run finished it."""


class StageCache:
    """A folder beside the package that is being built, with a subfolder for each stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise BenchFaultError([f"{folder.name}: {fault.strerror or fault}"]) from fault

    def once(self, name: str, key: str, make: Callable[[Path], dict[str, Any]]) -> FinishedStage:
        """Run `make` on an empty folder, unless that was done before under the same key.

        Raises:
            BenchFaultError: the disk would not take it, or what `make` itself raises.
        """
        folder = self.folder / name
        record = self._finished(folder, key)
        if record is not None:
            return FinishedStage(folder=folder, record=record, resumed=True)
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            record = make(folder)
            half_way = folder / f"{DONE}.new"
            half_way.write_text(json.dumps({"key": key, "record": record}), encoding="utf-8")
            half_way.rename(folder / DONE)
        except OSError as fault:
            raise BenchFaultError(
                [f"{folder.parent.name}/{name}: {fault.strerror or fault}"]
            ) from fault
        return FinishedStage(folder=folder, record=record, resumed=False)

    def discard(self) -> None:
        """The build is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _finished(folder: Path, key: str) -> dict[str, Any] | None:
        try:
            done = json.loads((folder / DONE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return dict(done["record"]) if done.get("key") == key else None


def key_of(*parts: object) -> str:
    """One figure for everything that a stage depends on."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()
