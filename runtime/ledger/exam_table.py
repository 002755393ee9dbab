"""The ledger's table of exams: where each stands, its images with their outcomes, its flag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from runtime.exam_rules.exam_flag import Completion, ExamFlag, ExamImage, Role
from runtime.exam_rules.state_machine import Exam, Phase
from runtime.image.outcome import Flag
from runtime.ledger.integrity import whole
from runtime.ledger.job_table import OUTCOME
from runtime.ledger.object_table import COUNTS, HEADER

if TYPE_CHECKING:
    import sqlite3

    from runtime.ledger.modality_notice_table import ModalityNoticeRows
    from runtime.ledger.object_table import ArrivalRows
    from runtime.ledger.patient_table import PatientRows

FLAG = TypeAdapter(ExamFlag)


class ExamRows:
    """Row operations on exams; a part of `LedgerTransaction`."""

    _connection: sqlite3.Connection
    notices: ModalityNoticeRows
    arrivals: ArrivalRows
    patients: PatientRows

    def exam_images(self, study_uid: str) -> list[ExamImage]:
        """The exam's images, each with its newest outcome (None while it waits).

        A later job that could not judge an image (a companion failed) takes no judgement back.
        """
        rows = self._connection.execute(
            "SELECT image_id, sop_uid, header, role, received_at_ms, superseded_by,"  # noqa: S608 - a condition of ours
            " (SELECT outcome FROM outcomes WHERE outcomes.image_id = objects.image_id"
            f"  AND {whole('outcomes')}"
            "  ORDER BY json_extract(outcome, '$.score') NOTNULL DESC, job_id DESC LIMIT 1)"
            f" FROM objects WHERE study_uid = ? AND {COUNTS} AND {whole('objects')}"
            " ORDER BY image_id",
            (study_uid,),
        ).fetchall()
        rejected = self.notices.rejections(study_uid)
        images = []
        for image_id, sop_uid, header_json, role, received_at_ms, superseded_by, outcome in rows:
            header = HEADER.validate_json(header_json)
            images.append(
                ExamImage(
                    image_id=image_id,
                    sop_instance_uid=sop_uid,
                    view_code=header.view_code,
                    role=Role.SUPERSEDED if superseded_by is not None else Role(role),
                    outcome=None if outcome is None else OUTCOME.validate_json(outcome),
                    received_at_ms=received_at_ms,
                    acquired_at=header.acquired_at,
                    superseded_by=superseded_by,
                    rejected=sop_uid in rejected,
                )
            )
        return images

    def study_uids(self) -> list[str]:
        """Every exam that the ledger knows."""
        return [uid for (uid,) in self._connection.execute("SELECT study_uid FROM exams")]

    def exam(self, study_uid: str) -> Exam | None:
        """The exam's state, None before its first image."""
        row = self._connection.execute(
            "SELECT phase, revision, closed_by, timed_out, last_activity_ms FROM exams"  # noqa: S608
            f" WHERE study_uid = ? AND {whole('exams')}",
            (study_uid,),
        ).fetchone()
        if row is None:
            return None
        phase, revision, closed_by, timed_out, last_activity_ms = row
        return Exam(
            study_instance_uid=study_uid,
            phase=Phase(phase),
            revision=revision,
            closed_by=Completion(closed_by) if closed_by else None,
            timed_out=bool(timed_out),
            last_activity_ms=last_activity_ms,
            narrowed_views=self.notices.narrowed_views(study_uid),
            images_missing=self.notices.images_missing(study_uid),
            images_surplus=self.arrivals.surplus(study_uid),
            two_patients=self.patients.are_two(study_uid),
        )

    def save_exam(self, exam: Exam, flag: ExamFlag | None = None) -> None:
        """Writes the exam's state and, if there is a new revision, its flag."""
        self._connection.execute(
            "INSERT INTO exams (study_uid, phase, revision, closed_by, timed_out,"
            " last_activity_ms, flag) VALUES (?,?,?,?,?,?,?) ON CONFLICT (study_uid) DO UPDATE SET"
            " phase = excluded.phase, revision = excluded.revision,"
            " closed_by = excluded.closed_by, timed_out = excluded.timed_out,"
            " last_activity_ms = excluded.last_activity_ms,"
            " flag = coalesce(excluded.flag, exams.flag)",
            (
                exam.study_instance_uid,
                exam.phase.value,
                exam.revision,
                exam.closed_by.value if exam.closed_by else None,
                int(exam.timed_out),
                exam.last_activity_ms,
                None if flag is None else FLAG.dump_json(flag).decode(),
            ),
        )

    def exam_flag(self, study_uid: str) -> ExamFlag | None:
        """The current revision of an exam's flag."""
        row = self._connection.execute(
            f"SELECT flag FROM exams WHERE study_uid = ? AND {whole('exams')}",  # noqa: S608
            (study_uid,),
        ).fetchone()
        return FLAG.validate_json(row[0]) if row and row[0] else None

    def collecting_exams(self, idle_since_ms: int) -> list[str]:
        """Study UIDs of open exams without activity since then."""
        rows = self._connection.execute(
            "SELECT study_uid FROM exams WHERE phase = ? AND timed_out = 0"
            " AND last_activity_ms <= ? ORDER BY last_activity_ms",
            (Phase.COLLECTING.value, idle_since_ms),
        )
        return [study_uid for (study_uid,) in rows]

    def clamp_activity(self, now_ms: int) -> None:
        """After the clock was set back, nothing has happened in the future: the wait begins now."""
        self._connection.execute(
            "UPDATE exams SET last_activity_ms = ? WHERE phase = ? AND last_activity_ms > ?",
            (now_ms, Phase.COLLECTING.value, now_ms),
        )

    def flags_between(self, start_ms: int, end_ms: int) -> list[Flag]:
        """The current flags of the exams whose last activity was in that time."""
        rows = self._connection.execute(
            "SELECT json_extract(flag, '$.flag') FROM exams WHERE flag NOTNULL"
            " AND last_activity_ms >= ? AND last_activity_ms < ?",
            (start_ms, end_ms),
        )
        return [Flag(flag) for (flag,) in rows]

    def oldest_collecting_ms(self) -> int | None:
        """Last activity of the open exam that times out first."""
        row = self._connection.execute(
            "SELECT min(last_activity_ms) FROM exams WHERE phase = ? AND timed_out = 0",
            (Phase.COLLECTING.value,),
        ).fetchone()
        return None if row[0] is None else int(row[0])
