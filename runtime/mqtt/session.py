"""What is said over one connection: birth, backlog, news, health, and goodbye."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import Enum, auto
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from runtime.messages.commands import CommandRefusedError, parse_rebirth, parse_replay
from runtime.messages.payloads import OutboxFacts
from runtime.mqtt.connection_events import Acknowledged, Heard, Lost, Signal
from runtime.mqtt.outbox_delivery import FAILURE, PACKET_TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.ledger.outbox import OutboxRow
    from runtime.messages.payloads import HealthFacts, StatusFacts
    from runtime.mqtt.connection_events import Connected
    from runtime.mqtt.outbox_delivery import OutboxDelivery, OutboxLedger, Outgoing
    from runtime.mqtt.settings import BrokerSettings
    from runtime.publishing.message_factory import MessageFactory
    from runtime.timing.token_bucket import TokenBucket

LOG = logging.getLogger(__name__)

STATUS_LOOK_S = 5.0
CLEARING_S = 60.0
NOT_AUTHORIZED = 0x87
PACKET_OVERHEAD_BYTES = 64
"""Fixed header, lengths and properties of our PUBLISH: 40 bytes, rounded up."""


class Wire(Protocol):
    """What a session needs of a connection."""

    def listen(self, topics: Sequence[str]) -> None:
        """Subscribes."""
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


@dataclass(kw_only=True)
class CommandGate:
    """Which commands are let in; its count outlives the connections."""

    bucket: TokenBucket
    limit_bytes: int
    refused: int = 0

    def admit(self, size_bytes: int) -> bool:
        """Whether a message of that size may be looked at now. Called by the socket's thread."""
        admitted = size_bytes <= self.limit_bytes and self.bucket.take()
        if not admitted:
            self.refused += 1
        return admitted


@dataclass(frozen=True, kw_only=True)
class Providers:
    """Where a session gets what is not in the outbox. All are called by the publisher's thread."""

    status: Callable[[], StatusFacts]
    health: Callable[[], HealthFacts]
    clock_ms: Callable[[], int]
    monotonic: Callable[[], float]


class InFlightKind(Enum):
    """What a message in flight is, besides a row."""

    STATUS = auto()
    CLEARING = auto()


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """A message without its PUBACK."""

    what: OutboxRow | InFlightKind
    seq: int
    sent_at_s: float


@dataclass(kw_only=True)
class Agenda:
    """When what is due next; seconds of the monotonic clock."""

    status_look_s: float = 0.0
    status_wanted: bool = True
    health_s: float = 0.0
    clearing_s: float = 0.0
    said: StatusFacts | None = None
    clearing: set[int] = field(default_factory=set)


