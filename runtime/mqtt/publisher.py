"""Outbox to broker: connects, keeps connecting, and hands each connection to a session.

The outbox is the only queue; nothing here holds a message that the ledger does not.
"""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from runtime.ledger.ledger import LedgerError
from runtime.messages.commands import COMMAND_LIMIT_BYTES
from runtime.messages.payloads import EventKind
from runtime.mqtt.connection import BrokerConnection, BrokerUnreachableError
from runtime.mqtt.connection_events import Connected, Lost, Signal
from runtime.mqtt.outbox_delivery import OutboxDelivery
from runtime.mqtt.session import BrokerSession, CommandGate, Providers
from runtime.timing.backoff import Backoff
from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from runtime.messages.payloads import HealthFacts, StatusFacts
    from runtime.mqtt.outbox_delivery import OutboxLedger
    from runtime.mqtt.settings import BrokerSettings
    from runtime.publishing.message_factory import MessageFactory

LOG = logging.getLogger(__name__)

NAME_TAKEN_S = 600.0
"""So long after somebody else connected under our name the unit says so."""
UNSTABLE_LOSSES, UNSTABLE_S = 3, 300.0
"""So many connections that the broker closed in that time are no accident."""
COMMANDS_AT_ONCE = 5
COMMANDS_PER_S = 0.1


