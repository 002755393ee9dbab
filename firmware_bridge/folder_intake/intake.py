"""Images that come in as files: a watched folder.

A file is taken when nobody writes to it any more, and leaves the folder only after the receiver
has made its copy durable: a power cut leaves the file where it was, and the same bytes again are
the same image.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from watchfiles import watch

from firmware_bridge.dicom_network.association_limits import MEBIBYTE
from firmware_bridge.dicom_services.rejection_note import (
    NO_REJECTION_NOTE,
    is_key_object,
    tell_rejections,
)
from firmware_bridge.folder_intake.fault_log import FaultLog
from firmware_bridge.folder_intake.file_stability import FileStability
from firmware_bridge.folder_intake.watched_file import (
    CopyProblem,
    FileState,
    UnfitFileError,
    copy_into,
    remove_leftovers,
    set_aside,
    state_of,
)
from runtime.exams.intake_ports import (
    IntakePorts,
    ObjectPassedOverError,
    ObjectRefusedError,
    OutOfRoomError,
)
from runtime.image.header import HeaderRefusedError, passed_over
from runtime.ledger.ledger import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.messages.payloads import EventKind

LOGGER = logging.getLogger(__name__)
SOURCE = "folder"
REFUSED, TAKEN, PASSED_OVER = "refused", "taken", "passed_over"
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
    max_object_mib: int = Field(default=4096, ge=1, description="a larger file is refused")
    drain_timeout_s: float = Field(
        default=5.0, ge=0, description="how long a running copy may take to finish at a stop"
    )


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """What became of a file, and which of the intake's own folders it belongs into."""

    state: FileState
    folder: str
    reason: str | None = None


