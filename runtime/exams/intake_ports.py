"""How images come in: what an intake is given, and what it must be.

An intake is found by the entry point group `mammoedge.intakes`; its section of `unit.toml` is
`[intake.NAME]`, checked against the intake's own `settings_type`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol

from models.errors import PeerError, ResourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from runtime.exam_rules.exam_flag import Completion
    from runtime.exam_rules.procedure_step import StepAnswer, StepBegun, StepEnded
    from runtime.exams.modality_feed import ModalityFeed
    from runtime.image.reasons import Reason

FRAMES = "frames"
"""The source of images that came as frames; see Receipt.TWIN."""


class Receipt(StrEnum):
    """What became of an object that was handed over."""

    STORED = "stored"
    KNOWN = "known"
    """The same bytes again: the same image."""
    CONFLICT = "conflict"
    """Other bytes under a known SOP Instance UID: kept, an event raised, the first stands."""
    TWIN = "twin"
    """The same image once as a frame and once as the unit's own object: kept, the first stands."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """A durable receipt: the file is fsynced and its row committed."""

    image_id: int
    receipt: Receipt


class ObjectRefusedError(PeerError):
    """The object was not taken. Nothing of it was kept."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason.value}: {detail}")


class OutOfRoomError(ResourceError):
    """The disk is below its reserve (or the backlog above its limit): try again later."""


class Receiver(Protocol):
    """The only thing that an intake knows of the rest of the runtime. Thread-safe."""

    @property
    def incoming(self) -> Path:
        """Folder for files that are still arriving; on the spool's file system."""
        ...

    def check_room(self, size_bytes: int = 0) -> None:
        """Raises OutOfRoomError if an object of that size must not be taken now."""
        ...

    def receive(
        self, path: Path, *, source: str, peer: str, sha256: Callable[[], str] | None = None
    ) -> Received:
        """Takes over a complete DICOM file below `incoming`; returns when it is durable.

        `source` is the intake's name, `peer` who sent it (AE title, never a patient). The file is
        moved or removed in any case. `sha256` waits for the hash of the data set alone (hex), where
        the intake computes it while the file goes to the disk.

        Raises:
            ObjectRefusedError: not a mammogram, unreadable header, …; an event was published.
            OutOfRoomError: see `check_room`.
        """
        ...

    def close_exam(self, study_instance_uid: str, by: Completion) -> None:
        """The unit's own word that no more images of the exam will come (exam_closed, MPPS)."""
        ...

    def narrow_views(self, study_instance_uid: str, views: Sequence[str]) -> None:
        """The unit says that it will take only these views (`LCC`, …): mastectomy, one side."""
        ...

    def reject_image(
        self,
        study_instance_uid: str,
        sop_instance_uid: str,
        *,
        retake_uid: str | None = None,
        detail: str = "",
    ) -> bool:
        """The unit rejected an image; its retake supersedes it, whichever comes first.

        Says the `repeat` event itself, `detail` being the reason. False if that was known.
        """
        ...

    def begin_step(self, step: StepBegun) -> StepAnswer:
        """A performed procedure step begins."""
        ...

    def end_step(self, end: StepEnded) -> StepAnswer:
        """A performed procedure step ends; the last one of an exam closes it."""
        ...

    @property
    def modality_feed(self) -> ModalityFeed:
        """Where the unit's firmware tells its events, and hears of its exams."""
        ...

    def report(self, event: str, detail: str, *, source: str) -> None:
        """Logs and publishes something that an operator should know (refused association, …)."""
        ...


class Intake(Protocol):
    """One way for images to come in."""

    settings_type: ClassVar[type[BaseModel]]

    def __init__(self, settings: BaseModel) -> None: ...

    @property
    def address(self) -> str:
        """Where it listens, for people: `dicom://0.0.0.0:11112 (MAMMOEDGE)`, or a folder."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it still listens."""
        ...

    def start(self, receiver: Receiver) -> None:
        """Starts listening; returns when it does. Raises OSError if the address is taken."""
        ...

    def stop(self) -> None:
        """Stops taking new objects, lets those that are arriving finish (bounded), returns."""
        ...
