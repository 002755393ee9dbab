"""A ledger and a publisher as the service wires them, for tests of the wire."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import EventKind, HealthFacts, StatusFacts
from runtime.mqtt.publisher import Publisher
from runtime.mqtt.settings import BrokerSettings
from runtime.publishing.message_factory import MessageFactory
from tests.support.builders import exam_flag

KEY = bytes(range(32))
MESSAGE_FACTORY = MessageFactory(site="st-anna", unit="mammo-1", boot_id="b00t", site_key=KEY)
ROOT = "mammoedge/v1/st-anna/mammo-1"


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class Unit:
    """A ledger and a publisher, as the service wires them."""

    def __init__(
        self,
        folder,
        port,
        *,
        boot_id="b00t",
        clock_ms=now_ms,
        **settings,
    ) -> None:
        folder.mkdir(exist_ok=True, parents=True)
        self.ledger = Ledger(folder / "ledger.db")
        self.message_factory = replace(
            MESSAGE_FACTORY, boot_id=boot_id, ledger_id=self.ledger.ledger_id
        )
        self.clock_ms = clock_ms
        self.reasons: tuple[str, ...] = ()
        facts = {
            "host": "127.0.0.1",
            "port": port,
            "tls": False,
            "backoff_first_s": 0.05,
            "backoff_longest_s": 0.2,
            "refusal_backoff_s": 0.05,
        }
        if "hosts" in settings:
            del facts["host"]
        self._settings = BrokerSettings(**(facts | settings))
        self.publisher = self._publisher()

    def _publisher(self) -> Publisher:
        return Publisher(
            ledger=self.ledger,
            message_factory=self.message_factory,
            settings=self._settings,
            clock_ms=self.clock_ms,
            randomness=random.Random(1),
            status_provider=self._status,
            health_provider=HealthFacts,
        )

    def _status(self) -> StatusFacts:
        return StatusFacts(reasons=self.reasons + self.publisher.faults)

    def succeed(self) -> Publisher:
        """The next publisher on the same ledger, as after a restart; it is connected."""
        successor = self._publisher()
        successor.start()
        assert successor.wait_connected(10), successor.problem
        return successor

    def say(self, count=1, *, at_ms=None, kind=EventKind.EXPOSURE) -> int:
        """Queues events; the last number."""
        at_ms = at_ms or self.clock_ms()
        for _ in range(count):
            seq = self.ledger.add_event(
                self.message_factory.event_message(kind, at_ms=at_ms), at_ms
            )
        return seq

    def say_exam(self, *, revision=1, at_ms=None, expiry_s=3600, study="1.2.3") -> int:
        """Queues a revision of an exam's flag; its number."""
        at_ms = at_ms or self.clock_ms()
        message_factory = replace(self.message_factory, exam_expiry_s=expiry_s)
        said = message_factory.exam_message(
            exam_flag(revision=revision, study_instance_uid=study), at_ms=at_ms
        )
        return self.ledger.add_event(said, at_ms)

    def start(self):
        """Starts the publisher and waits for the connection."""
        self.publisher.start()
        assert self.publisher.wait_connected(10), self.publisher.problem
        return self

    def all_delivered(self) -> bool:
        """Whether the outbox is empty."""
        return self.ledger.backlog().waiting == 0

    def close(self) -> None:
        """Stops in order."""
        self.publisher.stop()
        self.ledger.close()
