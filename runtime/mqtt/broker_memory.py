"""Whether the broker still has what it had retained for us, by a retained mark of our own.

A broker that lost its memory (no persistence, a torn file, another machine under its name) has no
flags for whoever subscribes later. A unit may read nothing of what it says itself but below
`command`, so the mark lies there: the number up to which its retained messages were acknowledged.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from runtime.messages.commands import CommandRefusedError, Probe, parse_probe
from runtime.mqtt.in_flight import SentProbe

if TYPE_CHECKING:
    from runtime.mqtt.in_flight import InFlightMessages
    from runtime.mqtt.outbox_delivery import OutboxDelivery, OutboxLedger

LOG = logging.getLogger(__name__)

ANSWER_S = 3.0
"""After it took our subscription a broker sends what it has retained there at once."""


class MarkWire(Protocol):
    """What it needs of a connection."""

    def watch(self, topic: str) -> None:
        """Asks for what the broker has retained there."""
        ...

    def unwatch(self) -> None:
        """Ends `watch`."""
        ...

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retained: bool = False,
        expiry_s: int | None = None,
    ) -> int:
        """Sends; the message id."""
        ...


class BrokerMemory:
    """One connection's look at the mark; used by the publisher's thread."""

    def __init__(
        self,
        *,
        wire: MarkWire,
        topic: str,
        ledger: OutboxLedger,
        ledger_id: str,
        delivery: OutboxDelivery,
        in_flight: InFlightMessages,
    ) -> None:
        self._wire = wire
        self._topic = topic
        self._ledger = ledger
        self._ledger_id = ledger_id
        self._delivery = delivery
        self._in_flight = in_flight
        self._mark: int | None = None
        self._heard_through = 0
        self._until_s: float | None = None

    def begin(self, now_s: float) -> None:
        """Asks for the mark."""
        self._wire.watch(self._topic)
        self._until_s = now_s + ANSWER_S

    def is_mark(self, topic: str) -> bool:
        """Whether that is where the mark lies."""
        return topic == self._topic

    def heard(self, payload: bytes, now_ms: int) -> bool:
        """The broker has a mark. Whether rows wait again."""
        try:
            mark = parse_probe(payload)
        except CommandRefusedError:
            mark = Probe(through_seq=0)
        known = mark.ledger_id == self._ledger_id and mark.through_seq <= self._ledger.last_seq()
        self._heard_through = mark.through_seq if known else 0
        return self._remembers(now_ms)

    def turn(self, now_s: float, now_ms: int) -> bool:
        """Gives up waiting for the mark, or writes it anew. Whether rows wait again."""
        if self._mark is None:
            late = self._until_s is not None and now_s >= self._until_s
            return late and self._remembers(now_ms)
        through = self._delivery.retained_through
        if through > self._mark and self._in_flight.room > 0:
            mark = Probe(through_seq=through, ledger_id=self._ledger_id)
            payload = mark.model_dump_json().encode()
            self._in_flight.add(
                self._wire.publish(self._topic, payload, retained=True), SentProbe()
            )
            self._mark = through
        return False

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until a missing mark is one; None once that is known."""
        if self._mark is not None or self._until_s is None:
            return None
        return max(0.0, self._until_s - now_s)

    def _remembers(self, now_ms: int) -> bool:
        if self._mark is not None:
            return False
        # A ledger that fails here is asked again: until it has answered, no mark claims anything.
        again = self._ledger.put_back(self._heard_through, now_ms)
        self._wire.unwatch()
        self._mark = self._heard_through
        if again:
            LOG.warning("the broker has forgotten retained messages: rows=%d", again)
        return again > 0