class FolderIntake:
    """Watches a folder, sub-folders included, and hands complete DICOM files to the receiver.

    Files that are no DICOM, or that the receiver refuses, are moved to the sub-folder `refused`
    with the reason in a text file beside them; DICOM objects that are no images to `passed_over`,
    with their name. Rejection notes are taken at their word. Links,
    pipes and devices are left alone. A file that cannot be read waits without being in the way of
    others; one that cannot be moved out of the folder is not handed over again while it stays as
    it is.

    Args:
        settings: checked already.
    """

    settings_type: ClassVar[type[BaseModel]] = FolderIntakeSettings

    def __init__(self, settings: BaseModel) -> None:
        if not isinstance(settings, FolderIntakeSettings):
            raise TypeError("FolderIntake takes FolderIntakeSettings")
        self.settings = settings
        self._ports: IntakePorts | None = None
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._stability = FileStability(settle_s=settings.settle_s)
        self._not_before_s = 0.0
        # Files that are done with and could not leave the folder.
        self._left_behind: dict[Path, _Verdict] = {}
        self._faults_said = FaultLog(self._report)

    @property
    def address(self) -> str:
        """`folder:FOLDER`."""
        return f"folder:{self.settings.folder}"

    @property
    def alive(self) -> bool:
        """Whether it still listens."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def start(self, ports: IntakePorts) -> None:
        """Makes the folders and begins to watch. Raises OSError if they cannot be made."""
        self._ports = ports
        for name in (REFUSED, TAKEN):
            (self.settings.folder / name).mkdir(parents=True, exist_ok=True)
        remove_leftovers(ports.objects.incoming)
        self._threads = [
            threading.Thread(target=self._keep, args=(turn,), name=name, daemon=True)
            for name, turn in (("folder-watch", self._watch), ("folder", self._work))
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

    def _own_folders(self) -> list[Path]:
        return [self.settings.folder / name for name in (REFUSED, TAKEN, PASSED_OVER)]

    def _keep(self, turn: Callable[[], None]) -> None:
        """A thread's outer loop: whatever a turn meets, the next one comes."""
        while not self._stop.is_set():
            try:
                turn()
            except Exception as fault:  # noqa: BLE001 - an outer loop: it logs, reports, goes on
                self._faults_said.tell_unforeseen(fault)
                self._stop.wait(self.settings.rescan_s)

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
        self._changed.clear()
        self._round()
        if not self._stop.is_set():
            self._changed.wait(self._pause_s(time.monotonic()))
        # A folder that is being filled reports without pause: not more often than this.
        self._stop.wait(min(0.05, self.settings.settle_s / 4))

    def _pause_s(self, now_s: float) -> float:
        """How long nothing is to be done if nothing changes."""
        ready_s = self._stability.next_ready_s
        if ready_s is None:
            return self.settings.rescan_s
        return min(self.settings.rescan_s, max(0.0, max(ready_s, self._not_before_s) - now_s))

    def _round(self) -> None:
        """Takes every file that is complete."""
        now_s = time.monotonic()
        states = self._states()
        self._left_behind = {
            path: verdict
            for path, verdict in self._left_behind.items()
            if states.get(path) == verdict.state
        }
        for path, state in self._stability.look(states, now_s=now_s).items():
            if self._stop.is_set() or time.monotonic() < self._not_before_s:
                break
            # First, so that it holds whatever comes.
            self._look_again(path, after_s=self.settings.rescan_s)
            again_s = self._take(path, state)
            if again_s is None:
                self._stability.forget(path)
                self._faults_said.over(path)
            else:
                self._look_again(path, after_s=again_s)

    def _look_again(self, path: Path, *, after_s: float) -> None:
        self._stability.postpone(path, until_s=time.monotonic() + after_s)

    def _states(self) -> dict[Path, FileState]:
        """Every file that could be taken, and how it is now."""
        states: dict[Path, FileState] = {}
        there: set[Path] = set()
        folders = [self.settings.folder]
        while folders:
            folder = folders.pop()
            there.add(folder)
            for entry in self._entries(folder):
                path = Path(entry.path)
                there.add(path)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif _unfinished(entry.name):
                        continue
                    elif (state := state_of(path)) is not None:
                        states[path] = state
                except OSError as fault:
                    self._faults_said.tell(path, "a file cannot be looked at", fault)
        self._faults_said.forget_all_but(there)
        return states

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """What is in a folder and concerns us."""
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []  # removed in this moment
        except OSError as fault:
            self._faults_said.tell(folder, "a folder cannot be read", fault)
            return []
        self._faults_said.over(folder)
        own = self._own_folders()
        return [
            entry
            for entry in found
            if not entry.name.startswith(".") and Path(entry.path) not in own
        ]

    def _take(self, path: Path, state: FileState) -> float | None:
        """After how many seconds the file is to be looked at again; None if it is done with."""
        verdict = self._left_behind.get(path)
        try:
            if verdict is None:
                verdict = self._hand_over(path, state)
        except UnfitFileError:
            return self.settings.settle_s / 2
        except OutOfRoomError:
            return self._without_room()
        except LedgerError as fault:
            LOGGER.error("files wait: %s", type(fault).__name__)  # noqa: TRY400 - no defect of ours
            return self._pause()
        except OSError as fault:
            if fault.errno in (errno.ENOSPC, errno.EDQUOT):
                return self._pause()
            self._faults_said.tell(path, "a file cannot be taken", fault)
            return self.settings.rescan_s
        return self._put_away(path, verdict)

    def _hand_over(self, path: Path, state: FileState) -> _Verdict:
        """Makes the file durable, or says why it never will be.

        Raises:
            UnfitFileError: being written, or gone.
            OutOfRoomError: later, perhaps.
            LedgerError: the same.
            OSError: the file cannot be read, or not be written into the spool.
        """
        objects = self._require_ports().objects
        try:
            copy = copy_into(
                objects.incoming,
                path,
                state=state,
                max_bytes=self.settings.max_object_mib * MEBIBYTE,
                check_room=objects.check_room,
            )
            if is_key_object(copy):
                return self._take_note(copy, state)
            objects.receive(copy, source=SOURCE, peer=SOURCE)
        except UnfitFileError as unfit:
            if unfit.problem in (CopyProblem.BEING_WRITTEN, CopyProblem.GONE):
                raise
            return _Verdict(state=state, folder=REFUSED, reason=unfit.problem.value)
        except ObjectPassedOverError as other:
            return _Verdict(state=state, folder=PASSED_OVER, reason=other.detail)
        except ObjectRefusedError as refused:
            reason = f"{refused.reason.value}\n{refused.detail}"
            return _Verdict(state=state, folder=REFUSED, reason=reason)
        return _Verdict(state=state, folder=TAKEN)

    def _take_note(self, copy: Path, state: FileState) -> _Verdict:
        """A rejection note: its word goes to the ledger, the document itself is not kept."""
        try:
            told = tell_rejections(copy, self._require_ports().notices)
        except HeaderRefusedError as refused:
            reason = f"{refused.reason.value}\n{refused.detail}"
            return _Verdict(state=state, folder=REFUSED, reason=reason)
        finally:
            copy.unlink(missing_ok=True)
        if told:
            return _Verdict(state=state, folder=TAKEN)
        return _Verdict(state=state, folder=PASSED_OVER, reason=passed_over(NO_REJECTION_NOTE))

    def _put_away(self, path: Path, verdict: _Verdict) -> float | None:
        try:
            if state_of(path) != verdict.state:
                return self.settings.settle_s / 2  # another file has its name by now
            if verdict.folder == TAKEN and self.settings.after == "remove":
                path.unlink(missing_ok=True)
            else:
                set_aside(path, self.settings.folder / verdict.folder, reason=verdict.reason)
        except OSError as fault:
            self._left_behind[path] = verdict
            self._faults_said.tell(path, "a file cannot be moved out of the folder", fault)
            return self.settings.rescan_s
        self._left_behind.pop(path, None)
        return None

    def _without_room(self) -> float:
        """Pauses for all, unless it was the size of this file alone."""
        try:
            self._require_ports().objects.check_room()
        except (OutOfRoomError, LedgerError, OSError):
            return self._pause()
        return self.settings.rescan_s

    def _pause(self) -> float:
        self._not_before_s = time.monotonic() + self.settings.rescan_s
        return self.settings.rescan_s

    def _report(self, kind: EventKind, what: str) -> None:
        self._require_ports().events.report(kind, what, source=SOURCE)

    def _require_ports(self) -> IntakePorts:
        if self._ports is None:
            raise RuntimeError("the intake was not started")
        return self._ports


def _unfinished(name: str) -> bool:
    return name.lower().endswith(UNFINISHED_SUFFIXES)
