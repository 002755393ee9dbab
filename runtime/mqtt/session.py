"""What a unit says over one connection: `status`, its outbox, `health`, `offline` at the end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from runtime.ledger.ledger import LedgerError
from runtime.messages.commands import CommandRefusedError, parse_rebirth, parse_replay
from runtime.messages.payloads import EventKind, OutboxFacts
from runtime.mqtt.broker_memory import BrokerMemory, MarkWire
from runtime.mqtt.connection_events import Heard, PublishAcknowledged
from runtime.mqtt.in_flight import Clearing, InFlightMessages, SentProbe, SentStatus
from runtime.mqtt.outbox_delivery import FAILURE, PACKET_TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.messages.payloads import HealthFacts, StatusFacts
    from runtime.mqtt.command_gate import CommandGate
    from runtime.mqtt.connection_events import Connected, Lost, Signal
    from runtime.mqtt.outbox_delivery import OutboxDelivery, OutboxLedger, Outgoing
    from runtime.mqtt.publisher_state import PublisherState
    from runtime.mqtt.settings import BrokerSettings
    from runtime.publishing.message_factory import MessageFactory

LOG = logging.getLogger(__name__)

STATUS_LOOK_S = 5.0
CLEARING_S = 60.0
LEDGER_PAUSE_S = 1.0
NOT_AUTHORIZED = 0x87
PACKET_OVERHEAD_BYTES = 64
"""Fixed header, lengths and properties of our PUBLISH: 40 bytes, rounded up."""


class Wire(MarkWire, Protocol):
    """What a session needs of a connection."""

    def listen(self, topics: Sequence[str]) -> None:
        """Subscribes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Providers:
    """Where a session gets what is not in the outbox. All are called by the publisher's thread."""

    status: Callable[[], StatusFacts]
    health: Callable[[], HealthFacts]
    clock_ms: Callable[[], int]
    monotonic: Callable[[], float]


@dataclass(kw_only=True)
class Agenda:
    """When what is due next; seconds of the monotonic clock."""

    status_look_s: float = 0.0
    status_wanted: bool = True
    health_s: float = 0.0
    clearing_s: float = 0.0
    ledger_again_s: float = 0.0
    """Until then nothing is asked of a ledger that failed."""
    said: StatusFacts | None = None


