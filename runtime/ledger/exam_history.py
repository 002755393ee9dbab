"""The chronicle: what the unit remembers of its exams beside their current flags.

Revisions and when they were published, what was seen by a person, and whom an exam belongs to.
The last is shown at the unit; nothing of this file is ever published or logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from runtime.dicom.patient_identity import PatientIdentity
from runtime.image.outcome import Flag

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from runtime.exam_rules.exam_flag import ExamFlag

EXAM_HISTORY_SCHEMA = """
CREATE TABLE IF NOT EXISTS exam_identities (
    study_uid TEXT PRIMARY KEY, exam_key TEXT NOT NULL UNIQUE, first_received_ms INTEGER NOT NULL,
    accession_number TEXT NOT NULL, initials TEXT NOT NULL, study_time TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS exam_identities_by_time ON exam_identities (first_received_ms);
CREATE TABLE IF NOT EXISTS exam_revisions (
    study_uid TEXT NOT NULL, revision INTEGER NOT NULL, seq INTEGER NOT NULL UNIQUE,
    decided_at_ms INTEGER NOT NULL, flag TEXT NOT NULL, final INTEGER NOT NULL,
    completed_by TEXT, published_at_ms INTEGER, PRIMARY KEY (study_uid, revision)) STRICT;
CREATE TABLE IF NOT EXISTS exam_attention (
    study_uid TEXT PRIMARY KEY, priority_since_ms INTEGER NOT NULL,
    acknowledged_at_ms INTEGER, overdue_at_ms INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS exam_notes (
    study_uid TEXT NOT NULL, at_ms INTEGER NOT NULL, note TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS exam_notes_by_study ON exam_notes (study_uid);
"""
EXAM_HISTORY_TABLES = ("exam_identities", "exam_revisions", "exam_attention", "exam_notes")


class Note(StrEnum):
    """What a person did, or did not do in time."""

    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"


@dataclass(frozen=True, kw_only=True)
class Attention:
    """A priority flag and whether a person has seen it. Times: ms since the epoch, UTC."""

    priority_since_ms: int
    acknowledged_at_ms: int | None
    overdue_at_ms: int | None


@dataclass(frozen=True, kw_only=True)
class RevisionRecord:
    """One revision of a flag as it left."""

    revision: int
    seq: int
    decided_at_ms: int
    flag: Flag
    final: bool
    completed_by: str | None
    published_at_ms: int | None
    """When the broker acknowledged it; None while it waits."""


class ExamHistory:
    """The chronicle's tables inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def identify(
        self, study_uid: str, exam_key: str, identity: PatientIdentity, received_at_ms: int
    ) -> None:
        """An image of the exam came. A later image fills in only what is still missing."""
        self._connection.execute(
            "INSERT INTO exam_identities (study_uid, exam_key, first_received_ms,"
            " accession_number, initials, study_time) VALUES (?,?,?,?,?,?)"
            " ON CONFLICT (study_uid) DO UPDATE SET"
            " accession_number = iif(accession_number = '', excluded.accession_number,"
            "  accession_number),"
            " initials = iif(initials = '', excluded.initials, initials),"
            " study_time = iif(study_time = '', excluded.study_time, study_time)",
            (
                study_uid,
                exam_key,
                received_at_ms,
                identity.accession_number,
                identity.initials,
                identity.study_time,
            ),
        )

    def correct_identity(self, study_uid: str, identity: PatientIdentity) -> None:
        """An image of the exam came again under another name or number: what it says is shown."""
        self._connection.execute(
            "UPDATE exam_identities SET accession_number = coalesce(nullif(?, ''),"
            " accession_number), initials = coalesce(nullif(?, ''), initials),"
            " study_time = coalesce(nullif(?, ''), study_time) WHERE study_uid = ?",
            (identity.accession_number, identity.initials, identity.study_time, study_uid),
        )

    def accession_number(self, study_uid: str) -> str:
        """The exam's accession number, "" if none was kept."""
        row = self._connection.execute(
            "SELECT accession_number FROM exam_identities WHERE study_uid = ?", (study_uid,)
        ).fetchone()
        return str(row[0]) if row else ""

    def revised(self, flag: ExamFlag, seq: int) -> None:
        """A revision of a flag was queued as `seq`. Priority asks for a person's attention."""
        study_uid = flag.study_instance_uid
        self._connection.execute(
            "INSERT INTO exam_revisions (study_uid, revision, seq, decided_at_ms, flag, final,"
            " completed_by) VALUES (?,?,?,?,?,?,?)",
            (
                study_uid,
                flag.revision,
                seq,
                flag.decided_at_ms,
                flag.flag.value,
                int(flag.final),
                flag.completed_by.value if flag.completed_by else None,
            ),
        )
        if flag.flag is Flag.PRIORITY:
            self._connection.execute(
                "INSERT OR IGNORE INTO exam_attention (study_uid, priority_since_ms) VALUES (?,?)",
                (study_uid, flag.decided_at_ms),
            )
        else:
            self._connection.execute("DELETE FROM exam_attention WHERE study_uid = ?", (study_uid,))

    def published(self, seqs: Sequence[int], at_ms: int) -> None:
        """The broker acknowledged these rows; a replay does not count."""
        self._connection.executemany(
            "UPDATE exam_revisions SET published_at_ms = ? WHERE seq = ?"
            " AND published_at_ms IS NULL",
            [(at_ms, seq) for seq in seqs],
        )

    # --- attention -------------------------------------------------------------------------------

    def attention(self, study_uid: str) -> Attention | None:
        """None where the exam's flag is not priority."""
        row = self._connection.execute(
            "SELECT priority_since_ms, acknowledged_at_ms, overdue_at_ms FROM exam_attention"
            " WHERE study_uid = ?",
            (study_uid,),
        ).fetchone()
        if row is None:
            return None
        since_ms, acknowledged_at_ms, overdue_at_ms = row
        return Attention(
            priority_since_ms=since_ms,
            acknowledged_at_ms=acknowledged_at_ms,
            overdue_at_ms=overdue_at_ms,
        )

    def acknowledge(self, study_uid: str, at_ms: int) -> bool:
        """A person has seen the priority flag; False if there is none, or it was seen before."""
        changed = self._connection.execute(
            "UPDATE exam_attention SET acknowledged_at_ms = ?"
            " WHERE study_uid = ? AND acknowledged_at_ms IS NULL",
            (at_ms, study_uid),
        ).rowcount
        if changed:
            self._note(study_uid, at_ms, Note.ACKNOWLEDGED)
        return bool(changed)

    def overdue(self, since_ms: int) -> list[str]:
        """Study UIDs of priority flags that nobody saw since then, and that were not reported."""
        rows = self._connection.execute(
            "SELECT study_uid FROM exam_attention WHERE acknowledged_at_ms IS NULL"
            " AND overdue_at_ms IS NULL AND priority_since_ms <= ? ORDER BY priority_since_ms",
            (since_ms,),
        )
        return [study_uid for (study_uid,) in rows]

    def report_overdue(self, study_uid: str, at_ms: int) -> None:
        """It was said that nobody saw the flag in time."""
        self._connection.execute(
            "UPDATE exam_attention SET overdue_at_ms = ? WHERE study_uid = ?", (at_ms, study_uid)
        )
        self._note(study_uid, at_ms, Note.UNACKNOWLEDGED)

    def _note(self, study_uid: str, at_ms: int, note: Note) -> None:
        self._connection.execute(
            "INSERT INTO exam_notes VALUES (?,?,?)", (study_uid, at_ms, note.value)
        )

    # --- reading ---------------------------------------------------------------------------------

    def study_uid(self, exam_key: str) -> str | None:
        """The exam of a pseudonym; None if it is not, or no longer, here."""
        row = self._connection.execute(
            "SELECT study_uid FROM exam_identities WHERE exam_key = ?", (exam_key,)
        ).fetchone()
        return str(row[0]) if row else None

    def identity(self, study_uid: str) -> PatientIdentity:
        """Whom an exam belongs to."""
        row = self._connection.execute(
            "SELECT accession_number, initials, study_time FROM exam_identities"
            " WHERE study_uid = ?",
            (study_uid,),
        ).fetchone()
        if row is None:
            return PatientIdentity()
        return PatientIdentity(accession_number=row[0], initials=row[1], study_time=row[2])

    def revisions(self, study_uid: str) -> list[RevisionRecord]:
        """Every revision of the exam's flag, oldest first."""
        rows = self._connection.execute(
            "SELECT revision, seq, decided_at_ms, flag, final, completed_by, published_at_ms"
            " FROM exam_revisions WHERE study_uid = ? ORDER BY revision",
            (study_uid,),
        )
        return [
            RevisionRecord(
                revision=revision,
                seq=seq,
                decided_at_ms=decided_at_ms,
                flag=Flag(flag),
                final=bool(final),
                completed_by=completed_by,
                published_at_ms=published_at_ms,
            )
            for revision, seq, decided_at_ms, flag, final, completed_by, published_at_ms in rows
        ]

    def notes(self, study_uid: str) -> list[tuple[int, Note]]:
        """(at_ms, what) of what persons did or left, oldest first."""
        rows = self._connection.execute(
            "SELECT at_ms, note FROM exam_notes WHERE study_uid = ? ORDER BY at_ms, rowid",
            (study_uid,),
        )
        return [(at_ms, Note(note)) for at_ms, note in rows]
