"""From the broker into the store: receives, commits, and only then acknowledges.

A batch that the database does not take stays here and is tried again; the broker keeps the rest,
because no more than `batch` messages are unacknowledged at any time. One thread.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from runtime.messages.payloads import ExamMessage, Message
from runtime.site.ingest.batch_writer import enter
from runtime.site.store.ingested_message import IngestedForeign, IngestedMessage
from runtime.site.store.store import StoreError
from runtime.site.subscriber.arrival import LinkChange
from runtime.site.subscriber.parsing import Foreign, read
from runtime.site.subscriber.subscriber import HeardMessage

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from queue import SimpleQueue

    from runtime.site.store.service_state import StateBoard
    from runtime.site.store.store import Store
    from runtime.site.subscriber.subscriber import Subscriber
    from runtime.timing.backoff import Backoff

LOG = logging.getLogger(__name__)

GATHER_S = 0.02
"""After the first message of a batch others may join it for so long."""
COMMITS_REMEMBERED = 200
PLACE_LIMIT = 120
HOPELESS_S = 60.0
"""So long without a connection that stands, what is kept for another is left for later."""


class Listener:
    """The loop. `errands`: what other threads want said through the subscriber; run here."""

    def __init__(
        self,
        *,
        site: str,
        subscriber: Subscriber,
        store: Store,
        board: StateBoard,
        backoff: Backoff,
        batch: int,
        errands: SimpleQueue[Callable[[Subscriber], None]],
        clock_ms: Callable[[], int],
        monotonic: Callable[[], float],
        committed: Callable[[], None],
        link_up: Callable[[], None],
        stands_aside_after_ms: int | None = None,
    ) -> None:
        self._site = site
        self._subscriber = subscriber
        self._store = store
        self._board = board
        self._backoff = backoff
        self._batch = batch
        self._errands = errands
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._committed = committed
        self._link_up = link_up
        self._stands_aside_after_ms = stands_aside_after_ms
        self._stands_aside = False
        self._waiting: list[HeardMessage] = []
        self._commits_s: deque[float] = deque(maxlen=COMMITS_REMEMBERED)

    def run(self, stop: threading.Event) -> None:
        """Until told to stop; what is committed by then is acknowledged."""
        while not stop.is_set():
            self._run_errands()
            if not self._stands_aside:
                self._gather()
            if self._waiting and not self._commit():
                self._stand_aside()
                stop.wait(self._backoff.next_s())

    def hear_out(self, stop: threading.Event, *, quiet_s: float, go_on: Callable[[], bool]) -> bool:
        """Until nothing came for `quiet_s` on a connection that stands; False: not to the end."""
        quiet_since_s: float | None = None
        connected_s = self._monotonic()
        while not stop.is_set() and go_on() and self._monotonic() - connected_s < HOPELESS_S:
            self._gather()
            now_s = self._monotonic()
            if self._board.now().broker_up:
                connected_s = now_s
            if self._waiting:
                quiet_since_s = None
                if not self._commit():
                    stop.wait(self._backoff.next_s())
            elif not self._board.now().broker_up:
                quiet_since_s = None
            elif quiet_since_s is None:
                quiet_since_s = now_s
            elif now_s - quiet_since_s >= quiet_s:
                return True
        return False

    def _stand_aside(self) -> None:
        """Who shares the load and can store nothing leaves the messages to those who can."""
        state, after_ms = self._board.now(), self._stands_aside_after_ms
        if after_ms is None or not state.broker_up or state.fault_since_ms is None:
            return
        if self._clock_ms() - state.fault_since_ms >= after_ms:
            LOG.warning("stands aside until the database takes messages again")
            self._stands_aside = True
            self._subscriber.stand_aside()
            self._board.say(broker_up=False, broker_problem="stands aside: see the database")

    def _run_errands(self) -> None:
        for _ in range(self._errands.qsize()):
            self._errands.get()(self._subscriber)

    def _gather(self) -> None:
        """Fills the batch; waits for the first message, hardly for the others."""
        deadline_s = self._monotonic() + (0.2 if not self._waiting else 0.0)
        while len(self._waiting) < self._batch:
            left_s = max(0.0, deadline_s - self._monotonic())
            heard = self._subscriber.receive(left_s)
            if heard is None:
                return
            if isinstance(heard, LinkChange):
                self._link_changed(heard)
            else:
                if not self._waiting:
                    deadline_s = self._monotonic() + GATHER_S
                self._waiting.append(heard)

    def _link_changed(self, link: LinkChange) -> None:
        problem = "" if link.up else link.reason
        if problem != self._board.now().broker_problem:
            LOG.log(logging.INFO if link.up else logging.WARNING, "broker: %s", problem or "up")
        self._board.say(broker_up=link.up, broker_problem=problem)
        if link.up:
            self._link_up()
        else:
            # The broker sends again what was not acknowledged: those that waited come back.
            self._waiting = [d for d in self._waiting if not d.mid]

    def _commit(self) -> bool:
        """Commits the batch and acknowledges it; False if the database did not take it."""
        ingested_messages, foreign = [], []
        for delivery in self._waiting:
            said = self._read(delivery)
            if isinstance(said, IngestedMessage):
                ingested_messages.append(said)
            elif said is not None:
                foreign.append(said)
        began_s = self._monotonic()
        now_ms = self._clock_ms()
        try:
            with self._store.writing() as connection:
                entered = enter(connection, ingested_messages, foreign, now_ms=now_ms)
        except StoreError as error:
            self._fault(error, now_ms)
            return False
        self._commits_s.append(self._monotonic() - began_s)
        for delivery in self._waiting:
            self._subscriber.acknowledge(delivery)
        self._waiting = []
        self._stands_aside = False
        self._backoff.reset()
        state = self._board.now()
        if state.database_fault:
            LOG.info("the database takes messages again")
        ordered = sorted(self._commits_s)
        self._board.say(
            database_fault="",
            database_problem="",
            fault_since_ms=None,
            committed=state.committed + entered.messages,
            duplicates=state.duplicates + entered.duplicates,
            foreign=state.foreign + entered.foreign,
            unread_dropped=self._subscriber.unread_dropped,
            waiting=0,
            last_commit_ms=self._clock_ms(),
            commit_p50_ms=round(ordered[len(ordered) // 2] * 1000, 1),
            commit_p95_ms=round(ordered[int(len(ordered) * 0.95)] * 1000, 1),
        )
        self._committed()
        return True

    def _fault(self, error: StoreError, now_ms: int) -> None:
        state = self._board.now()
        if state.database_fault != error.fault.value:
            LOG.error("%s; nothing is acknowledged until it takes messages again", error)
        self._board.say(
            database_fault=error.fault.value,
            database_problem=error.detail,
            fault_since_ms=state.fault_since_ms or now_ms,
            waiting=len(self._waiting),
            unread_dropped=self._subscriber.unread_dropped,
        )

    def _read(self, delivery: HeardMessage) -> IngestedMessage | IngestedForeign | None:
        came = delivery.arrival
        said = read(came.topic, came.payload, site=self._site)
        if isinstance(said, ExamMessage) and not came.expires:
            known = self._board.now().expiry_missing_ms
            self._board.say(expiry_missing_ms=known | {said.unit: came.at_ms})
        if isinstance(said, Message):
            return IngestedMessage(message=said, received_ms=came.at_ms, retained=came.retained)
        if isinstance(said, Foreign):
            return IngestedForeign(
                place=said.unit or _beginning(came.topic),
                why=said.reason.value,
                received_ms=came.at_ms,
            )
        return None  # a cleared flag, a command, an alarm of ours


def _beginning(topic: str) -> str:
    """Enough of a topic to find who writes there; as text that any database takes."""
    return "".join(c if c.isprintable() else "?" for c in topic[:PLACE_LIMIT])