class Publisher:
    """Publishes a unit's outbox, status and health, in one thread of its own.

    The broker may be away at the start and at any time after; attempts go on for ever. `clock_ms`
    is the wall clock (UTC), `monotonic` measures pauses, in seconds.
    """

    def __init__(
        self,
        *,
        ledger: OutboxLedger,
        message_factory: MessageFactory,
        settings: BrokerSettings,
        clock_ms: Callable[[], int],
        randomness: Random,
        status_provider: Callable[[], StatusFacts],
        health_provider: Callable[[], HealthFacts],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._settings = settings
        self._providers = Providers(
            status=status_provider,
            health=health_provider,
            clock_ms=clock_ms,
            monotonic=monotonic,
        )
        self._randomness = randomness
        self._backoff = Backoff(
            first_s=settings.backoff_first_s,
            longest_s=settings.backoff_longest_s,
            randomness=randomness,
        )
        self._delivery = OutboxDelivery(
            ledger=ledger,
            message_factory=message_factory,
            refusal_backoff_s=settings.refusal_backoff_s,
            clock_ms=clock_ms,
            monotonic=monotonic,
        )
        self._gate = CommandGate(
            bucket=TokenBucket(
                capacity=COMMANDS_AT_ONCE, per_s=COMMANDS_PER_S, monotonic=monotonic
            ),
            limit_bytes=COMMAND_LIMIT_BYTES,
        )
        self._stop = threading.Event()
        self._look = threading.Event()
        self._connected = threading.Event()
        self._problem = "not started"
        self._name_taken_s: float | None = None
        self._losses_s: tuple[float, ...] = ()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begins to connect; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Says `offline`, disconnects and returns: within `connect_timeout_s + stop_timeout_s`.

        The ledger must still be open.
        """
        self._stop.set()
        self._ledger.wake()
        if self._thread.is_alive():
            self._thread.join()

    def announce(self) -> None:
        """Something about the unit's state may have changed: say so now. Any thread, any time."""
        self._look.set()
        self._ledger.wake()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after `start` and before `stop` is a defect."""
        return self._thread.is_alive()

    @property
    def connected(self) -> bool:
        """Whether the broker has our birth message and the connection stands."""
        return self._connected.is_set()

    @property
    def problem(self) -> str:
        """Why there is no connection, for people; "" while there is one."""
        return "" if self.connected else self._problem

    @property
    def name_taken(self) -> bool:
        """Whether the broker of late gave this unit's name to another client, and said so."""
        taken_s = self._name_taken_s
        return taken_s is not None and self._providers.monotonic() - taken_s < NAME_TAKEN_S

    @property
    def unstable(self) -> bool:
        """Whether connections that stood were closed again and again.

        A broker that restarts, or another unit under this name: not every broker says which
        (Mosquitto 2.0.11 closes without the DISCONNECT of MQTT 5, 3.1.4).
        """
        now_s = self._providers.monotonic()
        return len([s for s in self._losses_s if now_s - s < UNSTABLE_S]) >= UNSTABLE_LOSSES

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the site cannot wholly rely on this connection, as reasons of `status`."""
        faults = (("name_taken", self.name_taken), ("connection_unstable", self.unstable))
        return tuple(reason for reason, holds in faults if holds)

    def wait_connected(self, timeout_s: float) -> bool:
        """Blocks until `connected`, or the time-out; whether it is."""
        return self._connected.wait(timeout_s)

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                problem = self._one_connection()
            except LedgerError as error:
                problem = f"the ledger failed: {error.detail}"
            if self._stop.is_set():
                break
            pause_s = self._pause_s()
            if problem != self._problem:
                LOG.warning("no broker: %s", problem)
            self._problem = problem
            self._stop.wait(pause_s)

    def _pause_s(self) -> float:
        if not self.faults:
            return self._backoff.next_s()
        # Two that take the name from each other at once would leave the site with neither.
        return self._randomness.uniform(0.5, 1.0) * self._settings.backoff_longest_s

    def _somebody_has_our_name(self) -> None:
        if not self.name_taken:
            now_ms = self._providers.clock_ms()
            event = self._message_factory.event_message(
                EventKind.NAME_TAKEN,
                at_ms=now_ms,
                detail="another client connected to the broker under this unit's name; two units"
                " with the same settings, or a copy of this one?",
            )
            LOG.error("the broker gave this unit's name to another connection")
            self._ledger.add_event(event, now_ms)
        self._name_taken_s = self._providers.monotonic()

    def _one_connection(self) -> str:
        """From connect to the end of the connection; why it ended."""
        signals: SimpleQueue[Signal] = SimpleQueue()
        connection = BrokerConnection(
            self._settings,
            # The same name each time: the broker then ends our half-open connection of before, and
            # with it publishes its will, *before* the birth that follows here. Under a new name
            # that will would come a keep-alive later, and the unit would stay "offline".
            client_id=f"mammoedge-{self._message_factory.site}-{self._message_factory.unit}",
            will=self._message_factory.last_will(
                self._providers.status(),
                at_ms=self._providers.clock_ms(),
                last_seq=self._ledger.last_seq(),
            ),
            signals=signals,
            wake=self._ledger.wake,
            accept=self._gate.admit,
        )
        try:
            connection.open()
        except BrokerUnreachableError as error:
            return str(error)
        try:
            first = self._first_signal(signals)
            if not isinstance(first, Connected):
                return first.reason if isinstance(first, Lost) else "the broker says nothing"
            return self._converse(connection, first, signals)
        finally:
            # After a clean close this does nothing; after anything else the will speaks for us.
            connection.abandon()

    def _first_signal(self, signals: SimpleQueue[Signal]) -> Signal | None:
        deadline_s = self._providers.monotonic() + self._settings.connect_timeout_s
        while not self._stop.is_set() and self._providers.monotonic() < deadline_s:
            try:
                return signals.get(timeout=0.2)
            except Empty:
                continue
        return None

    def _converse(
        self, connection: BrokerConnection, connected: Connected, signals: SimpleQueue[Signal]
    ) -> str:
        session = BrokerSession(
            wire=connection,
            connected=connected,
            signals=signals,
            ledger=self._ledger,
            delivery=self._delivery,
            message_factory=self._message_factory,
            settings=self._settings,
            providers=self._providers,
            gate=self._gate,
        )
        try:
            session.begin()
            while session.lost is None and not self._stop.is_set():
                if self._look.is_set():
                    self._look.clear()
                    session.announce()
                session.turn()
                if session.born and not self._connected.is_set():
                    LOG.info("connected: %s:%d", self._settings.host, self._settings.port)
                    self._backoff.reset()
                    self._connected.set()
                self._problem = session.refusal or self._problem
                session.wait()
            if session.lost is None:
                clean = session.farewell()
                connection.close(with_will=not clean, timeout_s=self._settings.stop_timeout_s)
        finally:
            self._connected.clear()
            self._delivery.connection_lost()
            if session.name_taken:
                self._somebody_has_our_name()
            elif session.born and session.lost is not None:
                losses_s = (*self._losses_s, self._providers.monotonic())
                self._losses_s = losses_s[-UNSTABLE_LOSSES:]
        return session.lost or "stopped"