class BrokerSession:
    """One conversation with the broker, in the publisher's thread."""

    def __init__(
        self,
        *,
        wire: Wire,
        connected: Connected,
        signals: SimpleQueue[Signal],
        ledger: OutboxLedger,
        delivery: OutboxDelivery,
        message_factory: MessageFactory,
        settings: BrokerSettings,
        providers: Providers,
        gate: CommandGate,
    ) -> None:
        self._wire = wire
        self._signals = signals
        self._ledger = ledger
        self._delivery = delivery
        self._message_factory = message_factory
        self._settings = settings
        self._providers = providers
        self._gate = gate
        self._limit = min(settings.in_flight, connected.receive_maximum)
        self._packet_limit = connected.maximum_packet_bytes
        # Longer than the broker may stay silent on a connection that lives.
        self._patience_s = 2.0 * settings.keepalive_s
        self._in_flight: dict[int, InFlight] = {}
        self._agenda = Agenda()
        self._more = True
        self._version = 0
        self.lost: str | None = None
        self.refusal = ""
        self.name_taken = False
        self.born = False

    def announce(self) -> None:
        """Looks at the unit's state again at once, and says it if it changed."""
        self._agenda.status_look_s = 0.0

    # --- the conversation ---------------------------------------------------------------------

    def turn(self) -> None:
        """One round: hear, say what is due. `lost` says when there is nothing left to do."""
        self._hear()
        if self.lost is not None:
            return
        now_s = self._providers.monotonic()
        self._say_status(now_s)
        self._send_rows()
        self._say_health(now_s)
        self._clear_expired(now_s)
        self._delivery.settle_if_due()

    def wait(self) -> None:
        """Until something happens: rows, a signal, `Ledger.wake`, or a time that was set."""
        if self.lost is None and self._signals.empty():
            self._version = self._ledger.wait_for_rows(self._version, self._pause_s())

    def begin(self) -> None:
        """Birth comes first; then the ears are opened."""
        self._say_status(self._providers.monotonic())
        self._wire.listen(
            [self._message_factory.topics.replay, self._message_factory.topics.rebirth]
        )

    def farewell(self) -> bool:
        """Says `offline` and waits for the acknowledgements; whether the broker has it."""
        deadline_s = self._providers.monotonic() + self._settings.stop_timeout_s
        said: int | None = None
        while self.lost is None:
            self._hear()
            if said is None and self._room > 0:
                said = self._say_offline()
            if said is not None and said not in self._in_flight:
                break
            left_s = deadline_s - self._providers.monotonic()
            if left_s <= 0:
                break
            if self._signals.empty():
                self._version = self._ledger.wait_for_rows(self._version, left_s)
        return said is not None and said not in self._in_flight and self.lost is None

    @property
    def _room(self) -> int:
        return self._limit - len(self._in_flight)

    def _pause_s(self) -> float:
        """Until the next thing that time alone makes due."""
        now_s = self._providers.monotonic()
        agenda = self._agenda
        due_in_s = [
            min(agenda.status_look_s, agenda.health_s, agenda.clearing_s) - now_s,
            self._delivery.settle_due_in_s(),
            self._delivery.held_due_in_s(),
            STATUS_LOOK_S,
        ]
        return max(0.0, min(s for s in due_in_s if s is not None))

    # --- hearing ------------------------------------------------------------------------------

    def _hear(self) -> None:
        while True:
            try:
                signal = self._signals.get_nowait()
            except Empty:
                break
            if isinstance(signal, Acknowledged):
                self._acknowledged(signal)
            elif isinstance(signal, Heard):
                self._command(signal)
            elif isinstance(signal, Lost):
                self.lost = signal.reason
                self.name_taken = signal.name_taken
        oldest = next(iter(self._in_flight.values()), None)
        if oldest and self._providers.monotonic() - oldest.sent_at_s > self._patience_s:
            self.lost = "the broker acknowledges nothing"

    def _acknowledged(self, signal: Acknowledged) -> None:
        flown = self._in_flight.pop(signal.mid, None)
        if flown is None:
            return  # QoS 0
        failed = signal.reason_code >= FAILURE
        if flown.what is InFlightKind.STATUS:
            self.born = self.born or not failed
            if failed:
                self.refusal = (
                    f"the broker refuses our status: 0x{signal.reason_code:02x}"
                    f"{' (not authorized)' if signal.reason_code == NOT_AUTHORIZED else ''};"
                    " do its access rules and our certificate name this unit?"
                )
                LOG.error("%s", self.refusal)
                self._agenda.said = None
        elif flown.what is InFlightKind.CLEARING:
            self._agenda.clearing.discard(flown.seq)
            if not failed:
                self._ledger.cleared(flown.seq)
        elif self._delivery.acknowledged(flown.seq, signal.reason_code):
            self.announce()

    def _command(self, heard: Heard) -> None:
        try:
            if heard.topic == self._message_factory.topics.replay:
                self._replay(parse_replay(heard.payload).from_seq)
            elif heard.topic == self._message_factory.topics.rebirth:
                parse_rebirth(heard.payload)
                self._agenda.status_wanted = True
        except CommandRefusedError as refusal:
            self._gate.refused += 1
            LOG.warning("command refused: %s", refusal.why)

    def _replay(self, from_seq: int) -> None:
        if from_seq > self._ledger.last_seq():
            raise CommandRefusedError("from_seq_not_given_yet")
        self._delivery.settle()
        LOG.info("replay: from_seq=%d rows=%d", from_seq, self._ledger.replay_from(from_seq))
        self._more = True
        self.announce()

    # --- saying -------------------------------------------------------------------------------

    def _say_status(self, now_s: float) -> None:
        agenda = self._agenda
        if now_s < agenda.status_look_s and not agenda.status_wanted:
            return
        agenda.status_look_s = now_s + STATUS_LOOK_S
        facts = self._providers.status()
        agenda.status_wanted = agenda.status_wanted or facts != agenda.said
        if not agenda.status_wanted or self._room < 1:
            return
        said = self._message_factory.status_message(
            facts, at_ms=self._providers.clock_ms(), last_seq=self._ledger.last_seq()
        )
        self._fly(
            InFlightKind.STATUS, 0, self._wire.publish(said.topic, said.payload, retained=True)
        )
        agenda.said = facts
        agenda.status_wanted = False

    def _say_offline(self) -> int:
        said = self._message_factory.status_message(
            self._providers.status(),
            at_ms=self._providers.clock_ms(),
            last_seq=self._ledger.last_seq(),
            offline=True,
        )
        mid = self._wire.publish(said.topic, said.payload, retained=True)
        self._fly(InFlightKind.STATUS, 0, mid)
        return mid

    def _send_rows(self) -> None:
        """Fills the window. While a backlog waits, half a window at a time: fewer reads."""
        while self._room >= (max(1, self._limit // 2) if self._more else 1):
            asked = self._room
            rows = self._delivery.next_rows(asked)
            for outgoing in rows:
                self._send(outgoing)
            self._more = len(rows) == asked
            if not rows:
                return

    def _send(self, outgoing: Outgoing) -> None:
        size = len(outgoing.payload) + len(outgoing.topic) + PACKET_OVERHEAD_BYTES
        if self._packet_limit is not None and size > self._packet_limit:
            # To send it would end the connection (MQTT 5, 3.2.2.3.6): the next row with it.
            if self._delivery.refuse(outgoing.row, PACKET_TOO_LARGE):
                self.announce()
            return
        mid = self._wire.publish(
            outgoing.topic,
            outgoing.payload,
            retained=outgoing.retained,
            expiry_s=outgoing.expiry_s,
        )
        self._delivery.sent(outgoing.row)
        self._fly(outgoing.row, outgoing.row.seq, mid)

    def _fly(self, what: OutboxRow | InFlightKind, seq: int, mid: int) -> None:
        self._in_flight[mid] = InFlight(what=what, seq=seq, sent_at_s=self._providers.monotonic())

    def _say_health(self, now_s: float) -> None:
        if now_s < self._agenda.health_s:
            return
        self._agenda.health_s = now_s + self._settings.health_interval_s
        now_ms = self._providers.clock_ms()
        backlog = self._ledger.backlog()
        oldest_ms = backlog.oldest_at_ms
        outbox = OutboxFacts(
            waiting=backlog.waiting,
            oldest_s=None if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000),
            parked=backlog.parked,
            commands_refused=self._gate.refused,
        )
        said = self._message_factory.health_message(
            self._providers.health(), outbox, at_ms=now_ms, last_seq=self._ledger.last_seq()
        )
        self._wire.publish(said.topic, said.payload, qos=0, retained=True)

    def _clear_expired(self, now_s: float) -> None:
        """Zero-byte retained messages on topics whose flag expired.

        Read and sent in one go: a clearing that waited here could wipe out a newer revision.
        """
        if now_s < self._agenda.clearing_s or self._room < 1:
            return
        now_ms = self._providers.clock_ms()
        expired = self._ledger.retained_topics_to_clear(now_ms)
        if self._providers.clock_ms() < now_ms:
            return  # the clock was set back meanwhile: what is due is asked again
        due = [(topic, seq) for topic, seq in expired if seq not in self._agenda.clearing]
        for topic, seq in due[: self._room]:
            self._agenda.clearing.add(seq)
            self._fly(InFlightKind.CLEARING, seq, self._wire.publish(topic, b"", retained=True))
        self._agenda.clearing_s = now_s + (CLEARING_S if len(due) <= self._room else 1.0)
