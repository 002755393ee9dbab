"""One transaction of the ledger: its tables as typed rows, its notes, its clock, its retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.exam_rules.state_machine import Phase
from runtime.ledger.exam_history import EXAM_HISTORY_TABLES, ExamHistory
from runtime.ledger.exam_index import ExamIndex
from runtime.ledger.exam_table import ExamRows
from runtime.ledger.job_table import DescriptorRows, JobRows
from runtime.ledger.modality_notice_table import ModalityNoticeRows
from runtime.ledger.object_table import ARRIVAL_TABLES, ArrivalRows, ObjectRows
from runtime.ledger.outbox import Outbox
from runtime.ledger.patient_table import PATIENT_TABLES, PatientRows

if TYPE_CHECKING:
    import sqlite3

    from runtime.publishing.publication import Publication

DUE = (
    "SELECT study_uid FROM exams WHERE phase = ? AND last_activity_ms < ? AND NOT EXISTS"
    " (SELECT 1 FROM objects WHERE objects.study_uid = exams.study_uid AND path <> '')"
)
# In this order: outcomes hang on jobs, descriptors on objects.
FORGET_EXAM = (
    ("DELETE FROM outcomes WHERE job_id IN (SELECT job_id FROM jobs WHERE study_uid = ?)"),
    (
        "DELETE FROM image_descriptors WHERE image_id IN"
        " (SELECT image_id FROM objects WHERE study_uid = ?)"
    ),
    *(
        f"DELETE FROM {table} WHERE study_uid = ?"  # noqa: S608 - our own tables' names
        for table in (
            "jobs",
            "objects",
            *EXAM_HISTORY_TABLES,
            *ARRIVAL_TABLES,
            *PATIENT_TABLES,
            "exams",
        )
    ),
)


class LedgerTransaction(ObjectRows, ExamRows, JobRows):
    """Row operations. Only `Ledger.transact` makes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.outbox = Outbox(connection)
        self.notices = ModalityNoticeRows(connection)
        self.arrivals = ArrivalRows(connection)
        self.patients = PatientRows(connection)
        self.exam_history = ExamHistory(connection)
        self.descriptors = DescriptorRows(connection)
        self.enqueued = 0
        self.jobs_changed = False

    @property
    def exam_index(self) -> ExamIndex:
        """What the console lists."""
        return ExamIndex(self._connection)

    def enqueue(self, publication: Publication, at_ms: int) -> int:
        """Queues a message; its `seq`."""
        self.enqueued += 1
        return self.outbox.add(publication, at_ms)

    # --- meta ------------------------------------------------------------------------------------

    def meta(self, key: str) -> str | None:
        """A value of the ledger's own notes."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Writes a note."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # --- the clock -------------------------------------------------------------------------------

    def times_kept(self) -> list[str]:
        """TABLE.COLUMN of every time in the ledger: by its schema, so that none is forgotten."""
        return [
            f"{table}.{column}"
            for table, column in self._connection.execute(
                "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c"
                " WHERE t.type = 'table' AND c.type = 'INTEGER' AND c.name GLOB '*_ms'"
            )
        ]

    def shift_times(self, by_ms: int) -> None:
        """Every time that the ledger keeps is moved with a clock that was set; payloads stay."""
        for table, column in (name.split(".") for name in self.times_kept()):
            self._connection.execute(
                f'UPDATE "{table}" SET "{column}" = "{column}" + ? WHERE "{column}" NOTNULL',  # noqa: S608 - our own schema's names
                (by_ms,),
            )

    # --- retention -------------------------------------------------------------------------------

    def forget_exams_before(self, at_ms: int) -> int:
        """Deletes the records of final exams without activity since then; how many exams.

        An exam of which a file is left waits for `file_removed`: a file without a row would be
        taken in again at the next start, as of then.
        """
        due = self._connection.execute(DUE, (Phase.FINAL.value, at_ms)).fetchall()
        self.jobs_changed = True
        for statement in FORGET_EXAM:
            self._connection.executemany(statement, due)
        self.notices.forget_before(at_ms)
        return len(due)