class BrokerSession:
    """One connection of the publisher, from birth to `offline`; used by its thread."""

    def __init__(
        self,
        *,
        wire: Wire,
        connected: Connected,
        ledger: OutboxLedger,
        delivery: OutboxDelivery,
        message_factory: MessageFactory,
        settings: BrokerSettings,
        providers: Providers,
        gate: CommandGate,
        state: PublisherState,
    ) -> None:
        self._wire = wire
        self._connected = connected
        self._ledger = ledger
        self._delivery = delivery
        self._message_factory = message_factory
        self._settings = settings
        self._providers = providers
        self._gate = gate
        self._state = state
        limit = min(settings.in_flight, connected.receive_maximum)
        self._half_window = max(1, limit // 2)
        self._in_flight = InFlightMessages(limit=limit, monotonic=providers.monotonic)
        self._memory = BrokerMemory(
            wire=wire,
            topic=message_factory.topics.probe,
            ledger=ledger,
            ledger_id=message_factory.ledger_id or "",
            delivery=delivery,
            in_flight=self._in_flight,
        )
        self._packet_limit = connected.maximum_packet_bytes
        # Longer than the broker may stay silent on a connection that lives.
        self._patience_s = 2.0 * settings.keepalive_s
        self._agenda = Agenda()
        self._more = True
        self._version = 0
        self._offline_said = False
        self._offline_taken = False
        self._born = False
        self._born_s = 0.0

    @property
    def stands(self) -> bool:
        """Whether the broker has our birth message."""
        return self._born

    # --- one turn after the other -------------------------------------------------------------

    def begin(self) -> None:
        """Birth comes first; then we listen for commands."""
        self._say_status(self._providers.monotonic())
        self._wire.listen(
            [self._message_factory.topics.replay, self._message_factory.topics.rebirth]
        )
        self._memory.begin(self._providers.monotonic())

    def hear(self, signal: Signal) -> None:
        """Something happened on the connection."""
        try:
            if isinstance(signal, PublishAcknowledged):
                self._acknowledged(signal)
            elif isinstance(signal, Heard) and self._memory.is_mark(signal.topic):
                self._more |= self._memory.heard(signal.payload, self._providers.clock_ms())
            elif isinstance(signal, Heard):
                self._command(signal)
        except LedgerError as error:
            # What was refused or cleared waits in the ledger as before; a command is said again.
            LOG.error("an answer is not on record: %s", error)  # noqa: TRY400 - no defect of ours

    def turn(self) -> str | None:
        """Says what is due; why the connection is of no use any more, or None."""
        if self._in_flight.oldest_s() > self._patience_s:
            return "the broker acknowledges nothing"
        if self._state.changed.is_set():
            self._state.changed.clear()
            self._look_again()
        now_s = self._providers.monotonic()
        self._say_status(now_s)
        self._say_health(now_s)
        if now_s < self._agenda.ledger_again_s:
            return None
        try:
            self._send_rows()
            self._clear_expired(now_s)
            self._delivery.settle_if_due()
            self._more |= self._memory.turn(now_s, self._providers.clock_ms())
        except LedgerError as error:
            # The connection stays: it is what says that the ledger fails.
            LOG.error("messages wait: %s", error)  # noqa: TRY400 - no defect of ours
            self._agenda.ledger_again_s = now_s + LEDGER_PAUSE_S
        return None

    def wait(self) -> None:
        """Until something happens: rows, `Ledger.wake`, or a time that was set."""
        self._version = self._ledger.wait_for_rows(self._version, self._pause_s())

    def farewell(self) -> bool:
        """Says `offline` once there is room for it; whether the broker acknowledged it."""
        if not self._offline_said and self._in_flight.room > 0:
            self._offline_said = True
            self._send_status(self._providers.status(), SentStatus(offline=True))
        return self._offline_taken

    def end(self, lost: Lost | None) -> None:
        """The connection is over; None: by our own doing."""
        self._state.connected.clear()
        self._state.refusal = ""
        # What was in flight waits again; what was acknowledged is committed.
        self._delivery.settle()
        if lost is not None and lost.name_taken:
            self._somebody_has_our_name()
        elif lost is not None and self._born:
            self._state.was_lost(self._providers.monotonic() - self._born_s)

    def _somebody_has_our_name(self) -> None:
        if not self._state.name_taken:
            now_ms = self._providers.clock_ms()
            event = self._message_factory.event_message(
                EventKind.NAME_TAKEN,
                at_ms=now_ms,
                detail="another client connected to the broker under this unit's name; two units"
                " with the same settings, or a copy of this one?",
            )
            LOG.error("the broker gave this unit's name to another connection")
            self._ledger.add_event(event, now_ms)
        self._state.name_was_taken()

    def _look_again(self) -> None:
        """At the unit's state, at once; it is said if it changed."""
        self._agenda.status_look_s = 0.0

    def _pause_s(self) -> float:
        """Until the next thing that time alone makes due."""
        now_s = self._providers.monotonic()
        agenda = self._agenda
        if now_s < agenda.ledger_again_s:
            standing_s = min(agenda.status_look_s, agenda.health_s, agenda.ledger_again_s)
            return max(0.0, standing_s - now_s)
        due_in_s = [
            min(agenda.status_look_s, agenda.health_s, agenda.clearing_s) - now_s,
            self._delivery.settle_due_in_s(),
            self._delivery.held_due_in_s(),
            self._memory.due_in_s(now_s),
            STATUS_LOOK_S,
        ]
        return max(0.0, min(s for s in due_in_s if s is not None))

    # --- hearing ------------------------------------------------------------------------------

    def _acknowledged(self, signal: PublishAcknowledged) -> None:
        answered = self._in_flight.take(signal.mid)
        failed = signal.reason_code >= FAILURE
        if answered is None:
            return  # QoS 0
        if isinstance(answered, SentStatus):
            self._offline_taken = self._offline_taken or answered.offline
            if failed:
                self._status_refused(signal.reason_code)
            elif not self._born and not answered.offline:
                self._born = True
                self._born_s = self._providers.monotonic()
                LOG.info("connected: %s", self._connected.address)
                self._state.connected.set()
        elif isinstance(answered, SentProbe):
            if failed:
                LOG.warning("the broker refuses our mark: 0x%02x", signal.reason_code)
        elif isinstance(answered, Clearing):
            if not failed:
                self._ledger.cleared(answered.seq)
        elif self._delivery.acknowledged(answered, signal.reason_code):
            self._look_again()

    def _status_refused(self, reason_code: int) -> None:
        self._state.refusal = (
            f"the broker refuses our status: 0x{reason_code:02x}"
            f"{' (not authorized)' if reason_code == NOT_AUTHORIZED else ''};"
            " do its access rules and our certificate name this unit?"
        )
        LOG.error("%s", self._state.refusal)
        self._agenda.said = None

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
        self._look_again()

    # --- saying -------------------------------------------------------------------------------

    def _say_status(self, now_s: float) -> None:
        agenda = self._agenda
        if now_s < agenda.status_look_s and not agenda.status_wanted:
            return
        agenda.status_look_s = now_s + STATUS_LOOK_S
        facts = self._providers.status()
        agenda.status_wanted = agenda.status_wanted or facts != agenda.said
        if not agenda.status_wanted or self._in_flight.room < 1:
            return
        self._send_status(facts, SentStatus())
        agenda.said = facts
        agenda.status_wanted = False

    def _send_status(self, facts: StatusFacts, sent: SentStatus) -> None:
        said = self._message_factory.status_message(
            facts,
            at_ms=self._providers.clock_ms(),
            last_seq=self._ledger.last_seq(),
            offline=sent.offline,
        )
        self._in_flight.add(self._wire.publish(said.topic, said.payload, retained=True), sent)

    def _send_rows(self) -> None:
        """Fills the window. While a backlog waits, half a window at a time: fewer reads."""
        while self._in_flight.room >= (self._half_window if self._more else 1):
            asked = self._in_flight.room
            rows = self._delivery.next_rows(asked, in_flight=self._in_flight.row_seqs())
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
                self._look_again()
            return
        mid = self._wire.publish(
            outgoing.topic,
            outgoing.payload,
            retained=outgoing.retained,
            expiry_s=outgoing.expiry_s,
        )
        self._in_flight.add(mid, outgoing.row)

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
        if now_s < self._agenda.clearing_s or self._in_flight.room < 1:
            return
        now_ms = self._providers.clock_ms()
        expired = self._ledger.retained_topics_to_clear(now_ms)
        if self._providers.clock_ms() < now_ms:
            return  # the clock was set back meanwhile: what is due is asked again
        being_cleared = self._in_flight.clearing_seqs()
        due = [(topic, seq) for topic, seq in expired if seq not in being_cleared]
        for topic, seq in due[: self._in_flight.room]:
            mid = self._wire.publish(topic, b"", retained=True)
            self._in_flight.add(mid, Clearing(seq=seq))
        self._agenda.clearing_s = now_s + (CLEARING_S if len(due) <= self._in_flight.room else 1.0)
