"""The unit as an edge node: a second connection to the same broker, with NDEATH as its will."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.mqtt.connection import BrokerConnection
from runtime.mqtt.connection_events import ConnectOptions
from runtime.mqtt.connection_thread import ConnectionThread
from runtime.publishing.publication import Announcement
from runtime.sparkplug.node import NodeCounters
from runtime.sparkplug.session import FlagCursor, NodeSession
from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from random import Random

    from runtime.ledger.ledger import Ledger
    from runtime.messages.payloads import StatusFacts
    from runtime.mqtt.connection_events import Connected, Signal
    from runtime.mqtt.settings import BrokerSettings
    from runtime.sparkplug.node import NodeTopics

BD_SEQ_NOTE = "sparkplug_bd_seq"
COMMAND_LIMIT_BYTES = 4096
REBIRTHS_AT_ONCE, REBIRTHS_PER_S = 3, 0.2
# The payload is no text (MQTT 5, 3.3.2.3.2), and a death that was retained would outlive a birth.
NODE_OPTIONS = ConnectOptions(content_type=None, will_retained=False)


class EdgeNode:
    """Says births, flags and states in one thread of its own; flags that waited are historical.

    It never holds up the unit's own publisher: what Sparkplug's QoS 0 loses, our contract has.
    """

    def __init__(
        self,
        *,
        topics: NodeTopics,
        client_id: str,
        ledger: Ledger,
        broker: BrokerSettings,
        status_provider: Callable[[], StatusFacts],
        clock_ms: Callable[[], int],
        monotonic: Callable[[], float],
        randomness: Random,
    ) -> None:
        self._topics = topics
        self._client_id = client_id
        self._ledger = ledger
        self._broker = broker
        self._status = status_provider
        self._clock_ms = clock_ms
        self._bucket = TokenBucket(
            capacity=REBIRTHS_AT_ONCE, per_s=REBIRTHS_PER_S, monotonic=monotonic
        )
        self._cursor = FlagCursor(seq=ledger.last_seq())
        self._counters = NodeCounters(0)
        self._thread = ConnectionThread(
            self,
            broker,
            name="sparkplug",
            purpose=" for Sparkplug",
            wake=ledger.wake,
            randomness=randomness,
            monotonic=monotonic,
        )

    def start(self) -> None:
        """Begins to connect; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Says NDEATH, disconnects and returns. The ledger must still be open."""
        self._thread.stop()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after `start` and before `stop` is a defect."""
        return self._thread.alive

    # --- what the connection's thread asks for ------------------------------------------------

    def new_connection(self, signals: SimpleQueue[Signal]) -> BrokerConnection:
        """A connection that bears the next number of a death in its will."""
        self._counters = NodeCounters(self._next_bd_seq())
        return BrokerConnection(
            self._broker,
            client_id=self._client_id,
            will=Announcement(self._topics.of("NDEATH"), self._counters.death(self._clock_ms())),
            signals=signals,
            wake=self._ledger.wake,
            accept=lambda size: size <= COMMAND_LIMIT_BYTES and self._bucket.take(),
            connect_options=NODE_OPTIONS,
        )

    def new_session(self, connection: BrokerConnection, _connected: Connected) -> NodeSession:
        """What is said over that connection."""
        return NodeSession(
            wire=connection,
            counters=self._counters,
            topics=self._topics,
            cursor=self._cursor,
            ledger=self._ledger,
            status_provider=self._status,
            clock_ms=self._clock_ms,
        )

    def _next_bd_seq(self) -> int:
        """Kept: a birth of ours must not bear the number of a death that is still on its way."""
        note = self._ledger.transact(lambda tx: tx.meta(BD_SEQ_NOTE))
        bd_seq = (int(note) + 1) % 256 if note else 0
        self._ledger.transact(lambda tx: tx.set_meta(BD_SEQ_NOTE, str(bd_seq)))
        return bd_seq
