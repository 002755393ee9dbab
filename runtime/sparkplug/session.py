"""What the edge node says over one connection: births, flags, states, and NDEATH at the end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.messages.payloads import Kind
from runtime.mqtt.connection_events import Heard
from runtime.sparkplug.node import NodeFacts
from runtime.sparkplug.payload import asks_for_rebirth
from runtime.sparkplug.protobuf import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.ledger.ledger import Ledger
    from runtime.messages.payloads import StatusFacts
    from runtime.mqtt.connection_events import Lost, Signal
    from runtime.mqtt.session import Wire
    from runtime.sparkplug.node import NodeCounters, NodeTopics

LOG = logging.getLogger(__name__)

LOOK_S = 1.0
FLAGS_AT_ONCE = 100


@dataclass(kw_only=True)
class FlagCursor:
    """How far the flags are said; it outlives the connections. `last_flag`: an exam message."""

    seq: int
    last_flag: bytes | None = None


class NodeSession:
    """One life of the node, from its birth to its death. Flags that waited are historical."""

    def __init__(
        self,
        *,
        wire: Wire,
        counters: NodeCounters,
        topics: NodeTopics,
        cursor: FlagCursor,
        ledger: Ledger,
        status_provider: Callable[[], StatusFacts],
        clock_ms: Callable[[], int],
    ) -> None:
        self._wire = wire
        self._counters = counters
        self._topics = topics
        self._cursor = cursor
        self._ledger = ledger
        self._status = status_provider
        self._clock_ms = clock_ms
        self._born_ms = 0
        self._version = 0

    @property
    def stands(self) -> bool:
        """Whether the births were said."""
        return self._born_ms > 0

    def begin(self) -> None:
        """Listens for commands first, or one between the two would be lost (5.4)."""
        self._wire.listen([self._topics.of("NCMD")])
        self._born_ms = self._say_births()
        LOG.info("Sparkplug: born as %s", self._topics.of("NBIRTH"))

    def hear(self, signal: Signal) -> None:
        """A rebirth is obeyed."""
        if isinstance(signal, Heard) and _is_rebirth(signal.payload):
            self._say_births()

    def turn(self) -> None:
        """Says flags that are new, then what changed of the node."""
        rows = self._ledger.transact(
            lambda tx: [
                (seq, payload, tx.outbox.at_ms(seq))
                for seq, _kind, payload in tx.outbox.current_after(
                    self._cursor.seq, (Kind.EXAM,), self._clock_ms(), FLAGS_AT_ONCE
                )
            ]
        )
        for seq, exam, at_ms in rows:
            historical = at_ms < self._born_ms
            said = self._counters.flag(exam, at_ms=self._clock_ms(), historical=historical)
            self._wire.publish(self._topics.of_device("DDATA"), said, qos=0)
            self._cursor.seq, self._cursor.last_flag = seq, exam
        if news := self._counters.news(self._facts(), self._clock_ms()):
            self._wire.publish(self._topics.of("NDATA"), news, qos=0)

    def wait(self) -> None:
        """Until there are rows, a waking, or a look at the unit's state is due."""
        self._version = self._ledger.wait_for_rows(self._version, LOOK_S)

    def farewell(self) -> bool:
        """Says NDEATH, as the will would; a clean end does not wait for its acknowledgement."""
        self._wire.publish(self._topics.of("NDEATH"), self._counters.death(self._clock_ms()))
        return True

    def end(self, lost: Lost | None) -> None:
        """Nothing is to be cleared up: what QoS 0 loses, the MQTT contract has."""

    def _facts(self) -> NodeFacts:
        return NodeFacts(
            status=self._status(),
            last_seq=self._ledger.last_seq(),
            waiting=self._ledger.backlog().waiting,
        )

    def _say_births(self) -> int:
        """NBIRTH, then the device's; when that was."""
        now_ms = self._clock_ms()
        # Births and data go out with QoS 0 and are never retained (5.4, 5.6).
        born = self._counters.birth(self._facts(), now_ms)
        self._wire.publish(self._topics.of("NBIRTH"), born, qos=0)
        born = self._counters.device_birth(self._cursor.last_flag, now_ms)
        self._wire.publish(self._topics.of_device("DBIRTH"), born, qos=0)
        return now_ms


def _is_rebirth(command: bytes) -> bool:
    try:
        return asks_for_rebirth(command)
    except MalformedError as error:
        LOG.warning("Sparkplug: an NCMD that is none: %s", error)
        return False
