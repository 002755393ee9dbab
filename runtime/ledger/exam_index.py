"""Lists of exams, today's and those of the past, without reading what each of them holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.exam_rules.state_machine import Phase
from runtime.image.outcome import Flag

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, kw_only=True)
class ExamListItem:
    """One exam in a list. Times: ms since the epoch, UTC.

    Two entries of one exam that are equal stand for the same state of it.
    """

    study_uid: str
    key: str
    first_received_ms: int
    last_activity_ms: int
    collecting: bool
    revision: int
    images: int
    superseded_images: int
    acknowledged_at_ms: int | None
    overdue_at_ms: int | None


@dataclass(frozen=True, kw_only=True)
class PastExam:
    """One line of the history."""

    key: str
    first_received_ms: int
    accession_number: str
    initials: str
    study_time: str
    flag: Flag | None
    final: bool
    revision: int
    acknowledged_at_ms: int | None
    decided_at_ms: int | None


@dataclass(frozen=True, kw_only=True)
class ExamQuery:
    """What is looked for. `until_ms` is exclusive; None and "" match everything."""

    accession_number: str = ""
    """The beginning of it, in any case."""
    since_ms: int | None = None
    until_ms: int | None = None
    limit: int = 1000


class ExamIndex:
    """Queries over exams inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def recent(self, since_ms: int, limit: int = 200) -> list[ExamListItem]:
        """Exams that began since then, and older ones whose priority nobody saw; newest first."""
        rows = self._connection.execute(
            "SELECT i.study_uid, i.exam_key, i.first_received_ms, e.last_activity_ms, e.phase,"
            " e.revision,"
            " (SELECT count(*) FROM objects o WHERE o.study_uid = i.study_uid),"
            " (SELECT count(superseded_by) FROM objects o WHERE o.study_uid = i.study_uid),"
            " a.acknowledged_at_ms, a.overdue_at_ms"
            " FROM exam_identities i JOIN exams e USING (study_uid)"
            " LEFT JOIN exam_attention a USING (study_uid) WHERE i.study_uid IN"
            " (SELECT study_uid FROM exam_identities WHERE first_received_ms >= ?"
            "  UNION SELECT study_uid FROM exam_attention WHERE acknowledged_at_ms IS NULL)"
            " ORDER BY i.first_received_ms DESC, i.rowid DESC LIMIT ?",
            (since_ms, limit),
        )
        return [
            ExamListItem(
                study_uid=study_uid,
                key=key,
                first_received_ms=first_received_ms,
                last_activity_ms=last_activity_ms,
                collecting=phase == Phase.COLLECTING,
                revision=revision,
                images=images,
                superseded_images=superseded_images,
                acknowledged_at_ms=acknowledged_at_ms,
                overdue_at_ms=overdue_at_ms,
            )
            for (
                study_uid,
                key,
                first_received_ms,
                last_activity_ms,
                phase,
                revision,
                images,
                superseded_images,
                acknowledged_at_ms,
                overdue_at_ms,
            ) in rows
        ]

    def search(self, query: ExamQuery) -> list[PastExam]:
        """The exams that match, newest first."""
        escaped = query.accession_number
        for special in ("\\", "%", "_"):
            escaped = escaped.replace(special, f"\\{special}")
        rows = self._connection.execute(
            "SELECT i.exam_key, i.first_received_ms, i.accession_number, i.initials, i.study_time,"
            " r.flag, e.phase, e.revision, a.acknowledged_at_ms, r.decided_at_ms"
            " FROM exam_identities i JOIN exams e USING (study_uid)"
            " LEFT JOIN exam_revisions r ON r.study_uid = i.study_uid AND r.revision = e.revision"
            " LEFT JOIN exam_attention a ON a.study_uid = i.study_uid"
            " WHERE i.first_received_ms >= ? AND i.first_received_ms < ?"
            " AND i.accession_number LIKE ? ESCAPE '\\'"
            " ORDER BY i.first_received_ms DESC, i.rowid DESC LIMIT ?",
            (
                query.since_ms or 0,
                query.until_ms if query.until_ms is not None else 1 << 62,
                escaped + "%",
                query.limit,
            ),
        )
        return [
            PastExam(
                key=key,
                first_received_ms=first_received_ms,
                accession_number=accession_number,
                initials=initials,
                study_time=study_time,
                flag=Flag(flag) if flag else None,
                final=phase == Phase.FINAL,
                revision=revision,
                acknowledged_at_ms=acknowledged_at_ms,
                decided_at_ms=decided_at_ms,
            )
            for (
                key,
                first_received_ms,
                accession_number,
                initials,
                study_time,
                flag,
                phase,
                revision,
                acknowledged_at_ms,
                decided_at_ms,
            ) in rows
        ]
