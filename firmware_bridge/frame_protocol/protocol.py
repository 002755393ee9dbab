"""The frame socket without a socket: packets in, frozen messages or refusals out.

Everything that decides whether a message may come now lives in the two tables of this file.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from firmware_bridge.frame_protocol.cbor import CborError, CborLimits, decode, encode
from firmware_bridge.frame_protocol.messages import (
    FIRMWARE_MESSAGES,
    MAX_MESSAGE_BYTES,
    VERSION,
    Acknowledged,
    Detector,
    ExamClosed,
    ExamOpened,
    Exposure,
    Fault,
    Frame,
    Heartbeat,
    Hello,
    Refusal,
    Refused,
    Repeat,
    Said,
)
from models.errors import PeerError

if TYPE_CHECKING:
    from firmware_bridge.frame_protocol.messages import Answer
    from runtime.image.reasons import Reason

EXAMS_REMEMBERED = 64
"""Exams that one connection may have open or closed; of more, the oldest must be opened again."""
DETAIL_FAULTS = 8
LARGEST_ID = 2**32 - 1


class ConnectionState(StrEnum):
    """Where a connection is in its life."""

    NEW = "new"
    READY = "ready"


class ExamState(StrEnum):
    """Where an exam is, as this connection tells it."""

    UNKNOWN = "unknown"
    OPEN = "open"
    CLOSED = "closed"


NEW, READY = ConnectionState.NEW, ConnectionState.READY
UNKNOWN, OPEN, CLOSED = ExamState.UNKNOWN, ExamState.OPEN, ExamState.CLOSED

# What is not in a table is out of order.
CONNECTION_LIFE: dict[tuple[ConnectionState, type[Said]], ConnectionState] = {
    (NEW, Hello): READY,
    (READY, ExamOpened): READY,
    (READY, Exposure): READY,
    (READY, Frame): READY,
    (READY, Repeat): READY,
    (READY, ExamClosed): READY,
    (READY, Fault): READY,
    (READY, Detector): READY,
    (READY, Heartbeat): READY,
    (READY, Acknowledged): READY,
}
# A late view opens its exam again; so does a firmware that rebooted in the middle of one.
EXAM_LIFE: dict[tuple[ExamState, type[Said]], ExamState] = {
    (UNKNOWN, ExamOpened): OPEN,
    (OPEN, ExamOpened): OPEN,
    (CLOSED, ExamOpened): OPEN,
    (OPEN, Exposure): OPEN,
    (OPEN, Frame): OPEN,
    (OPEN, Repeat): OPEN,
    (CLOSED, Repeat): CLOSED,
    (OPEN, ExamClosed): CLOSED,
    (CLOSED, ExamClosed): CLOSED,
}
OF_EXAMS = (ExamOpened, Exposure, Frame, Repeat, ExamClosed)
TYPES = frozenset(kind.model_fields["type"].annotation.__args__[0] for kind in Said.__args__)


class MessageRefusedError(PeerError):
    """A message that does nothing; the connection goes on.

    Attributes:
        id: of the message, None where none could be read.
        reason: what is wrong with it.
        detail: names fields and limits, never a value that was given.
        retry_after_ms: when it may be worth another try.
    """

    def __init__(
        self,
        reason: Refusal | Reason,
        *,
        id: int | None,  # noqa: A002 - the name that it has on the wire
        detail: str = "",
        retry_after_ms: int | None = None,
    ) -> None:
        self.id = id
        self.reason = reason
        self.detail = detail
        self.retry_after_ms = retry_after_ms
        super().__init__(f"{reason.value}: {detail}")

    @property
    def answer(self) -> Refused:
        """What the firmware is told."""
        return Refused(
            id=self.id,
            reason=self.reason,
            detail=self.detail,
            retry_after_ms=self.retry_after_ms,
        )


@dataclass(frozen=True, kw_only=True)
class Packet:
    """What one `recvmsg` gave. `truncated`: bytes or descriptors did not fit."""

    data: bytes
    descriptors: int = 0
    truncated: bool = False


class FrameProtocol:
    """One connection's rules. Not thread-safe: the connection's reader asks.

    Args:
        limits: of the CBOR reader.
    """

    def __init__(self, limits: CborLimits | None = None) -> None:
        self._limits = limits or CborLimits()
        self.state = ConnectionState.NEW
        self.hello: Hello | None = None
        self._exams: OrderedDict[str, tuple[ExamState, ExamOpened]] = OrderedDict()

    def receive(self, packet: Packet) -> Said:
        """The message of a packet; the tables have moved on.

        Raises:
            MessageRefusedError: it is none, or it may not come now; nothing has moved.
        """
        message = self._parsed(packet)
        if packet.descriptors != int(isinstance(message, Frame)):
            raise MessageRefusedError(
                Refusal.DESCRIPTORS,
                id=message.id,
                detail=f"{message.type} came with {packet.descriptors}",
            )
        state = CONNECTION_LIFE.get((self.state, type(message)))
        if state is None:
            raise MessageRefusedError(
                Refusal.OUT_OF_ORDER,
                id=message.id,
                detail="hello comes first" if self.state is NEW else f"{message.type} comes once",
            )
        if isinstance(message, OF_EXAMS):
            self._move_exam(message)
        if isinstance(message, Hello):
            self.hello = message
        self.state = state
        return message

    def exam(self, study_instance_uid: str) -> ExamOpened:
        """How the exam was opened on this connection. Raises KeyError."""
        return self._exams[study_instance_uid][1]

    def _move_exam(self, message: ExamOpened | Exposure | Frame | Repeat | ExamClosed) -> None:
        uid = message.study_instance_uid
        before, opened = self._exams.get(uid, (UNKNOWN, None))
        after = EXAM_LIFE.get((before, type(message)))
        opened = message if isinstance(message, ExamOpened) else opened
        if after is None or opened is None:
            raise MessageRefusedError(
                Refusal.OUT_OF_ORDER,
                id=message.id,
                detail=f"{message.type}: its exam is {before.value} on this connection",
            )
        self._exams[uid] = (after, opened)
        self._exams.move_to_end(uid)
        while len(self._exams) > EXAMS_REMEMBERED:
            self._exams.popitem(last=False)

    def _parsed(self, packet: Packet) -> Said:
        if packet.truncated or len(packet.data) > MAX_MESSAGE_BYTES:
            raise MessageRefusedError(
                Refusal.TOO_LARGE, id=None, detail="at most 64 KiB, and one file descriptor"
            )
        try:
            fields = decode(packet.data, self._limits)
        except CborError as error:
            raise MessageRefusedError(Refusal.MALFORMED, id=None, detail=str(error)) from None
        number = fields.get("id")
        known_id = number if type(number) is int and 0 <= number <= LARGEST_ID else None
        if fields.get("version") != VERSION:
            raise MessageRefusedError(
                Refusal.VERSION, id=known_id, detail=f"we speak version {VERSION}"
            )
        kind = fields.get("type")
        if not isinstance(kind, str) or kind not in TYPES:
            raise MessageRefusedError(Refusal.UNKNOWN_TYPE, id=known_id)
        try:
            return FIRMWARE_MESSAGES.validate_python(fields)
        except ValidationError as error:
            raise MessageRefusedError(Refusal.INVALID, id=known_id, detail=_faults(error)) from None


def _faults(error: ValidationError) -> str:
    """Which fields are wrong and how; what was given may be an identity, and is not repeated."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    faults = []
    for fault in found[:DETAIL_FAULTS]:
        # The first part of the place is the message's type; an unknown key is the peer's own word.
        known = fault["loc"][1:-1] if fault["type"] == "extra_forbidden" else fault["loc"][1:]
        place = ".".join(str(part) for part in known) or "message"
        faults.append(f"{place}: {fault['type']}")
    return "; ".join(faults)[:512]


def encode_answer(answer: Answer) -> bytes:
    """An answer as it goes into the socket."""
    fields: dict[str, Any] = answer.model_dump(mode="json", exclude_none=True)
    fields.setdefault("id", None)
    return encode(fields)
