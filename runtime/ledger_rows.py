"""The ledger's tables as typed rows, inside one transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from runtime.arrival_rows import ARRIVAL_TABLES, ArrivalRows
from runtime.chronicle import CHRONICLE_TABLES, Chronicle
from runtime.descriptor_rows import DescriptorRows
from runtime.exam import Exam, Phase
from runtime.exam_flag import Completion, ExamFlag, ExamImage, Role
from runtime.exam_index import ExamIndex
from runtime.image_header import ImageHeader
from runtime.outbox import Outbox
from runtime.outcome import Flag, Job, JobImage, JobOutcome, ViewOutcome
from runtime.unit_word_rows import UnitWordRows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Sequence

    from runtime.publication import Publication

HEADER = TypeAdapter(ImageHeader)
OUTCOME: TypeAdapter[ViewOutcome] = TypeAdapter(ViewOutcome)
FLAG = TypeAdapter(ExamFlag)

COUNTS = "conflicts_with IS NULL AND image_id NOT IN (SELECT image_id FROM surplus_images)"
"""Of a row of `objects`: it is one of its exam's images."""

# In this order: outcomes hang on jobs, descriptors on objects, jobs and objects on exams.
FORGET_EXAMS = (
    (
        "DELETE FROM outcomes WHERE job_id IN (SELECT job_id FROM jobs WHERE study_uid IN"
        " (SELECT study_uid FROM exams WHERE phase = ? AND last_activity_ms < ?))"
    ),
    (
        "DELETE FROM jobs WHERE study_uid IN"
        " (SELECT study_uid FROM exams WHERE phase = ? AND last_activity_ms < ?)"
    ),
    (
        "DELETE FROM image_descriptors WHERE image_id IN (SELECT image_id FROM objects WHERE"
        " study_uid IN (SELECT study_uid FROM exams WHERE phase = ? AND last_activity_ms < ?))"
    ),
    (
        "DELETE FROM objects WHERE study_uid IN"
        " (SELECT study_uid FROM exams WHERE phase = ? AND last_activity_ms < ?)"
    ),
    *(
        f"DELETE FROM {table} WHERE study_uid IN"  # noqa: S608 - our own tables' names
        " (SELECT study_uid FROM exams WHERE phase = ? AND last_activity_ms < ?)"
        for table in (*CHRONICLE_TABLES, *ARRIVAL_TABLES)
    ),
    "DELETE FROM exams WHERE phase = ? AND last_activity_ms < ?",
)


@dataclass(frozen=True, kw_only=True)
class NewObject:
    """A spooled object that is about to become durable."""

    header: ImageHeader
    sha256: str
    path: str
    size_bytes: int
    role: Role
    source: str
    peer: str
    received_at_ms: int


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """A durable object."""

    image_id: int
    study_uid: str
    header: ImageHeader
    path: str
    role: Role
    received_at_ms: int
    conflicts_with: int | None


@dataclass(frozen=True, kw_only=True)
class OpenJob:
    """A job without an outcome, and how many workers died of it."""

    job: Job
    study_uid: str
    worker_deaths: int


@dataclass(frozen=True, kw_only=True)
class FinishedJob:
    """A job with its (image_id, outcome) pairs."""

    job_id: int
    done_at_ms: int
    stage_ms: dict[str, float]
    outcomes: tuple[tuple[int, ViewOutcome], ...]


