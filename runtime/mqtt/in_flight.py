"""Messages of one connection that wait for their PUBACK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.ledger.outbox import OutboxRow

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class SentStatus:
    """The unit's `status`; `offline`: the last message of this connection."""

    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class Clearing:
    """Zero bytes on the retained topic of a row that expired."""

    seq: int


@dataclass(frozen=True, kw_only=True)
class SentProbe:
    """The unit's retained mark on the broker."""


InFlight = OutboxRow | SentStatus | Clearing | SentProbe


class InFlightMessages:
    """What was sent over a connection with QoS 1 and not acknowledged yet, by message id.

    `limit`: how many there may be. `monotonic` is in seconds. With the connection it is forgotten:
    the rows wait in the ledger.
    """

    def __init__(self, *, limit: int, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._sent: dict[int, tuple[InFlight, float]] = {}

    @property
    def room(self) -> int:
        """How many more may be sent."""
        return self._limit - len(self._sent)

    def add(self, mid: int, message: InFlight) -> None:
        """It is on the wire."""
        self._sent[mid] = (message, self._monotonic())

    def take(self, mid: int) -> InFlight | None:
        """The message that the broker answered; None if we wait for none of that id (QoS 0)."""
        answered = self._sent.pop(mid, None)
        return None if answered is None else answered[0]

    def oldest_s(self) -> float:
        """How long the oldest has waited."""
        sent_at_s = next((at_s for _message, at_s in self._sent.values()), None)
        return 0.0 if sent_at_s is None else self._monotonic() - sent_at_s

    def row_seqs(self) -> list[int]:
        """The numbers of the rows in flight."""
        return [row.seq for row, _at_s in self._sent.values() if isinstance(row, OutboxRow)]

    def clearing_seqs(self) -> set[int]:
        """The numbers of the rows whose topics are being cleared."""
        return {told.seq for told, _at_s in self._sent.values() if isinstance(told, Clearing)}
