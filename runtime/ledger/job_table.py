"""The ledger's tables of jobs, their outcomes, and what the images of them looked like."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from runtime.image.descriptors import ImageDescriptors
from runtime.image.outcome import COMPARE, AnsweredBytes, Job, JobImage, JobOutcome, ViewOutcome
from runtime.ledger.integrity import whole

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from runtime.image.outcome import ImageOutcome


DESCRIPTOR_SCHEMA = """
CREATE TABLE IF NOT EXISTS image_descriptors (
    image_id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, descriptors TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS image_descriptors_by_time ON image_descriptors (at_ms);
"""
DESCRIPTORS = TypeAdapter(ImageDescriptors)
OUTCOME: TypeAdapter[ViewOutcome] = TypeAdapter(ViewOutcome)


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


class JobRows:
    """Row operations on jobs; a part of `LedgerTransaction`."""

    _connection: sqlite3.Connection
    descriptors: DescriptorRows
    jobs_changed: bool
    """Whether this transaction made, ended or deleted jobs."""

    def add_job(
        self,
        study_uid: str,
        package_sha256: str,
        precision: str,
        images: Sequence[tuple[int, str]],
        at_ms: int,
    ) -> int:
        """Queues a job for (image_id, slot) pairs; its job_id."""
        self.jobs_changed = True
        cursor = self._connection.execute(
            "INSERT INTO jobs (study_uid, package_sha256, precision, images, created_at_ms)"
            " VALUES (?,?,?,?,?)",
            (study_uid, package_sha256, precision, json.dumps(list(images)), at_ms),
        )
        return int(cursor.lastrowid or 0)

    def open_job(self, job_id: int) -> OpenJob | None:
        """A job that has no outcome yet."""
        row = self._connection.execute(
            "SELECT job_id, study_uid, package_sha256, precision, images, worker_deaths FROM jobs"  # noqa: S608
            f" WHERE job_id = ? AND done = 0 AND {whole('jobs')}",
            (job_id,),
        ).fetchone()
        return None if row is None else self._open_job(row)

    def next_job(self, skip: Collection[int] = ()) -> OpenJob | None:
        """The oldest open job that is not in `skip`."""
        rows = self._connection.execute(
            "SELECT job_id, study_uid, package_sha256, precision, images, worker_deaths FROM jobs"  # noqa: S608
            f" WHERE done = 0 AND {whole('jobs')} ORDER BY job_id LIMIT ?",
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
                    self._job_image(image_id, slot) for image_id, slot in json.loads(images)
                ),
            ),
            study_uid=study_uid,
            worker_deaths=worker_deaths,
        )

    def _job_image(self, image_id: int, slot: str) -> JobImage:
        row = self._connection.execute(
            "SELECT path, sha256, json_extract(header, '$.transfer_syntax_uid') FROM objects"  # noqa: S608
            f" WHERE image_id = ? AND {whole('objects')}",
            (image_id,),
        ).fetchone()
        if row is None:
            raise KeyError(image_id)
        path, sha256, syntax = row
        answered = AnsweredBytes(sha256=sha256, transfer_syntax_uid=syntax)
        return JobImage(image_id=image_id, path=path, slot=slot, answered=answered)

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
        """The images for which the exam already has a job, open or done; comparisons are none."""
        rows = self._connection.execute("SELECT images FROM jobs WHERE study_uid = ?", (study_uid,))
        return {
            image_id
            for (images,) in rows
            for image_id, slot in json.loads(images)
            if slot != COMPARE
        }

    def finish_job(self, outcome: JobOutcome, at_ms: int) -> None:
        """Writes the outcomes of a job and closes it."""
        self.jobs_changed = True
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


class DescriptorRows:
    """Row operations on what images looked like. Only a `LedgerTransaction` makes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, images: Iterable[ImageOutcome], at_ms: int) -> None:
        """Keeps the descriptors of images that have some; what an image looked like first stands.

        An image of a breast's or an exam's model is looked at again with each revision.
        """
        self._connection.executemany(
            "INSERT OR IGNORE INTO image_descriptors VALUES (?, ?, ?)",
            [
                (image.image_id, at_ms, DESCRIPTORS.dump_json(image.descriptors).decode())
                for image in images
                if image.descriptors is not None
            ],
        )

    def between(self, start_ms: int, end_ms: int) -> list[ImageDescriptors]:
        """Those of the images that were described in that time."""
        rows = self._connection.execute(
            "SELECT descriptors FROM image_descriptors WHERE at_ms >= ? AND at_ms < ?",
            (start_ms, end_ms),
        )
        return [DESCRIPTORS.validate_json(text) for (text,) in rows]

    def first(self, limit: int, since_ms: int) -> list[ImageDescriptors]:
        """Those of the first `limit` images from then on."""
        rows = self._connection.execute(
            "SELECT descriptors FROM image_descriptors WHERE at_ms >= ?"
            " ORDER BY at_ms, image_id LIMIT ?",
            (since_ms, limit),
        )
        return [DESCRIPTORS.validate_json(text) for (text,) in rows]
