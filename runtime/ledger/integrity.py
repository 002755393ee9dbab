"""Whether a ledger is whole: SQLite's own checks, and a hash for each row that counts.

SQLite sees damaged pages. It does not see a changed byte in a column without an index, and such a
byte can be a flag. So each row that becomes a message or an outcome has a hash, kept in a table of
its own, made by triggers of our connection alone (an older version of us can open the ledger), and
looked at whenever the row is read.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

HASHED = {
    "objects": (
        "image_id",
        "sop_uid",
        "sha256",
        "study_uid",
        "path",
        "header",
        "role",
        "source",
        "conflicts_with",
        "superseded_by",
    ),
    "exams": ("study_uid", "phase", "revision", "closed_by", "timed_out", "flag"),
    "jobs": ("job_id", "study_uid", "package_sha256", "precision", "images"),
    "outcomes": ("job_id", "image_id", "outcome"),
    "outbox": ("seq", "kind", "topic", "payload", "retained"),
    "exam_revisions": ("study_uid", "revision", "flag", "final", "completed_by"),
    "narrowed_views": ("study_uid", "views"),
    "image_patients": (
        "image_id",
        "study_uid",
        "word",
        "patient_id",
        "issuer",
        "name",
        "birth_date",
    ),
    "meta": ("key", "value"),
    "rejections": ("sop_uid", "study_uid", "retake_uid"),
    "surplus_images": ("image_id", "study_uid"),
    "awaited_images": ("sop_uid", "study_uid"),
}
"""By table, the columns of which a row's hash is made: none of the times, which move with a clock
that was set."""
MARKER = "of what the hashes are made"
ROW_HASHES_SCHEMA = """
CREATE TABLE IF NOT EXISTS row_hashes (
    part TEXT NOT NULL, row INTEGER NOT NULL, hash INTEGER NOT NULL,
    PRIMARY KEY (part, row)) STRICT, WITHOUT ROWID;
"""
FAULTS_NAMED = 20


def row_hash(*values: float | str | bytes | None) -> int:
    """Of a row's columns, as SQLite gives them."""
    digest = blake2b(repr(values).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _columns(table: str, row: str) -> str:
    return ", ".join(f"{row}.{column}" for column in HASHED[table])


def whole(table: str, alias: str = "") -> str:
    """A condition for a query: the row is as it was written. Where it is not, the query fails."""
    return f"row_is_whole({_compared(table, alias)})"


def whole_or_passed_over(table: str) -> str:
    """The same, but a row that is not is passed over; the ledger says so all the same."""
    return f"row_was_whole({_compared(table, '')})"


def _compared(table: str, alias: str) -> str:
    row = alias or table
    known = f"(SELECT hash FROM row_hashes WHERE part = '{table}' AND row = {row}.rowid)"  # noqa: S608 - names of ours
    return f"'{table}', {known}, {_columns(table, row)}"


class RowHashes:
    """Makes and compares the hashes on one connection.

    Attributes:
        damaged: tables of which a row was read that is not as it was written.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.damaged: set[str] = set()
        connection.create_function("row_hash", -1, row_hash, deterministic=True)
        connection.create_function("row_is_whole", -1, self._is_whole)
        connection.create_function("row_was_whole", -1, self._was_whole)

    def _was_whole(
        self, table: str, known: int | None, *values: float | str | bytes | None
    ) -> bool:
        if known == row_hash(*values):
            return True
        self.damaged.add(table)
        return False

    def _is_whole(self, table: str, known: int | None, *values: float | str | bytes | None) -> bool:
        if not self._was_whole(table, known, *values):
            raise ValueError(table)  # SQLite ends the query with an error of its own
        return True

    def begin(self) -> None:
        """From now on each row that is written gets its hash. The tables must be there.

        Rows without one are those of an older version of us: it numbers an event at each of its
        starts.
        """
        self._connection.execute(ROW_HASHES_SCHEMA)
        if self.by_older_version():
            self._hash_all()
        for table, columns in HASHED.items():
            gone = f"DELETE FROM row_hashes WHERE part = '{table}' AND row = old.rowid;"  # noqa: S608
            for name, when, what in (
                ("new", "INSERT", _renewed(table)),
                ("changed", f"UPDATE OF {', '.join(columns)}", _renewed(table)),
                ("gone", "DELETE", gone),
            ):
                self._connection.execute(
                    f"CREATE TEMP TRIGGER hash_{name}_{table} AFTER {when} ON main.{table}"
                    f" BEGIN {what} END"
                )

    def by_older_version(self) -> bool:
        """Whether a version of us that makes none, or others, wrote last: hashes say nothing then.

        The newest row has none, or the marker names other columns.
        """
        there = "SELECT count(*) FROM sqlite_schema WHERE name = 'row_hashes'"
        if not self._connection.execute(there).fetchone()[0]:
            return True
        newest = "SELECT max(rowid) FROM outbox"
        (unknown,) = self._connection.execute(
            f"SELECT count(*) FROM outbox WHERE seq = ({newest}) AND NOT EXISTS"  # noqa: S608
            " (SELECT 1 FROM row_hashes WHERE part = 'outbox' AND row = seq)"
        ).fetchone()
        marked = "SELECT hash FROM row_hashes WHERE part = ?"
        marker = self._connection.execute(marked, (MARKER,)).fetchone()
        return bool(unknown) or marker != (row_hash(repr(HASHED)),)

    def _hash_all(self) -> None:
        self._connection.execute("DELETE FROM row_hashes")
        marker = (MARKER, 0, row_hash(repr(HASHED)))
        self._connection.execute("INSERT INTO row_hashes VALUES (?, ?, ?)", marker)
        for table in HASHED:
            self._connection.execute(
                f"INSERT INTO row_hashes SELECT '{table}', rowid,"  # noqa: S608
                f" row_hash({_columns(table, table)}) FROM {table}"
            )

    def faults(self) -> tuple[str, ...]:
        """What is wrong with the whole ledger, for people, without content; () if nothing is.

        Raises:
            sqlite3.Error, UnicodeDecodeError: it cannot even be read.
        """
        said = [text for (text,) in self._connection.execute("PRAGMA integrity_check(20)")]
        faults = [text for text in said if text != "ok"]
        for table in () if self.by_older_version() else HASHED:
            (rows,) = self._connection.execute(
                f"SELECT count(*) FROM {table} LEFT JOIN row_hashes ON part = '{table}'"  # noqa: S608
                f" AND row = {table}.rowid WHERE hash IS NOT row_hash({_columns(table, table)})"
            ).fetchone()
            if rows:
                faults.append(f"{table}: {rows} rows are not as they were written")
        return tuple(faults[:FAULTS_NAMED])


def _renewed(table: str) -> str:
    # Not INSERT OR REPLACE: the policy of the statement that fired the trigger would hold.
    now = f"row_hash({_columns(table, 'new')})"
    return (
        f"DELETE FROM row_hashes WHERE part = '{table}' AND row = new.rowid;"  # noqa: S608
        f" INSERT INTO row_hashes VALUES ('{table}', new.rowid, {now});"
    )
