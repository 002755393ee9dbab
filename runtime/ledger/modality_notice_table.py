"""What the unit itself said about its exams, as rows: narrowed views, rejections, steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.exam_rules.procedure_step import StepState
from runtime.exam_rules.retakes import Rejection
from runtime.ledger.integrity import whole

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from runtime.exam_rules.procedure_step import StepBegun

MODALITY_NOTICE_SCHEMA = """
CREATE TABLE IF NOT EXISTS narrowed_views (
    study_uid TEXT PRIMARY KEY, views TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS rejections (
    sop_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, retake_uid TEXT,
    at_ms INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS rejections_by_study ON rejections (study_uid);
CREATE TABLE IF NOT EXISTS awaited_images (
    sop_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS awaited_by_study ON awaited_images (study_uid);
CREATE TABLE IF NOT EXISTS procedure_steps (
    step_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, mammography INTEGER NOT NULL,
    state TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS steps_by_study ON procedure_steps (study_uid);
"""

FORGET = tuple(
    f"DELETE FROM {table} WHERE at_ms < ? AND study_uid NOT IN (SELECT study_uid FROM exams)"  # noqa: S608 - names of ours
    for table in ("narrowed_views", "rejections", "awaited_images", "procedure_steps")
)


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """A performed procedure step as it stands."""

    study_uid: str
    mammography: bool
    state: StepState


class ModalityNoticeRows:
    """Row operations inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # --- expected views --------------------------------------------------------------------------

    def narrow_views(self, study_uid: str, views: Sequence[str], at_ms: int) -> None:
        """The exam will have these views only; the last word counts."""
        self._connection.execute(
            "INSERT OR REPLACE INTO narrowed_views VALUES (?,?,?)",
            (study_uid, json.dumps(list(views)), at_ms),
        )

    def narrowed_views(self, study_uid: str) -> tuple[str, ...]:
        """The views that the unit narrowed the exam to; () if it did not."""
        row = self._connection.execute(
            f"SELECT views FROM narrowed_views WHERE study_uid = ? AND {whole('narrowed_views')}",  # noqa: S608
            (study_uid,),
        ).fetchone()
        return tuple(json.loads(row[0])) if row else ()

    # --- rejected images -------------------------------------------------------------------------

    def reject(self, study_uid: str, rejection: Rejection, at_ms: int) -> bool:
        """Remembers that the unit rejected an image; False if that was known.

        A retake that is named only later is added to what is known.
        """
        changed = self._connection.execute(
            "INSERT INTO rejections (sop_uid, study_uid, retake_uid, at_ms) VALUES (?,?,?,?)"
            " ON CONFLICT (sop_uid) DO UPDATE SET retake_uid = excluded.retake_uid"
            " WHERE rejections.retake_uid IS NULL AND excluded.retake_uid IS NOT NULL",
            (rejection.sop_uid, study_uid, rejection.retake_uid, at_ms),
        ).rowcount
        return changed > 0

    def rejections(self, study_uid: str) -> dict[str, Rejection]:
        """The rejected images of an exam by SOP Instance UID, whether they came or not."""
        rows = self._connection.execute(
            "SELECT sop_uid, retake_uid FROM rejections"  # noqa: S608 - a condition of ours
            f" WHERE study_uid = ? AND {whole('rejections')}",
            (study_uid,),
        )
        return {sop: Rejection(sop_uid=sop, retake_uid=retake) for sop, retake in rows}

    def supersede(self, image_id: int, by_image_id: int) -> None:
        """The image counts no more; the retake stands in its place."""
        self._connection.execute(
            "UPDATE objects SET superseded_by = ? WHERE image_id = ?", (by_image_id, image_id)
        )

    # --- images that were announced --------------------------------------------------------------

    def await_images(self, study_uid: str, sop_uids: Iterable[str], at_ms: int) -> None:
        """The unit said that it made these images."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO awaited_images VALUES (?,?,?)",
            [(sop_uid, study_uid, at_ms) for sop_uid in sop_uids],
        )

    def images_missing(self, study_uid: str) -> bool:
        """Whether an image that the unit announced has not come."""
        return (
            self._connection.execute(
                "SELECT 1 FROM awaited_images AS a WHERE study_uid = ? AND NOT EXISTS"
                " (SELECT 1 FROM objects WHERE objects.sop_uid = a.sop_uid) LIMIT 1",
                (study_uid,),
            ).fetchone()
            is not None
        )

    # --- performed procedure steps ---------------------------------------------------------------

    def add_step(self, step: StepBegun, at_ms: int) -> None:
        """A step begins."""
        self._connection.execute(
            "INSERT INTO procedure_steps VALUES (?,?,?,?,?)",
            (
                step.step_uid,
                step.study_instance_uid,
                int(step.mammography),
                StepState.IN_PROGRESS.value,
                at_ms,
            ),
        )

    def step(self, step_uid: str) -> StepRow | None:
        """A step that was begun."""
        row = self._connection.execute(
            "SELECT study_uid, mammography, state FROM procedure_steps WHERE step_uid = ?",
            (step_uid,),
        ).fetchone()
        if row is None:
            return None
        return StepRow(study_uid=row[0], mammography=bool(row[1]), state=StepState(row[2]))

    def end_step(self, step_uid: str, state: StepState) -> None:
        """A step ends."""
        self._connection.execute(
            "UPDATE procedure_steps SET state = ? WHERE step_uid = ?", (state.value, step_uid)
        )

    def steps_in_progress(self, study_uid: str) -> bool:
        """Whether a step of mammography for that exam still runs."""
        return (
            self._connection.execute(
                "SELECT 1 FROM procedure_steps WHERE study_uid = ? AND mammography = 1"
                " AND state = ? LIMIT 1",
                (study_uid, StepState.IN_PROGRESS.value),
            ).fetchone()
            is not None
        )

    # --- retention -------------------------------------------------------------------------------

    def forget_before(self, at_ms: int) -> None:
        """Forgets what was said before then about exams of which no record is left."""
        for statement in FORGET:
            self._connection.execute(statement, (at_ms,))
