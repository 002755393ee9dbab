"""The ledger's table of what each image says of its patient: keyed hashes, never in clear.

The newest word about an image holds: the same image sent again with a corrected name or number
corrects it. A frame and the unit's own object of one image are two words, which must agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.dicom.patient_identity import PatientIdentity
from runtime.exam_rules.one_patient import PatientKeys, two_patients
from runtime.ledger.integrity import whole

if TYPE_CHECKING:
    import sqlite3

PATIENT_SCHEMA = """
CREATE TABLE IF NOT EXISTS image_patients (
    image_id INTEGER PRIMARY KEY, study_uid TEXT NOT NULL, word INTEGER NOT NULL,
    patient_id TEXT NOT NULL, issuer TEXT NOT NULL, name TEXT NOT NULL, birth_date TEXT NOT NULL,
    accession_number TEXT NOT NULL, initials TEXT NOT NULL, study_time TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS image_patients_by_study ON image_patients (study_uid);
"""
PATIENT_TABLES = ("image_patients",)
UNPROVEN = 0
"""Word of other bytes under a known UID: whether they are the same image is not known."""


class PatientRows:
    """Row operations on patients. Only a `LedgerTransaction` makes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(
        self, image_id: int, study_uid: str, keys: PatientKeys, identity: PatientIdentity
    ) -> None:
        """What an object says; it counts from `take_word` on. `identity`: what may be shown.

        An object that is known keeps what it said; keys that it has none of are filled in.
        """
        self._connection.execute(
            "INSERT INTO image_patients VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (image_id) DO"
            " UPDATE SET patient_id = excluded.patient_id, issuer = excluded.issuer,"
            " name = excluded.name, birth_date = excluded.birth_date"
            " WHERE patient_id || issuer || name || birth_date = ''",
            (
                image_id,
                study_uid,
                UNPROVEN,
                keys.patient_id,
                keys.issuer,
                keys.name,
                keys.birth_date,
                identity.accession_number,
                identity.initials,
                identity.study_time,
            ),
        )

    def take_word(self, image_id: int) -> None:
        """The object's word is the newest about its image."""
        self._connection.execute(
            "UPDATE image_patients SET word = (SELECT max(other.word) + 1 FROM image_patients"
            " other WHERE other.study_uid = image_patients.study_uid) WHERE image_id = ?",
            (image_id,),
        )

    def has_word(self, image_id: int) -> bool:
        """Whether the object is known to be the image that it says."""
        row = self._connection.execute(
            f"SELECT word FROM image_patients WHERE image_id = ? AND {whole('image_patients')}",  # noqa: S608
            (image_id,),
        ).fetchone()
        return row is not None and row[0] != UNPROVEN

    def identity(self, image_id: int) -> PatientIdentity:
        """What may be shown of the object's patient."""
        row = self._connection.execute(
            "SELECT accession_number, initials, study_time FROM image_patients WHERE image_id = ?",
            (image_id,),
        ).fetchone()
        if row is None:
            return PatientIdentity()
        return PatientIdentity(accession_number=row[0], initials=row[1], study_time=row[2])

    def are_two(self, study_uid: str) -> bool:
        """Whether the images that count for an exam are of different patients."""
        rows = self._connection.execute(
            # SQLite gives the other columns of the row that has the maximum.
            "SELECT p.patient_id, p.issuer, p.name, p.birth_date, max(p.word)"  # noqa: S608
            " FROM image_patients p JOIN objects o USING (image_id)"
            " WHERE p.study_uid = ?1 AND p.word <> 0"
            " AND p.image_id NOT IN (SELECT image_id FROM surplus_images)"
            " AND o.sop_uid NOT IN (SELECT sop_uid FROM objects"
            "  WHERE study_uid = ?1 AND superseded_by NOTNULL)"
            f" AND {whole('image_patients', 'p')}"
            " GROUP BY o.sop_uid, o.source = 'frames'",
            (study_uid,),
        )
        return two_patients(
            [
                PatientKeys(patient_id=patient_id, issuer=issuer, name=name, birth_date=birth_date)
                for patient_id, issuer, name, birth_date, _word in rows
            ]
        )
