"""The ledger's table of objects: the images that came, and where their files lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from runtime.exam_rules.exam_flag import Role
from runtime.exam_rules.state_machine import Phase
from runtime.exam_rules.stored_object import StoredObject
from runtime.image.header import ImageHeader
from runtime.ledger.integrity import whole

if TYPE_CHECKING:
    import sqlite3

SURPLUS_SCHEMA = """
CREATE TABLE IF NOT EXISTS surplus_images (
    image_id INTEGER PRIMARY KEY, study_uid TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS surplus_by_study ON surplus_images (study_uid);
CREATE INDEX IF NOT EXISTS objects_in_conflict ON objects (conflicts_with)
    WHERE conflicts_with NOTNULL;
"""
ARRIVAL_TABLES = ("surplus_images",)
HEADER = TypeAdapter(ImageHeader)
COUNTS = "conflicts_with IS NULL AND image_id NOT IN (SELECT image_id FROM surplus_images)"
"""Of a row of `objects`: it is one of its exam's images."""
_SELECT_OBJECT = (
    "SELECT image_id, study_uid, header, path, size_bytes, role, received_at_ms, conflicts_with"
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


class ObjectRows:
    """Row operations on objects; a part of `LedgerTransaction`."""

    _connection: sqlite3.Connection

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
            f"{_SELECT_OBJECT} FROM objects WHERE image_id = ? AND {whole('objects')}", (image_id,)
        ).fetchone()
        if row is None:
            raise KeyError(image_id)
        return _stored(row)

    def exam_objects(self, study_uid: str) -> list[StoredObject]:
        """The objects of an exam that count, oldest first (conflicting copies do not)."""
        rows = self._connection.execute(
            f"{_SELECT_OBJECT} FROM objects WHERE study_uid = ? AND {COUNTS}"
            f" AND {whole('objects')} ORDER BY image_id",
            (study_uid,),
        )
        return [_stored(row) for row in rows]

    def correct_header(self, image_id: int, header: ImageHeader, role: Role) -> None:
        """The worker knows the image better than its header did."""
        self._connection.execute(
            "UPDATE objects SET header = ?, role = ? WHERE image_id = ?",
            (HEADER.dump_json(header).decode(), role.value, image_id),
        )

    # --- their files -----------------------------------------------------------------------------

    def spooled_before(self, at_ms: int, limit: int = 200) -> list[tuple[int, str]]:
        """(image_id, path) of objects of final exams whose file may go."""
        return self._connection.execute(
            "SELECT image_id, path FROM objects LEFT JOIN exams USING (study_uid)"
            " WHERE path <> '' AND received_at_ms < ? AND coalesce(phase, ?2) = ?2 LIMIT ?",
            (at_ms, Phase.FINAL.value, limit),
        ).fetchall()

    def put_file(self, image_id: int, path: str) -> None:
        """The object's bytes came again: this file has them."""
        self._connection.execute("UPDATE objects SET path = ? WHERE image_id = ?", (path, image_id))

    def file_removed(self, image_id: int) -> None:
        """The object's file left the spool; its record stays."""
        self._connection.execute("UPDATE objects SET path = '' WHERE image_id = ?", (image_id,))

    def spooled_paths(self) -> set[str]:
        """Every file that the spool must hold."""
        return {
            path
            for (path,) in self._connection.execute("SELECT path FROM objects WHERE path <> ''")
        }


def _stored(row: tuple[int, str, str, str, int, str, int, int | None]) -> StoredObject:
    image_id, study_uid, header, path, size_bytes, role, received_at_ms, conflicts_with = row
    return StoredObject(
        image_id=image_id,
        study_uid=study_uid,
        header=HEADER.validate_json(header),
        path=path,
        size_bytes=size_bytes,
        role=Role(role),
        received_at_ms=received_at_ms,
        conflicts_with=conflicts_with,
    )


class ArrivalRows:
    """Row operations on what arrived and does not count: other files under a known UID, surplus."""

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
