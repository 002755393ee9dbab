"""Events of the unit itself, on their way to the site."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.ledger.ledger import Ledger
    from runtime.messages.payloads import EventKind
    from runtime.publishing.message_factory import MessageFactory

LOG = logging.getLogger(__name__)

REFUSALS_AT_ONCE = 20
REFUSALS_PER_S = 0.2


class EventReporter:
    """Implements `intake_ports.Reporter`. Thread-safe: the ledger serialises."""

    def __init__(
        self, *, ledger: Ledger, message_factory: MessageFactory, clock_ms: Callable[[], int]
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._clock_ms = clock_ms
        self._refusals = TokenBucket(
            capacity=REFUSALS_AT_ONCE, per_s=REFUSALS_PER_S, monotonic=time.monotonic
        )
        self._lock = threading.Lock()

    def publish(self, kind: EventKind, detail: str) -> None:
        """Queues an event. `detail` must not hold an identity."""
        now_ms = self._clock_ms()
        event = self._message_factory.event_message(kind, at_ms=now_ms, detail=detail)
        self._ledger.add_event(event, now_ms)

    def publish_refusal(self, kind: EventKind, detail: str) -> None:
        """Queues an event unless there were many: a sender that is refused again and again."""
        with self._lock:
            allowed = self._refusals.take()
        if allowed:
            self.publish(kind, detail)

    def report(self, kind: EventKind, detail: str, *, source: str) -> None:
        """Logs and publishes something that an operator should know."""
        LOG.warning("%s: %s: %s", source, kind.value, detail)
        self.publish(kind, f"{source}: {detail}")
