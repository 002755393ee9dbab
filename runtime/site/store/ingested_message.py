"""What came from the broker, on its way into the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.messages.payloads import Message


@dataclass(frozen=True, kw_only=True)
class IngestedMessage:
    """A message of a unit. `received_ms`: the site's clock, ms since the epoch, UTC.

    `retained`: the broker kept it from before and sent it because we subscribed: what it says is
    true, when it came says nothing.
    """

    message: Message
    received_ms: int
    retained: bool = False


@dataclass(frozen=True, kw_only=True)
class IngestedForeign:
    """Something on our topics that is none of our messages. `why` is a code.

    `place`: the beginning of its topic; nothing of its payload is kept.
    """

    place: str
    why: str
    received_ms: int


@dataclass(frozen=True, kw_only=True)
class Entered:
    """What a batch came to, once it is committed."""

    messages: int = 0
    """Taken into the figures for the first time, or newer than what stood there."""
    duplicates: int = 0
    """Numbers that were there already: QoS 1 may deliver twice, a replay does."""
    conflicts: int = 0
    """Numbers that were there already and said something else."""
    foreign: int = 0
