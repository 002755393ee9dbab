"""The numbers of one ledger: how far they are complete, what is missing, since when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select

from runtime.site.store.tables import NUMBERS, STREAMS
from runtime.site.store.upsert import upsert
from runtime.timing.replay_schedule import LONGEST_JUMP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

STORED = (
    "unit_id",
    "ledger",
    "first_seq",
    "settled_seq",
    "received_seq",
    "claimed_seq",
    "gap_since_ms",
    "missing",
)


@dataclass(kw_only=True)
class Stream:
    """A ledger's numbers while a batch is entered.

    Everything from `first_seq` to `settled_seq` is here or given up; `received_seq` is the highest
    that came, `claimed_seq` the highest that the unit says it gave. `owed_from`: numbers from there
    on are owed whatever comes first, because the unit was heard live before it gave them; None: it
    was not. `arrived`: (number, retained) of this batch.
    """

    unit_id: int
    ledger: int
    first_seq: int = 0
    settled_seq: int = 0
    received_seq: int = 0
    claimed_seq: int = 0
    gap_since_ms: int | None = None
    missing: int = 0
    owed_from: int | None = None
    arrived: list[tuple[int, bool]] = field(default_factory=list)

    @property
    def is_new(self) -> bool:
        """Whether nothing of it has been settled yet."""
        return self.first_seq == 0

    def plausible(self, seq: int) -> bool:
        """Whether the unit can have got to that number."""
        return self.is_new or seq <= max(self.received_seq, self.claimed_seq) + LONGEST_JUMP

    def settle(self, connection: Connection, now_ms: int) -> None:
        """Moves the end of what is complete as far as the stored numbers go."""
        seqs = sorted(seq for seq, _ in self.arrived)
        begins_earlier = self._begin(seqs)
        if not seqs and not begins_earlier:
            return
        look_further = begins_earlier or self.received_seq > self.settled_seq
        if begins_earlier and self._is_stored(connection, self.first_seq):
            seqs.insert(0, self.first_seq)
        for seq in seqs:
            if seq == self.settled_seq + 1:
                self.settled_seq = self._end_of_run(connection, seq) if look_further else seq
        self.received_seq = max(self.received_seq, self.settled_seq, *seqs)
        if self.settled_seq >= self.received_seq:
            self.gap_since_ms = None
            self.missing = 0
            return
        self.gap_since_ms = self.gap_since_ms or now_ms
        beyond = self.received_seq - self.settled_seq
        self.missing = beyond - self._stored_after(connection)

    def _begin(self, seqs: Sequence[int]) -> bool:
        """Finds where we began to listen; True if that is further back than was thought."""
        live = [seq for seq, retained in self.arrived if not retained]
        heard_from = self.owed_from if self.owed_from is not None else min(live, default=0)
        if not self.is_new:
            earlier = self.owed_from is not None and self.owed_from < self.first_seq
            if earlier:
                self.first_seq = heard_from
                self.settled_seq = heard_from - 1
            return earlier
        if live:
            heard_from = min(heard_from, *live)
        # Retained flags are the last of each exam, with holes between: we begin after them.
        self.first_seq = heard_from or max(seqs, default=0)
        self.settled_seq = max(0, self.first_seq - 1)
        self.received_seq = max(self.received_seq, self.settled_seq)
        return False

    def _is_stored(self, connection: Connection, seq: int) -> bool:
        one = select(NUMBERS.c.seq).where(
            NUMBERS.c.unit_id == self.unit_id,
            NUMBERS.c.ledger == self.ledger,
            NUMBERS.c.seq == seq,
        )
        return connection.scalar(one) is not None

    def _stored_after(self, connection: Connection) -> int:
        """How many numbers above the settled ones are on record."""
        found = connection.scalar(
            select(func.count()).where(
                NUMBERS.c.unit_id == self.unit_id,
                NUMBERS.c.ledger == self.ledger,
                NUMBERS.c.seq > self.settled_seq,
            )
        )
        return int(found or 0)

    def _end_of_run(self, connection: Connection, seq: int) -> int:
        """The last number without a gap from `seq` (which is on record) on."""
        later = NUMBERS.alias("later")
        follows = and_(
            later.c.unit_id == NUMBERS.c.unit_id,
            later.c.ledger == NUMBERS.c.ledger,
            later.c.seq == NUMBERS.c.seq + 1,
        )
        end = connection.scalar(
            select(func.min(NUMBERS.c.seq)).where(
                NUMBERS.c.unit_id == self.unit_id,
                NUMBERS.c.ledger == self.ledger,
                NUMBERS.c.seq >= seq,
                ~select(later.c.seq).where(follows).exists(),
            )
        )
        return int(end or seq)


def streams_of(connection: Connection, unit_ids: Sequence[int]) -> dict[tuple[int, int], Stream]:
    """The streams of these units, by (unit, ledger)."""
    rows = connection.execute(
        select(*(STREAMS.c[name] for name in STORED)).where(STREAMS.c.unit_id.in_(unit_ids))
    ).mappings()
    return {(row["unit_id"], row["ledger"]): Stream(**dict(row)) for row in rows}


def save_streams(connection: Connection, streams: Iterable[Stream], now_ms: int) -> None:
    """Settles what came and writes it."""
    rows = []
    for stream in streams:
        stream.settle(connection, now_ms)
        rows.append(
            {name: getattr(stream, name) for name in STORED} | {"lost": 0, "replays_asked": 0}
        )
    if rows:
        changing = [name for name in STORED if name not in ("unit_id", "ledger")]
        connection.execute(upsert(connection, STREAMS, replace=changing), rows)