class LedgerTransaction:
    """Row operations. Only `Ledger.transact` makes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.outbox = Outbox(connection)
        self.word = UnitWordRows(connection)
        self.arrivals = ArrivalRows(connection)
        self.chronicle = Chronicle(connection)
        self.exam_index = ExamIndex(connection)
        self.descriptors = DescriptorRows(connection)
        self.enqueued = 0

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

    # --- objects ---------------------------------------------------------------------------------

    _OBJECT = "SELECT image_id, study_uid, header, path, role, received_at_ms, conflicts_with"

    @staticmethod
    def _object(row: tuple[int, str, str, str, str, int, int | None]) -> StoredObject:
        image_id, study_uid, header, path, role, received_at_ms, conflicts_with = row
        return StoredObject(
            image_id=image_id,
            study_uid=study_uid,
            header=HEADER.validate_json(header),
            path=path,
            role=Role(role),
            received_at_ms=received_at_ms,
            conflicts_with=conflicts_with,
        )

    def source_of(self, image_id: int) -> str:
        """The intake that an object came by."""
        row = self._connection.execute(
            "SELECT source FROM objects WHERE image_id = ?", (image_id,)
        ).fetchone()
        return str(row[0])

    def objects_with_uid(self, sop_uid: str) -> list[tuple[int, str]]:
        """(image_id, sha256) of all objects under a SOP Instance UID; the one that stands first."""
        return self._connection.execute(
            "SELECT image_id, sha256 FROM objects WHERE sop_uid = ?"
            " ORDER BY conflicts_with NOTNULL, image_id",
            (sop_uid,),
        ).fetchall()

    def add_object(self, new: NewObject, conflicts_with: int | None) -> int:
        """Stores an object row; its image_id."""
        cursor = self._connection.execute(
            "INSERT INTO objects (sop_uid, sha256, study_uid, path, size_bytes, header, role,"
            " source, peer, received_at_ms, conflicts_with) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                new.header.sop_instance_uid,
                new.sha256,
                new.header.study_instance_uid,
                new.path,
                new.size_bytes,
                HEADER.dump_json(new.header).decode(),
                new.role.value,
                new.source,
                new.peer,
                new.received_at_ms,
                conflicts_with,
            ),
        )
        return int(cursor.lastrowid or 0)

    def object(self, image_id: int) -> StoredObject:
        """One object. Raises KeyError."""
        row = self._connection.execute(
            f"{self._OBJECT} FROM objects WHERE image_id = ?", (image_id,)
        ).fetchone()
        if row is None:
            raise KeyError(image_id)
        return self._object(row)

    def exam_objects(self, study_uid: str) -> list[StoredObject]:
        """The objects of an exam that count, oldest first (conflicting copies do not)."""
        rows = self._connection.execute(
            f"{self._OBJECT} FROM objects WHERE study_uid = ? AND {COUNTS} ORDER BY image_id",
            (study_uid,),
        )
        return [self._object(row) for row in rows]

    def correct_header(self, image_id: int, header: ImageHeader, role: Role) -> None:
        """The worker knows the image better than its header did."""
        self._connection.execute(
            "UPDATE objects SET header = ?, role = ? WHERE image_id = ?",
            (HEADER.dump_json(header).decode(), role.value, image_id),
        )

    def exam_images(self, study_uid: str) -> list[ExamImage]:
        """The exam's images, each with its newest outcome (None while it waits).

        A later job that could not judge an image (a companion failed) takes no judgement back.
        """
        rows = self._connection.execute(
            "SELECT image_id, sop_uid, header, role, received_at_ms, superseded_by,"  # noqa: S608 - a condition of ours
            " (SELECT outcome FROM outcomes WHERE outcomes.image_id = objects.image_id"
            "  ORDER BY json_extract(outcome, '$.score') NOTNULL DESC, job_id DESC LIMIT 1)"
            f" FROM objects WHERE study_uid = ? AND {COUNTS} ORDER BY image_id",
            (study_uid,),
        ).fetchall()
        rejected = self.word.rejections(study_uid)
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

    # --- exams -----------------------------------------------------------------------------------

    def study_uids(self) -> list[str]:
        """Every exam that the ledger knows."""
        return [uid for (uid,) in self._connection.execute("SELECT study_uid FROM exams")]

    def exam(self, study_uid: str) -> Exam | None:
        """The exam's state, None before its first image."""
        row = self._connection.execute(
            "SELECT phase, revision, closed_by, timed_out, last_activity_ms FROM exams"
            " WHERE study_uid = ?",
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
            narrowed_views=self.word.narrowed_views(study_uid),
            images_missing=self.word.images_missing(study_uid),
            images_surplus=self.arrivals.surplus(study_uid),
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
            "SELECT flag FROM exams WHERE study_uid = ?", (study_uid,)
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

    # --- jobs ------------------------------------------------------------------------------------

    def add_job(
        self,
        study_uid: str,
        package_sha256: str,
        precision: str,
        images: Sequence[tuple[int, str]],
        at_ms: int,
    ) -> int:
        """Queues a job for (image_id, slot) pairs; its job_id."""
        cursor = self._connection.execute(
            "INSERT INTO jobs (study_uid, package_sha256, precision, images, created_at_ms)"
            " VALUES (?,?,?,?,?)",
            (study_uid, package_sha256, precision, json.dumps(list(images)), at_ms),
        )
        return int(cursor.lastrowid or 0)

    def open_job(self, job_id: int) -> OpenJob | None:
        """A job that has no outcome yet."""
        row = self._connection.execute(
            "SELECT job_id, study_uid, package_sha256, precision, images, worker_deaths FROM jobs"
            " WHERE job_id = ? AND done = 0",
            (job_id,),
        ).fetchone()
        return None if row is None else self._open_job(row)

    def next_job(self, skip: Collection[int] = ()) -> OpenJob | None:
        """The oldest open job that is not in `skip`."""
        rows = self._connection.execute(
            "SELECT job_id, study_uid, package_sha256, precision, images, worker_deaths FROM jobs"
            " WHERE done = 0 ORDER BY job_id LIMIT ?",
            (len(skip) + 1,),
        )
        for row in rows:
            if row[0] not in skip:
                return self._open_job(row)
        return None

    def _open_job(self, row: tuple[int, str, str, str, str, int]) -> OpenJob:
        job_id, study_uid, package_sha256, precision, images, worker_deaths = row
        return OpenJob(
            job=Job(
                job_id=job_id,
                package_sha256=package_sha256,
                precision=precision,
                images=tuple(
                    JobImage(image_id=image_id, path=self.object(image_id).path, slot=slot)
                    for image_id, slot in json.loads(images)
                ),
            ),
            study_uid=study_uid,
            worker_deaths=worker_deaths,
        )

    def jobs_open(self) -> int:
        """How many jobs wait for an outcome."""
        return int(
            self._connection.execute("SELECT count(*) FROM jobs WHERE done = 0").fetchone()[0]
        )

    def jobs_waiting_since(self, at_ms: int) -> list[int]:
        """Open jobs that were made before then."""
        rows = self._connection.execute(
            "SELECT job_id FROM jobs WHERE done = 0 AND created_at_ms < ? ORDER BY job_id", (at_ms,)
        )
        return [job_id for (job_id,) in rows]

    def images_in_jobs(self, study_uid: str) -> set[int]:
        """The images for which the exam already has a job, open or done."""
        rows = self._connection.execute("SELECT images FROM jobs WHERE study_uid = ?", (study_uid,))
        return {image_id for (images,) in rows for image_id, _slot in json.loads(images)}

    def finish_job(self, outcome: JobOutcome, at_ms: int) -> None:
        """Writes the outcomes of a job and closes it."""
        self._connection.executemany(
            "INSERT INTO outcomes (job_id, image_id, outcome) VALUES (?,?,?)",
            [
                (outcome.job_id, image.image_id, OUTCOME.dump_json(image.outcome).decode())
                for image in outcome.images
            ],
        )
        self.descriptors.add(outcome.images, at_ms)
        self._connection.execute(
            "UPDATE jobs SET done = 1, done_at_ms = ?, stage_ms = ? WHERE job_id = ?",
            (at_ms, json.dumps(outcome.stage_ms), outcome.job_id),
        )

    def outcomes_between(
        self, package_sha256: str, start_ms: int, end_ms: int
    ) -> Iterator[ViewOutcome]:
        """The outcomes that a package gave in that time."""
        rows = self._connection.execute(
            "SELECT outcome FROM outcomes JOIN jobs USING (job_id) WHERE package_sha256 = ?"
            " AND done_at_ms >= ? AND done_at_ms < ?",
            (package_sha256, start_ms, end_ms),
        )
        for (outcome,) in rows:
            yield OUTCOME.validate_json(outcome)

    def finished_jobs(self, study_uid: str) -> list[FinishedJob]:
        """The jobs of an exam that are done, oldest first."""
        jobs = self._connection.execute(
            "SELECT job_id, done_at_ms, stage_ms FROM jobs WHERE study_uid = ? AND done = 1"
            " ORDER BY job_id",
            (study_uid,),
        ).fetchall()
        return [
            FinishedJob(
                job_id=job_id,
                done_at_ms=done_at_ms,
                stage_ms=json.loads(stage_ms),
                outcomes=tuple(
                    (image_id, OUTCOME.validate_json(outcome))
                    for image_id, outcome in self._connection.execute(
                        "SELECT image_id, outcome FROM outcomes WHERE job_id = ? ORDER BY image_id",
                        (job_id,),
                    )
                ),
            )
            for job_id, done_at_ms, stage_ms in jobs
        ]

    def worker_died_of(self, job_id: int) -> int:
        """Counts a worker's death against the job; how many by now."""
        row = self._connection.execute(
            "UPDATE jobs SET worker_deaths = worker_deaths + 1 WHERE job_id = ?"
            " RETURNING worker_deaths",
            (job_id,),
        ).fetchone()
        return int(row[0]) if row else 0

    def repin_jobs(self, package_sha256: str, precision: str) -> int:
        """Open jobs of another package go to the active one (after a restart); how many."""
        return self._connection.execute(
            "UPDATE jobs SET package_sha256 = ?, precision = ? WHERE done = 0"
            " AND (package_sha256 <> ? OR precision <> ?)",
            (package_sha256, precision, package_sha256, precision),
        ).rowcount

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

    def spooled_before(self, at_ms: int, limit: int = 200) -> list[tuple[int, str]]:
        """(image_id, path) of objects of final exams whose file may go."""
        return self._connection.execute(
            "SELECT image_id, path FROM objects LEFT JOIN exams USING (study_uid)"
            " WHERE path <> '' AND received_at_ms < ? AND coalesce(phase, ?2) = ?2 LIMIT ?",
            (at_ms, Phase.FINAL.value, limit),
        ).fetchall()

    def file_removed(self, image_id: int) -> None:
        """The object's file left the spool; its record stays."""
        self._connection.execute("UPDATE objects SET path = '' WHERE image_id = ?", (image_id,))

    def forget_exams_before(self, at_ms: int) -> int:
        """Deletes the records of final exams without activity since then; how many exams."""
        arguments = (Phase.FINAL.value, at_ms)
        for statement in FORGET_EXAMS:
            forgotten = self._connection.execute(statement, arguments).rowcount
        self.word.forget_before(at_ms)
        return forgotten

    def spooled_paths(self) -> set[str]:
        """Every file that the spool must hold."""
        return {
            path
            for (path,) in self._connection.execute("SELECT path FROM objects WHERE path <> ''")
        }
