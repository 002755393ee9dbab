"""A numbered message as the row of its unit's outbox that it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runtime.messages.payloads import DriftMessage, EventMessage, ExamMessage, Kind, ViewMessage
from runtime.messages.topics import Topics

if TYPE_CHECKING:
    from runtime.messages.payloads import NumberedMessage


class Row(NamedTuple):
    """A row as the unit's outbox has it."""

    seq: int
    kind: Kind
    topic: str
    payload: bytes


KIND_OF: dict[type[NumberedMessage], Kind] = {
    ExamMessage: Kind.EXAM,
    ViewMessage: Kind.VIEW,
    EventMessage: Kind.EVENT,
    DriftMessage: Kind.DRIFT,
}


def row_of(message: NumberedMessage) -> Row:
    """The row: equal to the ledger's, where both sides have the same version of the contract."""
    topics = Topics(site=message.site, unit=message.unit)
    kind = KIND_OF[type(message)]
    topic = topics.event if kind is Kind.EVENT else topics.drift
    if isinstance(message, ExamMessage):
        topic = topics.exam(message.exam_key)
    elif isinstance(message, ViewMessage):
        topic = topics.view(message.exam_key, message.view)
    return Row(message.seq, kind, topic, message.encode())
