"""Outbox to broker: each connection gets a session of its own.

The outbox is the only queue; nothing here holds a message that the ledger does not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runtime.mqtt.command_gate import CommandGate
from runtime.mqtt.connection import BrokerConnection
from runtime.mqtt.connection_thread import ConnectionThread
from runtime.mqtt.outbox_delivery import OutboxDelivery
from runtime.mqtt.publisher_state import PublisherState
from runtime.mqtt.session import BrokerSession, Providers

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from random import Random

    from runtime.messages.payloads import HealthFacts, StatusFacts
    from runtime.messages.status_reason import StatusReason
    from runtime.mqtt.connection_events import Connected, Signal
    from runtime.mqtt.outbox_delivery import OutboxLedger
    from runtime.mqtt.settings import BrokerSettings
    from runtime.publishing.message_factory import MessageFactory


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
        self._delivery = OutboxDelivery(
            ledger=ledger,
            message_factory=message_factory,
            refusal_backoff_s=settings.refusal_backoff_s,
            clock_ms=clock_ms,
            monotonic=monotonic,
        )
        self._gate = CommandGate(monotonic)
        self._state = PublisherState(monotonic)
        self._thread = ConnectionThread(
            self,
            settings,
            name="publisher",
            purpose="",
            wake=ledger.wake,
            randomness=randomness,
            monotonic=monotonic,
            # Two that take the name from each other at once would leave the site with neither.
            holds_back=lambda: self._state.contended,
        )

    def start(self) -> None:
        """Begins to connect; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Says `offline`, disconnects and returns: within `connect_timeout_s + stop_timeout_s`.

        The ledger must still be open.
        """
        self._thread.stop()

    def announce(self) -> None:
        """Something about the unit's state may have changed: say so now. Any thread, any time."""
        self._state.changed.set()
        self._ledger.wake()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after `start` and before `stop` is a defect."""
        return self._thread.alive

    @property
    def connected(self) -> bool:
        """Whether the broker has our birth message and the connection stands."""
        return self._state.connected.is_set()

    @property
    def problem(self) -> str:
        """Why there is no connection, for people; "" while there is one."""
        return "" if self.connected else self._state.refusal or self._thread.problem

    @property
    def faults(self) -> tuple[StatusReason, ...]:
        """Why the site cannot wholly rely on this connection, as reasons of `status`."""
        return self._state.faults

    def wait_connected(self, timeout_s: float) -> bool:
        """Blocks until `connected`, or the time-out; whether it is."""
        return self._state.connected.wait(timeout_s)

    # --- what the connection's thread asks for ------------------------------------------------

    def new_connection(self, signals: SimpleQueue[Signal]) -> BrokerConnection:
        """A connection under the unit's name, with `offline` as its will."""
        return BrokerConnection(
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

    def new_session(self, connection: BrokerConnection, connected: Connected) -> BrokerSession:
        """What is said and heard over that connection."""
        return BrokerSession(
            wire=connection,
            connected=connected,
            ledger=self._ledger,
            delivery=self._delivery,
            message_factory=self._message_factory,
            settings=self._settings,
            providers=self._providers,
            gate=self._gate,
            state=self._state,
        )
