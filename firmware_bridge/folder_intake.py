"""Images that come in as files: a watched folder.

A file is taken when nobody writes to it any more, and leaves the folder only after the receiver
has made its copy durable: a power cut leaves the file where it was, and the same bytes again are
the same image.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from watchfiles import watch

from firmware_bridge.association_limits import MEBIBYTE
from firmware_bridge.dropped_file import (
    CopyProblem,
    FileState,
    UnfitFileError,
    copy_into,
    remove_leftovers,
    set_aside,
    state_of,
)
from firmware_bridge.settling import Settling
from runtime.intake import OutOfRoomError, Receiver, ReceptionRefusedError

LOGGER = logging.getLogger(__name__)
SOURCE = "folder"
REFUSED, TAKEN = "refused", "taken"
# Names that copying programs give to files that are not complete yet; and hidden ones.
UNFINISHED_SUFFIXES = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".swp")


class FolderIntakeSettings(BaseModel):
    """The section `[intake.folder]` of unit.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Field(description="made if it is not there")
    after: Literal["remove", "keep"] = Field(
        default="remove", description="taken files are removed, or kept in the sub-folder `taken`"
    )
    settle_s: float = Field(
        default=1.0,
        gt=0,
        le=3600,
        description="complete: unchanged for this long, and nobody has it open for writing",
    )
    rescan_s: float = Field(
        default=5.0, gt=0, le=3600, description="network file systems report no changes: look again"
    )
    max_object_mib: int = Field(default=4096, ge=1)
    drain_timeout_s: float = Field(
        default=5.0, ge=0, description="how long a running copy may take to finish at a stop"
    )


class FolderIntake:
    """Watches a folder, sub-folders included, and hands complete DICOM files to the receiver.

    Files that are no DICOM, or that the receiver refuses, are moved to the sub-folder `refused`
    with the reason in a text file beside them. Links, pipes and devices are left alone.

    Args:
        settings: checked already.
    """

    settings_type: ClassVar[type[BaseModel]] = FolderIntakeSettings

    def __init__(self, settings: BaseModel) -> None:
        if not isinstance(settings, FolderIntakeSettings):
            raise TypeError("FolderIntake takes FolderIntakeSettings")
        self.settings = settings
        self._receiver: Receiver | None = None
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._settling = Settling(settle_s=settings.settle_s)
        self._not_before_s = 0.0

    @property
    def address(self) -> str:
        """`folder:FOLDER`."""
        return f"folder:{self.settings.folder}"

    def start(self, receiver: Receiver) -> None:
        """Makes the folders and begins to watch. Raises OSError if they cannot be made."""
        self._receiver = receiver
        for folder in (self.settings.folder, *self._own_folders()):
            folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(receiver.incoming)
        self._threads = [
            threading.Thread(target=self._watch, name="folder-watch", daemon=True),
            threading.Thread(target=self._work, name="folder", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets the file that is being taken finish within the time, then returns."""
        self._stop.set()
        self._changed.set()
        for thread in self._threads:
            thread.join(timeout=self.settings.drain_timeout_s)
        self._threads = []

    def _own_folders(self) -> tuple[Path, Path]:
        return self.settings.folder / REFUSED, self.settings.folder / TAKEN

    def _watch(self) -> None:
        """Wakes the worker; what changed is seen by looking, so that no event can be missed."""
        for _ in watch(
            self.settings.folder,
            stop_event=self._stop,
            debounce=100,
            step=50,
            rust_timeout=500,
            recursive=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            self._changed.set()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._changed.clear()
            waiting = self._round()
            self._changed.wait(self.settings.settle_s / 2 if waiting else self.settings.rescan_s)
            # A folder that is being filled reports without pause: not more often than this.
            self._stop.wait(min(0.05, self.settings.settle_s / 4))

    def _round(self) -> bool:
        """Takes every file that is complete; whether others are there that may soon be."""
        states = {path: state for path in self._candidates() if (state := state_of(path))}
        for path, state in self._settling.look(states, now_s=time.monotonic()).items():
            if self._stop.is_set() or time.monotonic() < self._not_before_s:
                break
            if self._take(path, state):
                self._settling.forget(path)
        return self._settling.waiting

    def _candidates(self) -> list[Path]:
        own = self._own_folders()
        found: list[Path] = []
        folders = [self.settings.folder]
        while folders:
            folder = folders.pop()
            try:
                entries = sorted(folder.iterdir())
            except OSError:
                continue  # removed or closed to us in this moment: the next look tells
            for entry in entries:
                if entry.is_symlink() or entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    if entry not in own:
                        folders.append(entry)
                elif entry.is_file() and not entry.name.lower().endswith(UNFINISHED_SUFFIXES):
                    found.append(entry)
        return found

    def _take(self, path: Path, state: FileState) -> bool:
        """Whether the file needs no further look. Nothing here names it: names can be people's."""
        try:
            self._hand_over(path, state)
        except UnfitFileError as unfit:
            if unfit.problem in (CopyProblem.BEING_WRITTEN, CopyProblem.GONE):
                return False
            return self._put_away(path, REFUSED, reason=unfit.problem.value)
        except ReceptionRefusedError as refused:
            return self._put_away(path, REFUSED, reason=f"{refused.reason.value}\n{refused.detail}")
        except OutOfRoomError:
            return self._later()
        except OSError as fault:
            LOGGER.warning("a file in the watched folder cannot be taken: %s", fault.strerror)
            return self._later()
        return self._put_away(path, TAKEN)

    def _hand_over(self, path: Path, state: FileState) -> None:
        if self._receiver is None:
            raise RuntimeError("the intake was not started")
        self._receiver.check_room(state.size_bytes)
        copy = copy_into(
            self._receiver.incoming,
            path,
            state=state,
            max_bytes=self.settings.max_object_mib * MEBIBYTE,
        )
        self._receiver.receive(copy, source=SOURCE, peer=SOURCE)

    def _put_away(self, path: Path, folder: str, *, reason: str | None = None) -> bool:
        try:
            if folder == TAKEN and self.settings.after == "remove":
                path.unlink(missing_ok=True)
            else:
                set_aside(path, self.settings.folder / folder, reason=reason)
        except OSError as fault:
            LOGGER.warning("a file cannot be moved out of the folder: %s", fault.strerror)
            return self._later()
        return True

    def _later(self) -> bool:
        self._not_before_s = time.monotonic() + self.settings.rescan_s
        return False
