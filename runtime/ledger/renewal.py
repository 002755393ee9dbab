"""A ledger begins anew: numbers under a new name, or all of it from what a damaged one still says.

Whoever subscribes counts within one ledger (`status.ledger_id`). A ledger that went back would give
numbers a second time with other content, so it gets another name and begins again at 1.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from runtime.exam_rules.state_machine import Phase
from runtime.image.outcome import COMPARE
from runtime.ledger.integrity import HASHED, row_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG = logging.getLogger(__name__)

LISTENERS_NOTE = "unit_listeners"
"""In `meta`: how far each listener at the frame socket has heard."""
FORMER_SEQ = 1_000_000_000_000
"""Taken off the numbers of revisions that were said under an earlier name: they stay unique."""
WIDEST_STEP = 1 << 20
COPIED = (
    *(table for table in HASHED if table != "meta"),
    "exam_identities",
    "exam_attention",
    "exam_notes",
    "image_descriptors",
    "procedure_steps",
)
OF_AN_EXAM = (
    "objects",
    "exams",
    "jobs",
    "exam_revisions",
    "exam_attention",
    "surplus_images",
    "image_patients",
)


def begin_epoch(connection: sqlite3.Connection, boot_id: str) -> None:
    """A new `ledger_id`. What the broker does not have yet is numbered anew, from 1, in order.

    Inside a transaction. `boot_id`: of this start, which is what a site knows the ledger by.
    """
    connection.execute("UPDATE meta SET value = lower(hex(randomblob(8))) WHERE key = 'ledger_id'")
    owed = connection.execute(
        "SELECT seq, kind, topic, payload, retained, at_ms, expires_at_ms, superseded FROM outbox"
        " WHERE delivered_at_ms IS NULL ORDER BY seq"
    ).fetchall()
    connection.execute("DELETE FROM outbox")
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
    connection.execute("UPDATE exam_revisions SET seq = seq - ?", (FORMER_SEQ,))
    for number, (seq, kind, topic, payload, *others) in enumerate(owed, start=1):
        said = json.loads(payload) | {"seq": number, "boot_id": boot_id}
        text = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
        connection.execute(
            "INSERT INTO outbox (seq, kind, topic, payload, retained, at_ms, expires_at_ms,"
            " superseded) VALUES (?,?,?,?,?,?,?,?)",
            (number, kind, topic, text.encode(), *others),
        )
        connection.execute(
            "UPDATE exam_revisions SET seq = ? WHERE seq = ?", (number, seq - FORMER_SEQ)
        )
    _hear_from_the_beginning(connection)


def _hear_from_the_beginning(connection: sqlite3.Connection) -> None:
    note = connection.execute("SELECT value FROM meta WHERE key = ?", (LISTENERS_NOTE,)).fetchone()
    if note is not None:
        listeners = {name: {**at, "seq": 0} for name, at in json.loads(note[0]).items()}
        connection.execute(
            "UPDATE meta SET value = ? WHERE key = ?", (json.dumps(listeners), LISTENERS_NOTE)
        )


def take_over(damaged: Path, connection: sqlite3.Connection) -> str:
    """Copies what is whole of a damaged ledger into a new one; what was lost, for people.

    Inside a transaction on the new one, whose tables are empty. An exam of which a part is missing
    is left out: its files in the spool then have no row, and are taken in again.
    """
    lost, found = [], 0
    with closing(sqlite3.connect(damaged, isolation_level=None)) as old:
        hashes = _hashes(old)
        for table in COPIED:
            copied, unreadable = _copy(old, connection, table, hashes)
            LOG.warning("damaged ledger: %s: rows kept=%d refused=%d", table, copied, unreadable)
            found += copied + unreadable
            if unreadable:
                lost.append(f"{unreadable} rows of {table}")
        for rowid, (key, value) in _rows(old, "meta", ["key", "value"]):
            if key == LISTENERS_NOTE and hashes.get(("meta", rowid)) == row_hash(key, value):
                connection.execute("INSERT INTO meta VALUES (?,?)", (key, value))
    if not found:
        return "none of its rows could be read: exams whose files are in the spool are made anew"
    broken = _incomplete_exams(connection) | _without_patient(connection, hashes)
    gone = 0
    for study_uid in broken:
        files = connection.execute(
            "SELECT count(*) FROM objects WHERE study_uid = ? AND path <> ''", (study_uid,)
        ).fetchone()[0]
        if not files:
            gone += 1
            _name(connection, study_uid)
        _forget(connection, study_uid)
    if broken:
        lost.append(f"{len(broken)} exams are taken in again from the spool")
    if gone:
        lost.append(f"{gone} exams whose files are gone")
    (exams,) = connection.execute("SELECT count(*) FROM exams").fetchone()
    return f"{exams} exams kept; " + ("; ".join(lost) or "nothing lost that is known of")


def _hashes(old: sqlite3.Connection) -> dict[tuple[str, int], int]:
    """By (table, row), as far as they can be read: each table from both its ends."""
    found: dict[tuple[str, int], int] = {}
    for table in HASHED:
        for order in ("ASC", "DESC"):
            try:
                for row, known in old.execute(
                    f"SELECT row, hash FROM row_hashes WHERE part = ? ORDER BY row {order}",  # noqa: S608
                    (table,),
                ):
                    found[table, row] = known
            except (sqlite3.Error, UnicodeDecodeError) as error:
                LOG.warning("damaged ledger: hashes of %s: %s", table, type(error).__name__)
    return found


def _copy(
    old: sqlite3.Connection,
    new: sqlite3.Connection,
    table: str,
    hashes: dict[tuple[str, int], int],
) -> tuple[int, int]:
    """How many rows were copied, and how many were there and could not be."""
    columns = [name for (name,) in new.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    copied = refused = 0
    places = ",".join("?" * len(columns))
    for rowid, values in _rows(old, table, columns):
        said = dict(zip(columns, values, strict=True))
        hashed = [said[column] for column in HASHED.get(table, ())]
        if table in HASHED and hashes.get((table, rowid)) != row_hash(*hashed):
            refused += 1
            continue
        try:
            new.execute(f"INSERT INTO {table} ({','.join(columns)}) VALUES ({places})", values)  # noqa: S608
        except sqlite3.Error:
            refused += 1
        else:
            copied += 1
    known = sum(part == table for part, _ in hashes)
    return copied, max(refused, known - copied) if table in HASHED else refused


def _rows(
    old: sqlite3.Connection, table: str, columns: list[str]
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """The rows that can be read. After a page that cannot, those behind it are looked for."""
    question = f"SELECT rowid, {','.join(columns)} FROM {table} WHERE rowid > ? ORDER BY rowid"  # noqa: S608
    after, step = 0, 1
    while step <= WIDEST_STEP:
        try:
            for rowid, *values in old.execute(question, (after,)):
                after, step = rowid, 1
                yield rowid, tuple(values)
        except (sqlite3.Error, UnicodeDecodeError):
            after, step = after + step, step * 2
        else:
            return


def _incomplete_exams(connection: sqlite3.Connection) -> set[str]:
    """Study UIDs of exams of which a row is missing."""
    images: dict[int, str] = dict(connection.execute("SELECT image_id, study_uid FROM objects"))
    judged = set(connection.execute("SELECT job_id, image_id FROM outcomes"))
    settled = {image_id for _, image_id in judged}
    waiting = set[int]()
    broken = set[str]()
    for job_id, study_uid, listed, done in connection.execute(
        "SELECT job_id, study_uid, images, done FROM jobs"
    ):
        for image_id, slot in json.loads(listed):
            if image_id not in images:
                broken.add(study_uid)
            if slot == COMPARE:
                continue  # it leaves no outcome
            if bool(done) != ((job_id, image_id) in judged):
                broken.add(study_uid)
            if not done:
                waiting.add(image_id)
    broken |= {
        study_uid
        for image_id, study_uid, conflicts_with in connection.execute(
            "SELECT image_id, study_uid, conflicts_with FROM objects"
            " WHERE image_id NOT IN (SELECT image_id FROM surplus_images)"
        )
        if (conflicts_with is None and image_id not in settled | waiting)
        or (conflicts_with is not None and conflicts_with not in images)
    }
    broken |= {
        study_uid
        for (study_uid,) in connection.execute(
            "SELECT study_uid FROM exams WHERE phase = ? AND flag IS NULL"
            " UNION SELECT study_uid FROM objects WHERE study_uid NOT IN"
            " (SELECT study_uid FROM exams)"
            " UNION SELECT study_uid FROM exam_revisions WHERE study_uid NOT IN"
            " (SELECT study_uid FROM exams)",
            (Phase.FINAL.value,),
        )
    }
    return broken


def _without_patient(
    connection: sqlite3.Connection, hashes: dict[tuple[str, int], int]
) -> set[str]:
    """Study UIDs of exams of which an image's patient was known and is not any more."""
    had = {image_id for table, image_id in hashes if table == "image_patients"}
    has = {image_id for (image_id,) in connection.execute("SELECT image_id FROM image_patients")}
    studies: dict[int, str] = dict(connection.execute("SELECT image_id, study_uid FROM objects"))
    return {studies[image_id] for image_id in had - has if image_id in studies}


def _name(connection: sqlite3.Connection, study_uid: str) -> None:
    """An exam that cannot be made anew, by its pseudonym; its line of the history stays."""
    row = connection.execute(
        "SELECT exam_key FROM exam_identities WHERE study_uid = ?", (study_uid,)
    ).fetchone()
    LOG.error("damaged ledger: an exam is lost: exam_key=%s", row[0] if row else "unknown")


def _forget(connection: sqlite3.Connection, study_uid: str) -> None:
    """What is kept of an exam that is made anew: who it is of, and what was said of it."""
    connection.execute(
        "DELETE FROM outcomes WHERE job_id IN (SELECT job_id FROM jobs WHERE study_uid = ?)",
        (study_uid,),
    )
    connection.execute(
        "DELETE FROM image_descriptors WHERE image_id IN"
        " (SELECT image_id FROM objects WHERE study_uid = ?)",
        (study_uid,),
    )
    for table in OF_AN_EXAM:
        connection.execute(f"DELETE FROM {table} WHERE study_uid = ?", (study_uid,))  # noqa: S608
