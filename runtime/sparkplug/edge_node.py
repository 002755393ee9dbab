"""The unit as an edge node: a second connection to the same broker, with NDEATH as its will."""

from __future__ import annotations

import logging
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from runtime.ledger.ledger import LedgerError
from runtime.messages.payloads import Kind
from runtime.mqtt.connection import BrokerConnection, BrokerUnreachableError
from runtime.mqtt.connection_events import Connected, ConnectOptions, Heard, Lost, Signal
from runtime.publishing.publication import Announcement
from runtime.sparkplug.node import NodeCounters, NodeFacts, NodeTopics
from runtime.sparkplug.payload import asks_for_rebirth
from runtime.sparkplug.protobuf import MalformedError
from runtime.timing.backoff import Backoff
from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from runtime.ledger.ledger import Ledger
    from runtime.messages.payloads import StatusFacts
    from runtime.mqtt.settings import BrokerSettings

LOG = logging.getLogger(__name__)

BD_SEQ_NOTE = "sparkplug_bd_seq"
LOOK_S = 1.0
FLAGS_AT_ONCE = 100
COMMAND_LIMIT_BYTES = 4096
REBIRTHS_AT_ONCE, REBIRTHS_PER_S = 3, 0.2
# The payload is no text (MQTT 5, 3.3.2.3.2), and a death that was retained would outlive a birth.
TERMS = ConnectOptions(content_type=None, will_retained=False)


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
        self._monotonic = monotonic
        self._backoff = Backoff(
            first_s=broker.backoff_first_s,
            longest_s=broker.backoff_longest_s,
            randomness=randomness,
        )
        self._bucket = TokenBucket(
            capacity=REBIRTHS_AT_ONCE, per_s=REBIRTHS_PER_S, monotonic=monotonic
        )
        self._cursor = ledger.last_seq()
        self._last_flag: bytes | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sparkplug", daemon=True)

    def start(self) -> None:
        """Begins to connect; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Says NDEATH, disconnects and returns. The ledger must still be open."""
        self._stop.set()
        self._ledger.wake()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after `start` and before `stop` is a defect."""
        return self._thread.is_alive()

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        said = ""
        while not self._stop.is_set():
            try:
                problem = self._one_connection()
            except LedgerError as error:
                problem = f"the ledger failed: {error.detail}"
            if problem != said and not self._stop.is_set():
                LOG.warning("no broker for Sparkplug: %s", problem)
            said = problem
            self._stop.wait(self._backoff.next_s())

    def _one_connection(self) -> str:
        counters = NodeCounters(self._next_bd_seq())
        signals: SimpleQueue[Signal] = SimpleQueue()
        connection = BrokerConnection(
            self._broker,
            client_id=self._client_id,
            will=Announcement(self._topics.of("NDEATH"), counters.death(self._clock_ms())),
            signals=signals,
            wake=self._ledger.wake,
            accept=lambda size: size <= COMMAND_LIMIT_BYTES and self._bucket.take(),
            connect_options=TERMS,
        )
        try:
            connection.open()
        except BrokerUnreachableError as error:
            return str(error)
        try:
            return self._converse(connection, counters, signals)
        finally:
            connection.abandon()

    def _next_bd_seq(self) -> int:
        """Kept: a birth of ours must not bear the number of a death that is still on its way."""
        note = self._ledger.transact(lambda tx: tx.meta(BD_SEQ_NOTE))
        bd_seq = (int(note) + 1) % 256 if note else 0
        self._ledger.transact(lambda tx: tx.set_meta(BD_SEQ_NOTE, str(bd_seq)))
        return bd_seq

    def _converse(
        self, connection: BrokerConnection, counters: NodeCounters, signals: SimpleQueue[Signal]
    ) -> str:
        version, born_ms = 0, 0
        deadline_s = self._monotonic() + self._broker.connect_timeout_s
        while not self._stop.is_set():
            for signal in _waiting(signals):
                if isinstance(signal, Lost):
                    return signal.reason
                if isinstance(signal, Connected):
                    # The ears first, or a command between the two would be lost (5.4).
                    connection.listen([self._topics.of("NCMD")])
                    born_ms = self._say_births(connection, counters)
                    self._backoff.reset()
                    LOG.info("Sparkplug: born as %s", self._topics.of("NBIRTH"))
                elif isinstance(signal, Heard) and _is_rebirth(signal.payload):
                    self._say_births(connection, counters)
            if born_ms:
                self._say_news(connection, counters, born_ms)
            elif self._monotonic() > deadline_s:
                return "the broker says nothing"
            version = self._ledger.wait_for_rows(version, LOOK_S)
        connection.publish(self._topics.of("NDEATH"), counters.death(self._clock_ms()))
        connection.close(with_will=False, timeout_s=self._broker.stop_timeout_s)
        return "stopped"

    # --- saying -------------------------------------------------------------------------------

    def _facts(self) -> NodeFacts:
        return NodeFacts(
            status=self._status(),
            last_seq=self._ledger.last_seq(),
            waiting=self._ledger.backlog().waiting,
        )

    def _say_births(self, connection: BrokerConnection, counters: NodeCounters) -> int:
        """NBIRTH, then the device's; when that was."""
        now_ms = self._clock_ms()
        # Births and data go out with QoS 0 and are never retained (5.4, 5.6).
        connection.publish(self._topics.of("NBIRTH"), counters.birth(self._facts(), now_ms), qos=0)
        born = counters.device_birth(self._last_flag, now_ms)
        connection.publish(self._topics.of_device("DBIRTH"), born, qos=0)
        return now_ms

    def _say_news(self, connection: BrokerConnection, counters: NodeCounters, born_ms: int) -> None:
        rows = self._ledger.transact(
            lambda tx: [
                (seq, payload, tx.outbox.at_ms(seq))
                for seq, _kind, payload in tx.outbox.current_after(
                    self._cursor, (Kind.EXAM,), self._clock_ms(), FLAGS_AT_ONCE
                )
            ]
        )
        for seq, exam, at_ms in rows:
            said = counters.flag(exam, at_ms=self._clock_ms(), historical=at_ms < born_ms)
            connection.publish(self._topics.of_device("DDATA"), said, qos=0)
            self._cursor, self._last_flag = seq, exam
        if news := counters.news(self._facts(), self._clock_ms()):
            connection.publish(self._topics.of("NDATA"), news, qos=0)


def _waiting(signals: SimpleQueue[Signal]) -> list[Signal]:
    found: list[Signal] = []
    while True:
        try:
            found.append(signals.get_nowait())
        except Empty:
            return found


def _is_rebirth(command: bytes) -> bool:
    try:
        return asks_for_rebirth(command)
    except MalformedError as error:
        LOG.warning("Sparkplug: an NCMD that is none: %s", error)
        return False
