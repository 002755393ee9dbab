"""What arrived and does not count: other files under a known UID, images beyond the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

SCHEMA = """
CREATE TABLE IF NOT EXISTS surplus_images (
    image_id INTEGER PRIMARY KEY, study_uid TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS surplus_by_study ON surplus_images (study_uid);
CREATE INDEX IF NOT EXISTS objects_in_conflict ON objects (conflicts_with)
    WHERE conflicts_with NOTNULL;
"""
ARRIVAL_TABLES = ("surplus_images",)


class ArrivalRows:
    """Row operations inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # --- other files under one SOP Instance UID --------------------------------------------------

    def untried_copies(self, image_id: int, study_uid: str) -> list[int]:
        """Other files under the image's UID, of the same exam, that no worker saw; oldest first."""
        rows = self._connection.execute(
            "SELECT image_id FROM objects WHERE conflicts_with = ? AND study_uid = ? AND NOT EXISTS"
            " (SELECT 1 FROM outcomes WHERE outcomes.image_id = objects.image_id)"
            " ORDER BY image_id",
            (image_id, study_uid),
        )
        return [copy_id for (copy_id,) in rows]

    def let_stand(self, copy_id: int, instead_of: int) -> None:
        """The copy counts from now on; what counted before is one of its copies."""
        self._connection.execute(
            "UPDATE objects SET conflicts_with = CASE image_id WHEN ?1 THEN NULL ELSE ?1 END"
            " WHERE image_id IN (?1, ?2) OR conflicts_with = ?2",
            (copy_id, instead_of),
        )

    # --- images beyond the limit -----------------------------------------------------------------

    def images_counted(self, study_uid: str) -> int:
        """How many images of the exam count, or wait to."""
        row = self._connection.execute(
            "SELECT count(*) FROM objects WHERE study_uid = ? AND conflicts_with IS NULL",
            (study_uid,),
        ).fetchone()
        return int(row[0]) - self.surplus(study_uid)

    def add_surplus(self, image_id: int, study_uid: str) -> None:
        """The image is kept and does not count."""
        self._connection.execute("INSERT INTO surplus_images VALUES (?,?)", (image_id, study_uid))

    def surplus(self, study_uid: str) -> int:
        """How many images of the exam are kept beyond its limit."""
        row = self._connection.execute(
            "SELECT count(*) FROM surplus_images WHERE study_uid = ?", (study_uid,)
        ).fetchone()
        return int(row[0])
