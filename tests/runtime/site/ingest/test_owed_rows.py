"""No row owed is forgotten: the same stories told to the site's books and to a subscriber's state.

Whatever was lost on the way between births, rows, restarts and a broker that forgets, in the end
all owed rows are there, or are asked for, or are given up and counted as lost.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from runtime.messages.payloads import HealthMessage, NumberedMessage
from runtime.messages.topics import Topics
from runtime.site.alarms.replay_requests import replays_due
from runtime.site.ingest.batch_writer import enter
from runtime.site.live_model.replay_policy import ReplayPolicy
from runtime.site.live_model.site_state import SiteState
from runtime.site.store.store import Store
from runtime.site.store.tables import NUMBERS, STREAMS
from runtime.site.subscriber.arrival import Arrival, LinkChange
from runtime.timing.replay_schedule import ReplaySchedule
from tests.support.site_units import NOON_MS, SaidUnit

STEP_MS = 1000
LATER_MS = 10 * 60_000
ROUNDS = 12

STORY = st.lists(
    st.one_of(
        st.just(("birth",)),
        st.just(("health",)),
        st.just(("restart",)),
        st.just(("ledger",)),
        st.just(("twice",)),
        st.just(("late",)),
        st.just(("commit",)),
        st.tuples(st.just("rows"), st.integers(1, 4), st.booleans()),
    ),
    max_size=20,
)
THE_REPORTED_ONE = [("birth",), ("commit",), ("rows", 4, False), ("rows", 3, False), ("health",)]


class Wire:
    """One unit's story: what reached the site in which batches, and what is owed in the end."""

    def __init__(self, story) -> None:
        self.now_ms = NOON_MS
        self.unit = SaidUnit(ledger="ledger-1")
        self.boots = self.ledgers = 1
        self.batches = [[]]
        self.said: dict[int, list] = defaultdict(list)
        """By ledger: all its rows."""
        self.came: dict[int, set[int]] = defaultdict(set)
        self.owed_from: dict[int, int] = {}
        self.lost: list = []
        for step in [*story, ("birth",), ("health",)]:
            self.now_ms += STEP_MS
            getattr(self, f"_{step[0]}")(*step[1:])

    def _send(self, message) -> None:
        self.batches[-1].append(message)

    def _heard_live(self) -> None:
        """From here on everything is owed; of a ledger that follows another, all of it."""
        owed_from = 1 if self.owed_from and self.ledgers not in self.owed_from else None
        self.owed_from.setdefault(self.ledgers, owed_from or self.unit.next_seq)

    def _birth(self) -> None:
        self._heard_live()
        self._send(self.unit.status(at_ms=self.now_ms))

    def _health(self) -> None:
        if self.owed_from:  # a unit is born before it tells of its health
            self._send(self.unit.health(at_ms=self.now_ms))

    def _restart(self) -> None:
        self.boots += 1
        self.unit.reboot(f"boot-{self.boots}")
        self._birth()

    def _ledger(self) -> None:
        """The disk was replaced: another ledger, which begins at 1."""
        self._birth()
        self.boots += 1
        self.ledgers += 1
        self.lost.clear()
        self.unit = SaidUnit(boot=f"boot-{self.boots}", ledger=f"ledger-{self.ledgers}")
        self._birth()

    def _rows(self, count: int, arrives: bool) -> None:  # noqa: FBT001 - drawn
        for _ in range(count):
            row = self.unit.event(at_ms=self.now_ms)
            self.said[self.ledgers].append(row)
            if not arrives:
                self.lost.append(row)
                continue
            self.owed_from.setdefault(self.ledgers, row.message.seq)
            self._arrive(row)

    def _arrive(self, row) -> None:
        self.came[self.ledgers].add(row.message.seq)
        self._send(row)

    def _twice(self) -> None:
        if self.said[self.ledgers] and self.said[self.ledgers][-1] not in self.lost:
            self._send(self.said[self.ledgers][-1])

    def _late(self) -> None:
        if self.lost and self.owed_from.get(self.ledgers, 0):
            self._arrive(self.lost.pop())

    def _commit(self) -> None:
        self.batches.append([])

    def owed(self) -> set[int]:
        """Numbers of the last ledger that a subscriber must come to know."""
        first = self.owed_from[self.ledgers]
        return {row.message.seq for row in self.said[self.ledgers] if row.message.seq >= first}

    def rows_from(self, seq: int) -> list:
        """A replay."""
        return [row for row in self.said[self.ledgers] if row.message.seq >= seq]


