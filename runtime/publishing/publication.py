"""Something on its way out: a message for the outbox, or a standing one for the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from runtime.messages.payloads import PayloadTooLargeError

if TYPE_CHECKING:
    from runtime.messages.payloads import Kind, NumberedMessage


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A message on its way into the outbox; the ledger numbers it."""

    kind: Kind
    topic: str
    message: NumberedMessage
    retained: bool
    expiry_s: int
    content_key: str = ""
    """The exam's key, by which a later revision supersedes an earlier one; "" where none does."""

    def payload(self, seq: int) -> bytes:
        """UTF-8 JSON with that number, at most 16 KiB. A list that is too long is cut and says so.

        Raises:
            PayloadTooLargeError: it is too large and nothing may be left out.
        """
        message = self.message.numbered(seq)
        while True:
            try:
                return message.encode()
            except PayloadTooLargeError:
                shorter = message.shortened()
                if shorter is None:
                    raise
                message = shorter


class Announcement(NamedTuple):
    """A standing message, ready for the wire."""

    topic: str
    payload: bytes
