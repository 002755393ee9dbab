"""What the control process and a pixel worker say to each other, over a socket pair.

JSON behind a four-byte length, never pickle: a worker that a hostile codestream has taken over
must not be able to run code in the control process.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from models.errors import InternalError
from runtime.image.outcome import Execution, Job, JobOutcome, ModelRef

if TYPE_CHECKING:
    import socket

LENGTH = struct.Struct(">I")
assert LENGTH.size == 4  # noqa: S101 - checked once, at import
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


FileStamp = tuple[int, ...]


def file_stamp(path: str) -> FileStamp:
    """Changes with every write to the file, and with another file of its name; () without one."""
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(frozen=True, kw_only=True)
class Start:
    """The first message to a worker: everything that it needs to know."""

    package: Path
    model: ModelRef
    devices: tuple[str, ...]
    cache_folder: Path
    threads: int | None
    max_megapixels: float
    evidence_maps: bool
    allow_unsigned: bool
    trusted_keys: tuple[str, ...]
    previews: bool = False
    accept_image_types: tuple[str, ...] = ()
    say: Literal["start"] = "start"


@dataclass(frozen=True, kw_only=True)
class Anticipate:
    """A hint: this spooled view will be asked for in a moment. It makes no outcome by itself."""

    path: str
    stamp: FileStamp
    """Of the file, from before the control process hashed it."""
    say: Literal["anticipate"] = "anticipate"


@dataclass(frozen=True, kw_only=True)
class JudgeJob:
    """Do the job and answer with its outcome."""

    job: Job
    say: Literal["judge"] = "judge"


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The worker's engine is open."""

    execution: Execution
    versions: dict[str, str]
    say: Literal["ready"] = "ready"


@dataclass(frozen=True, kw_only=True)
class CannotStart:
    """The package or every device was refused; one sentence each."""

    faults: tuple[str, ...]
    say: Literal["cannot_start"] = "cannot_start"


@dataclass(frozen=True, kw_only=True)
class Anticipated:
    """The hint was followed, or could not be; either way the worker is free."""

    say: Literal["anticipated"] = "anticipated"


@dataclass(frozen=True, kw_only=True)
class Done:
    """A job's outcome."""

    outcome: JobOutcome
    memory_mb: float = 0.0
    say: Literal["done"] = "done"


@dataclass(frozen=True, kw_only=True)
class Faulted:
    """The engine failed under the job; the worker ends and wants to be replaced."""

    job_id: int
    detail: str
    say: Literal["faulted"] = "faulted"


ToWorker = Annotated[Start | Anticipate | JudgeJob, Field(discriminator="say")]
FromWorker = Annotated[
    Ready | CannotStart | Anticipated | Done | Faulted, Field(discriminator="say")
]
TO_WORKER: TypeAdapter[Start | Anticipate | JudgeJob] = TypeAdapter(ToWorker)
FROM_WORKER: TypeAdapter[Ready | CannotStart | Anticipated | Done | Faulted] = TypeAdapter(
    FromWorker
)


class LinkLostError(InternalError):
    """The other end is gone, too slow, or says what it must not say."""


@dataclass(frozen=True, kw_only=True)
class WorkerLink:
    """One end of the socket pair. A time-out is set on the socket itself."""

    socket: socket.socket
    peer: str = field(default="worker")

    def send(self, message: bytes) -> None:
        """Sends one message. Raises LinkLostError."""
        try:
            self.socket.sendall(LENGTH.pack(len(message)) + message)
        except OSError as error:
            raise LinkLostError(f"{self.peer}: {error}") from error

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self.socket.recv(size - len(parts))
            except OSError as error:
                raise LinkLostError(f"{self.peer}: {error or 'timed out'}") from error
            if not part:
                raise LinkLostError(f"{self.peer}: ended")
            parts += part
        return bytes(parts)

    def receive(self) -> bytes:
        """One message. Raises LinkLostError; a time-out is one."""
        (size,) = LENGTH.unpack(self._exactly(LENGTH.size))
        if size > MAX_MESSAGE_BYTES:
            raise LinkLostError(f"{self.peer}: a message of {size} bytes")
        return self._exactly(size)

    def ask(self, request: Start | Anticipate | JudgeJob) -> FromWorkerMessage:
        """Sends a request to a worker and waits for its one answer. Raises LinkLostError."""
        self.send(TO_WORKER.dump_json(request))
        try:
            return FROM_WORKER.validate_json(self.receive())
        except ValidationError as error:
            raise LinkLostError(
                f"{self.peer}: {error.error_count()} faults in its answer"
            ) from error


FromWorkerMessage = Ready | CannotStart | Anticipated | Done | Faulted
