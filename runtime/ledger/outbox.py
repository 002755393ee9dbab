"""The outbox: the only queue between a commit and the broker."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.ledger.integrity import whole, whole_or_passed_over

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from runtime.messages.payloads import Kind
    from runtime.publishing.publication import Publication


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """One numbered message. Times are milliseconds since the epoch, UTC.

    `superseded`: a later row for the same retained topic exists, so that this one must not
    become the retained message again. `replayed`: it is waiting because the site asked for it.
    """

    seq: int
    kind: str
    topic: str
    payload: bytes
    retained: bool
    at_ms: int
    expires_at_ms: int
    refusals: int
    superseded: bool
    replayed: bool


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """State of the outbox."""

    waiting: int
    oldest_at_ms: int | None
    parked: int


class Outbox:
    """The outbox table inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def last_seq(self) -> int:
        """The highest `seq` ever given; deleted rows count."""
        row = self._connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
        ).fetchone()
        return int(row[0]) if row else 0

    def add(self, publication: Publication, at_ms: int) -> int:
        """Numbers and queues a message. The number is without gap: it rolls back with the rest."""
        seq = self.last_seq() + 1
        if publication.retained:
            self._connection.execute(
                "UPDATE outbox SET superseded = 1 WHERE topic = ? AND retained = 1",
                (publication.topic,),
            )
        self._connection.execute(
            "INSERT INTO outbox (seq, kind, topic, payload, retained, at_ms, expires_at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                seq,
                publication.kind.value,
                publication.topic,
                publication.payload(seq),
                int(publication.retained),
                at_ms,
                at_ms + publication.expiry_s * 1000,
            ),
        )
        return seq

    def waiting(self, limit: int, skip: Collection[int]) -> list[OutboxRow]:
        """The first rows that are neither delivered nor parked; what is replayed comes last.

        A flag of now must not wait behind a week that somebody asked to hear again.
        """
        rows = self._connection.execute(
            "SELECT seq, kind, topic, payload, retained, at_ms, expires_at_ms, refusals,"  # noqa: S608 - a condition of ours
            " superseded, replayed FROM outbox"
            " WHERE delivered_at_ms IS NULL AND parked_at_ms IS NULL"
            f" AND {whole_or_passed_over('outbox')}"
            " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY replayed, seq LIMIT ?",
            (json.dumps(list(skip)), limit),
        )
        return [
            OutboxRow(
                seq=seq,
                kind=kind,
                topic=topic,
                payload=payload,
                retained=bool(retained),
                at_ms=at_ms,
                expires_at_ms=expires_at_ms,
                refusals=refusals,
                superseded=bool(superseded),
                replayed=bool(replayed),
            )
            for (
                seq,
                kind,
                topic,
                payload,
                retained,
                at_ms,
                expires_at_ms,
                refusals,
                superseded,
                replayed,
            ) in rows
        ]

    def current_after(
        self, seq: int, kinds: Sequence[Kind], now_ms: int, limit: int
    ) -> list[tuple[int, str, bytes]]:
        """(seq, kind, payload) of the next rows of these kinds that nothing made stale."""
        places = ",".join("?" * len(kinds))
        return self._connection.execute(
            f"SELECT seq, kind, payload FROM outbox WHERE seq > ? AND kind IN ({places})"  # noqa: S608 - question marks
            f" AND superseded = 0 AND expires_at_ms > ? AND {whole('outbox')} ORDER BY seq LIMIT ?",
            (seq, *(kind.value for kind in kinds), now_ms, limit),
        ).fetchall()

    def at_ms(self, seq: int) -> int:
        """When a row was committed. Raises KeyError: retention took it."""
        row = self._connection.execute("SELECT at_ms FROM outbox WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            raise KeyError(seq)
        return int(row[0])

    def delivered(self, seqs: Sequence[int], at_ms: int) -> None:
        """Marks rows as acknowledged."""
        self._connection.executemany(
            "UPDATE outbox SET delivered_at_ms = ?, replayed = 0 WHERE seq = ?",
            [(at_ms, seq) for seq in seqs],
        )

    def refused(self, seq: int, _reason_code: int, _at_ms: int) -> int:
        """Counts a refusal; how many by now."""
        row = self._connection.execute(
            "UPDATE outbox SET refusals = refusals + 1 WHERE seq = ? RETURNING refusals", (seq,)
        ).fetchone()
        return int(row[0]) if row else 0

    def park(self, seq: int, at_ms: int) -> None:
        """Takes a row out of the queue."""
        self._connection.execute("UPDATE outbox SET parked_at_ms = ? WHERE seq = ?", (at_ms, seq))

    def replay_from(self, seq: int) -> int:
        """Delivered and parked rows from `seq` on wait again."""
        return self._connection.execute(
            "UPDATE outbox SET delivered_at_ms = NULL, parked_at_ms = NULL, refusals = 0,"
            " replayed = 1 WHERE seq >= ? AND (delivered_at_ms NOTNULL OR parked_at_ms NOTNULL)",
            (seq,),
        ).rowcount

    def put_back(self, after_seq: int, now_ms: int) -> int:
        """Retained messages behind that number that still hold wait again; how many.

        They come behind what is new, under their own numbers and with the time that is left.
        """
        return self._connection.execute(
            "UPDATE outbox SET delivered_at_ms = NULL, replayed = 1 WHERE seq > ? AND retained = 1"
            " AND superseded = 0 AND cleared = 0 AND expires_at_ms > ? AND delivered_at_ms NOTNULL",
            (after_seq, now_ms),
        ).rowcount

    def retained_topics_to_clear(self, now_ms: int) -> list[tuple[str, int]]:
        """Expired retained messages that the broker still has."""
        rows = self._connection.execute(
            "SELECT topic, seq FROM outbox WHERE retained = 1 AND superseded = 0 AND cleared = 0"
            " AND expires_at_ms <= ? AND delivered_at_ms NOTNULL ORDER BY seq LIMIT 100",
            (now_ms,),
        )
        return [(topic, seq) for topic, seq in rows]

    def cleared(self, seq: int) -> None:
        """Marks a retained topic as cleared."""
        self._connection.execute("UPDATE outbox SET cleared = 1 WHERE seq = ?", (seq,))

    def backlog(self) -> Backlog:
        """Counts of waiting and parked rows."""
        waiting, oldest = self._connection.execute(
            "SELECT count(*), min(at_ms) FROM outbox"
            " WHERE delivered_at_ms IS NULL AND parked_at_ms IS NULL"
        ).fetchone()
        (parked,) = self._connection.execute(
            "SELECT count(*) FROM outbox WHERE parked_at_ms NOTNULL"
        ).fetchone()
        return Backlog(waiting=waiting, oldest_at_ms=oldest, parked=parked)

    def forget_before(self, at_ms: int) -> int:
        """Deletes rows delivered or parked before `at_ms` (the replay window); how many."""
        return self._connection.execute(
            "DELETE FROM outbox WHERE parked_at_ms < ? OR (delivered_at_ms < ?"
            " AND (retained = 0 OR superseded = 1 OR cleared = 1))",
            (at_ms, at_ms),
        ).rowcount
