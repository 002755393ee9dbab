"""The outbox's rows on their way to the broker: which may be sent, and what was answered."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from runtime.ledger.outbox import Backlog, OutboxRow
    from runtime.publishing.message_factory import MessageFactory
    from runtime.publishing.publication import Publication

LOG = logging.getLogger(__name__)

FAILURE = 0x80
"""Reasons from here on are refusals (MQTT 5, 2.4); 0x10 "no matching subscribers" is none."""
PACKET_TOO_LARGE = 0x95
LONGEST_EXPIRY_S = 0xFFFF_FFFF
REFUSALS_BEFORE_PARKING = 3
SETTLE_AFTER_S = 0.02
SETTLE_BACKLOG_AFTER_S = 0.5
"""While a backlog flows: each commit is an fsync, and on a busy disk a window of rows waits for it.
What a crash makes of it is sent twice, never lost."""
SETTLE_ROWS = 200
READ_AHEAD = 100


class OutboxLedger(Protocol):
    """What the publisher needs of the ledger. Thread-safe; writes return when committed."""

    def waiting(self, limit: int, *, skip: Collection[int] = ()) -> list[OutboxRow]:
        """The first `limit` rows neither delivered nor parked, in `seq` order."""
        ...

    def delivered(self, seqs: Sequence[int], at_ms: int) -> None:
        """The broker has these rows."""
        ...

    def refused(self, seq: int, reason_code: int, at_ms: int) -> int:
        """The broker refused the row; how often by now."""
        ...

    def park(self, seq: int, event: Publication | None, at_ms: int) -> None:
        """Takes the row out of the queue; adds the event in the same transaction."""
        ...

    def replay_from(self, seq: int) -> int:
        """Makes rows wait again; how many."""
        ...

    def put_back(self, after_seq: int, now_ms: int) -> int:
        """Retained rows behind a number that still hold wait again; how many."""
        ...

    def retained_topics_to_clear(self, now_ms: int) -> list[tuple[str, int]]:
        """(topic, seq) of delivered retained messages that expired."""
        ...

    def cleared(self, seq: int) -> None:
        """The retained topic of that row was cleared."""
        ...

    def last_seq(self) -> int:
        """The highest number ever given."""
        ...

    def backlog(self) -> Backlog:
        """Counts of waiting and parked rows."""
        ...

    def add_event(self, publication: Publication, at_ms: int) -> int:
        """Queues one event by itself; its number."""
        ...

    def wait_for_rows(self, after_version: int, timeout_s: float) -> int:
        """Blocks until rows were added, or `wake`, after that version; the version then."""
        ...

    def wake(self) -> None:
        """Ends `wait_for_rows`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A row as it goes out now."""

    row: OutboxRow
    topic: str
    payload: bytes
    retained: bool
    expiry_s: int


class OutboxDelivery:
    """The state of one publisher's rows besides the ledger's; it outlives connections. One thread.

    A row leaves the ledger's queue only by `delivered` or `park`. Until then it is waiting there,
    and is not read twice while it is in flight (the connection knows), acknowledged but not yet
    committed, or refused and held back for a while.
    """

    def __init__(
        self,
        *,
        ledger: OutboxLedger,
        message_factory: MessageFactory,
        refusal_backoff_s: float,
        clock_ms: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._refusal_backoff_s = refusal_backoff_s
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._settled: list[int] = []
        self._settled_since_s = 0.0
        self._held: dict[int, float] = {}
        self._more_waits = False
        self._acknowledged_retained = 0
        self.retained_through = 0
        """The highest number of a retained row that the broker and the ledger know as delivered."""

    def next_rows(self, limit: int, *, in_flight: Collection[int]) -> list[Outgoing]:
        """Up to `limit` rows that may be sent now, in `seq` order; each as it must go out."""
        now_s = self._monotonic()
        self._held = {seq: due_s for seq, due_s in self._held.items() if due_s > now_s}
        skip = {*in_flight, *self._settled, *self._held}
        before_ms = self._clock_ms()
        asked = min(limit, READ_AHEAD)
        rows = self._ledger.waiting(asked, skip=skip)
        self._more_waits = len(rows) == asked
        # A clock that is set while we read must not make a row look older than it is.
        now_ms = min(before_ms, self._clock_ms())
        return [self._outgoing(row, now_ms) for row in rows]

    def _outgoing(self, row: OutboxRow, now_ms: int) -> Outgoing:
        if row.expires_at_ms <= now_ms:
            # Its number is still owed: the subscriber must see no gap, and no stale flag.
            expired = self._message_factory.about_row(
                EventKind.EXPIRED, at_ms=now_ms, kind=row.kind, payload=row.payload
            )
            return Outgoing(
                row=row,
                topic=expired.topic,
                payload=expired.payload(row.seq),
                retained=False,
                expiry_s=expired.expiry_s,
            )
        return Outgoing(
            row=row,
            topic=row.topic,
            payload=row.payload,
            # An older revision must not become the retained one again.
            retained=row.retained and not row.superseded,
            # Four bytes on the wire (MQTT 5, 3.3.2.3.3); a clock that was set back makes it longer.
            expiry_s=min(-((now_ms - row.expires_at_ms) // 1000), LONGEST_EXPIRY_S),
        )

    def acknowledged(self, row: OutboxRow, reason_code: int) -> bool:
        """The broker answered; True if that parked the row."""
        if reason_code < FAILURE:
            if not self._settled:
                self._settled_since_s = self._monotonic()
            self._settled.append(row.seq)
            if row.retained and row.seq > self._acknowledged_retained:
                self._acknowledged_retained = row.seq
            return False
        return self.refuse(row, reason_code)

    def refuse(self, row: OutboxRow, reason_code: int) -> bool:
        """Counts a refusal and holds the row back, or (the third time) parks it: then True."""
        now_ms = self._clock_ms()
        refusals = self._ledger.refused(row.seq, reason_code, now_ms)
        LOG.warning("row refused: seq=%d reason=0x%02x times=%d", row.seq, reason_code, refusals)
        if refusals < REFUSALS_BEFORE_PARKING:
            pause_s = self._refusal_backoff_s * 2 ** (refusals - 1)
            self._held[row.seq] = self._monotonic() + pause_s
            return False
        parked = self._message_factory.about_row(
            EventKind.PARKED,
            at_ms=now_ms,
            kind=row.kind,
            payload=row.payload,
            seq=row.seq,
            reason_code=reason_code,
        )
        # Where events are refused too, events about parked events would never end. (Our own JSON:
        # a quote inside a text is escaped there.)
        event = None if b'"event":"parked"' in row.payload else parked
        self._ledger.park(row.seq, event, now_ms)
        return True

    def settle(self) -> None:
        """Commits what was acknowledged."""
        if self._settled:
            self._ledger.delivered(tuple(self._settled), self._clock_ms())
            self._settled.clear()
            self.retained_through = self._acknowledged_retained

    def settle_if_due(self) -> None:
        """Commits once enough acknowledgements came together, or the first has waited long."""
        due = len(self._settled) >= SETTLE_ROWS or self.settle_due_in_s() == 0.0
        if self._settled and due:
            self.settle()

    def settle_due_in_s(self) -> float | None:
        """Seconds until `settle` is due; None if nothing waits for it."""
        if not self._settled:
            return None
        after_s = SETTLE_BACKLOG_AFTER_S if self._more_waits else SETTLE_AFTER_S
        return max(0.0, self._settled_since_s + after_s - self._monotonic())

    def held_due_in_s(self) -> float | None:
        """Seconds until a refused row may be tried again; None if there is none."""
        if not self._held:
            return None
        return max(0.0, min(self._held.values()) - self._monotonic())