@settings(max_examples=60, deadline=None)
@given(story=STORY, unit_has_them=st.booleans())
@example(story=THE_REPORTED_ONE, unit_has_them=True)
@example(story=[*THE_REPORTED_ONE, ("commit",), ("rows", 1, True)], unit_has_them=True)
@example(story=[("rows", 1, True), ("rows", 1, False), ("rows", 1, True)], unit_has_them=False)
def test_the_books_have_or_ask_for_or_count_as_lost_every_row_owed(story, unit_has_them):
    """The site's service: judged from the database."""
    wire = Wire(story)
    with TemporaryDirectory() as folder, Store(f"sqlite:///{Path(folder)}/site.db") as store:

        def heard(messages):
            with store.writing() as books:
                enter(books, messages, now_ms=wire.now_ms)

        for batch in wire.batches:
            heard(batch)
        missing = wire.owed() - wire.came[wire.ledgers]
        assert _still_to_come(store) == len(missing)
        for _ in range(ROUNDS):
            wire.now_ms += LATER_MS
            heard([wire.unit.health(at_ms=wire.now_ms)])
            with store.writing() as books:
                due = replays_due(books, "st-anna", ReplaySchedule(), wire.now_ms + 20_000)
            for wanted in due:
                heard(wire.rows_from(wanted.from_seq) if unit_has_them else [])
        with store.writing() as books:
            stream = _stream(books)
            numbers = {seq for (seq,) in books.execute(_numbers_of(stream))}
        assert _still_to_come(store) == 0
        if unit_has_them:
            assert (wire.owed() - numbers, stream.lost) == (set(), 0)
        else:
            assert stream.lost == len(missing)


@settings(max_examples=60, deadline=None)
@given(story=STORY, unit_has_them=st.booleans())
@example(story=THE_REPORTED_ONE, unit_has_them=True)
@example(story=[*THE_REPORTED_ONE, ("commit",), ("rows", 1, True)], unit_has_them=True)
def test_a_subscriber_has_or_asks_for_or_gives_up_every_row_owed(story, unit_has_them):
    """The state in memory, of `watch`, `tail` and the library."""
    wire = Wire(story)
    state, policy = SiteState("st-anna"), ReplayPolicy()
    state.link_changed(LinkChange(up=True, at_ms=NOON_MS))

    def heard(messages):
        for ingested in messages:
            message = ingested.message
            topics = Topics(site="st-anna", unit=message.unit)
            kind = "health" if isinstance(message, HealthMessage) else "status"
            topic = topics.event if isinstance(message, NumberedMessage) else getattr(topics, kind)
            state.hear(
                Arrival(
                    topic=topic,
                    payload=message.encode(),
                    retained=False,
                    at_ms=ingested.received_ms,
                )
            )

    for batch in wire.batches:
        heard(batch)
    unit = state.units["mammo-1"]
    missing = wire.owed() - wire.came[wire.ledgers]
    assert unit.book.missing + unit.book.behind == len(missing)
    for _ in range(2 * ROUNDS):
        wire.now_ms += LATER_MS
        heard([wire.unit.health(at_ms=wire.now_ms)])
        for wanted in policy.due(state, wire.now_ms):
            policy.asked(wanted, unit.generation, wire.now_ms)
            heard(wire.rows_from(wanted.from_seq) if unit_has_them else [])
    if unit_has_them or not missing:
        assert (unit.book.missing, unit.book.behind) == (0, 0)
    else:
        assert policy.given_up(unit) == max(missing)


def _stream(books):
    return books.execute(select(STREAMS).order_by(STREAMS.c.ledger.desc()).limit(1)).one()


def _numbers_of(stream):
    return select(NUMBERS.c.seq).where(NUMBERS.c.ledger == stream.ledger)


def _still_to_come(store) -> int:
    with store.writing() as books:
        stream = _stream(books)
    return stream.missing + max(0, stream.claimed_seq - stream.received_seq)
