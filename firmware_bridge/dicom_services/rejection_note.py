"""Rejection notes: Key Object Selections by which a unit says that it rejected images.

PS3.16 CID 7011; IHE Image Object Change Management sends them so. Only "Rejected for Quality
Reasons" and "Rejected for Patient Safety Reasons" take an image back; other titles of such
documents ("For Referring Provider", "Data Retention Policy Expired") say nothing about an image's
worth, and are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_bridge.dicom_network.message_data_set import LIMITS, MOST_REFERENCES, is_uid
from firmware_bridge.dicom_network.transfer_syntaxes import KEY_OBJECT_SELECTION
from runtime.dicom.header_reader import wanted_tags
from runtime.dicom.part10_reader import opened, read_dicom_file
from runtime.dicom_header.attributes import items, text
from runtime.image.header import HeaderRefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.exams.intake_ports import NoticeReceiver

NO_REJECTION_NOTE = "Key Object Selection, no rejection note"
"""The name of a document that is passed over."""
TITLES = {"113001": "rejected for quality reasons", "113037": "rejected for patient safety reasons"}
KEYWORDS = (
    "ConceptNameCodeSequence",
    "CodeValue",
    "CodingSchemeDesignator",
    "CurrentRequestedProcedureEvidenceSequence",
    "StudyInstanceUID",
    "ReferencedSeriesSequence",
    "ReferencedSOPSequence",
    "ReferencedSOPInstanceUID",
)


@dataclass(frozen=True, kw_only=True)
class RejectedImage:
    """An image that a note rejects."""

    study_instance_uid: str
    sop_instance_uid: str
    why: str


def rejected_images(path: Path) -> tuple[RejectedImage, ...]:
    """The images that the note in the file at `path` rejects; () if it is no rejection note.

    Raises:
        HeaderRefusedError: unreadable.
    """
    with opened(path) as stream:
        ds = read_dicom_file(stream, wanted_tags(KEYWORDS), LIMITS).elements
    title = next(iter(items(ds, "ConceptNameCodeSequence")), None)
    if title is None or text(title, "CodingSchemeDesignator") != "DCM":
        return ()
    why = TITLES.get(text(title, "CodeValue"))
    if why is None:
        return ()
    found = [
        RejectedImage(study_instance_uid=study_uid, sop_instance_uid=sop_uid, why=why)
        for study in items(ds, "CurrentRequestedProcedureEvidenceSequence")
        if is_uid(study_uid := text(study, "StudyInstanceUID"))
        for series in items(study, "ReferencedSeriesSequence")
        for image in items(series, "ReferencedSOPSequence")
        if is_uid(sop_uid := text(image, "ReferencedSOPInstanceUID"))
    ]
    return tuple(found[:MOST_REFERENCES])


def is_key_object(path: Path) -> bool:
    """Whether the file is a Key Object Selection; False as well where it cannot be read."""
    try:
        with opened(path) as stream:
            ds = read_dicom_file(stream, wanted_tags(("SOPClassUID",)), LIMITS).elements
    except HeaderRefusedError:
        return False
    return text(ds, "SOPClassUID") == KEY_OBJECT_SELECTION


def tell_rejections(path: Path, notices: NoticeReceiver) -> bool:
    """Takes the note's word to the ledger; False if it is no rejection note.

    Raises:
        HeaderRefusedError: unreadable.
        LedgerError: the word is not taken; it may be said again.
    """
    rejected = rejected_images(path)
    for image in rejected:
        notices.reject_image(image.study_instance_uid, image.sop_instance_uid, detail=image.why)
    return bool(rejected)
