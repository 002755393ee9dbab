"""How images come in: what an intake is given, by who needs what, and what it must be.

An intake is found by the entry point group `mammoedge.intakes`; its section of `unit.toml` is
`[intake.NAME]`, checked against the intake's own `settings_type`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from models.errors import PeerError, ResourceError
from runtime.image.header import passed_over
from runtime.image.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from runtime.exam_rules.exam_flag import Completion, ExamFlag
    from runtime.exam_rules.procedure_step import StepAnswer, StepBegun, StepEnded
    from runtime.messages.payloads import EventKind, Kind, StatusFacts

FRAMES = "frames"
"""The source of images that came as frames; see Receipt.TWIN."""


class Receipt(StrEnum):
    """What became of an object that was handed over."""

    STORED = "stored"
    KNOWN = "known"
    """The same bytes again: the same image, whose file is in the spool or was judged."""
    CONFLICT = "conflict"
    """Other bytes under a known SOP Instance UID: kept, the first stands. The worker compares the

    pixels of both; events say what it found.
    """
    TWIN = "twin"
    """The same image once as a frame and once as the unit's own object: kept, the first stands."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """A durable receipt: the file is fsynced and its row committed."""

    image_id: int
    receipt: Receipt
    instead_of: str = ""
    """The lost or damaged spooled file that this one stands in for, if it does."""


class ObjectRefusedError(PeerError):
    """The object was not taken. Nothing of it was kept."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason.value}: {detail}")


class ObjectPassedOverError(ObjectRefusedError):
    """No image: a report, a presentation state, … `name` says which. No fault, and no event."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(Reason.NOT_MAMMOGRAPHY, passed_over(name))


class OutOfRoomError(ResourceError):
    """The disk is below its reserve (or the backlog above its limit): try again later."""


class ObjectReceiver(Protocol):
    """Takes the objects that come in. Thread-safe."""

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
            ObjectPassedOverError: a DICOM object that is no image.
            ObjectRefusedError: not a mammogram, unreadable header, …; an event was published.
            OutOfRoomError: see `check_room`.
        """
        ...


class NoticeReceiver(Protocol):
    """Takes what the modality says about its exams. Thread-safe."""

    def close_exam(self, study_uid: str, by: Completion) -> ExamFlag | None:
        """No more images of the exam will come (exam_closed, MPPS); its flag, if that ended it."""
        ...

    def narrow_views(self, study_uid: str, views: Sequence[str]) -> None:
        """Only these views (`LCC`, …) will be taken: mastectomy, one side."""
        ...

    def reject_image(
        self, study_uid: str, sop_uid: str, *, retake_uid: str | None = None, detail: str = ""
    ) -> bool:
        """An image was rejected; its retake supersedes it, whichever comes first.

        Says the `repeat` event itself, `detail` being the reason. False if that was known.
        """
        ...

    def begin_step(self, step: StepBegun) -> StepAnswer:
        """A performed procedure step begins."""
        ...

    def end_step(self, end: StepEnded) -> StepAnswer:
        """A performed procedure step ends; the last one of an exam closes it."""
        ...


@dataclass(frozen=True, kw_only=True)
class ModalityEvent:
    """Something that the modality says happened. No field holds a person's identity."""

    kind: EventKind
    study_instance_uid: str | None = None
    sop_instance_uid: str | None = None
    detail: str = ""
    data: Mapping[str, str | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FeedEntry:
    """One row of the outbox for the modality: the same fields as on MQTT, and whose it is."""

    seq: int
    kind: Kind
    fields: dict[str, Any]
    study_instance_uid: str
    sop_instance_uids: Mapping[str, str]
    """By image key: every image of the exam."""


class Feed(Protocol):
    """Where the modality tells its events, and hears of its exams. Thread-safe.

    Raises LedgerError where the ledger fails.
    """

    def tell(self, event: ModalityEvent) -> None:
        """Puts the event on its way to the site; returns when it is durable."""
        ...

    def open_listener(self, name: str) -> int:
        """Up to which `seq` that listener has heard everything."""
        ...

    def acknowledge(self, name: str, seq: int) -> None:
        """The listener has everything up to `seq`."""
        ...

    def after(self, seq: int, limit: int) -> tuple[list[FeedEntry], int]:
        """What was said after `seq` and still holds, in order, and up to where that goes."""
        ...

    def status(self) -> tuple[StatusFacts, dict[str, Any]]:
        """What the unit knows of itself, and the same as `status` says it on MQTT."""
        ...

    def wait(self, after_version: int, timeout_s: float) -> int:
        """Blocks until something may have been said since that version; the version then."""
        ...

    def wake(self) -> None:
        """Ends every `wait` at once."""
        ...


class Reporter(Protocol):
    """Takes what an operator should know. Thread-safe."""

    def report(self, kind: EventKind, detail: str, *, source: str) -> None:
        """Logs and publishes it (refused association, …); `source` is the intake's name."""
        ...


@dataclass(frozen=True, kw_only=True)
class IntakePorts:
    """All that an intake knows of the rest of the runtime."""

    objects: ObjectReceiver
    notices: NoticeReceiver
    feed: Feed
    events: Reporter


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

    def start(self, ports: IntakePorts) -> None:
        """Starts listening; returns when it does. Raises OSError if the address is taken."""
        ...

    def stop(self) -> None:
        """Stops taking new objects, lets those that are arriving finish (bounded), returns."""
        ...
