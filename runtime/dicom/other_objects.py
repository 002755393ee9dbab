"""DICOM objects that are no images: recognised by their storage class, and passed over by name.

Dose reports, structured reports, presentation states, encapsulated documents and the directory of
a medium travel with mammograms. None of them is a fault of whoever sends or lays them down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.uid import UID

from runtime.dicom.header_reader import wanted_tags
from runtime.dicom.part10_reader import begin_data_set, opened, read_dicom_file
from runtime.dicom_header.attributes import text
from runtime.image.header import HeaderRefusedError, NoImageError

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.dicom.inflated_file import ByteStream
    from runtime.dicom.part10_reader import DicomFile, ReadingLimits

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
SOP_CLASS = wanted_tags(("SOPClassUID",))


def passed_over_name(sop_class_uid: str) -> str:
    """The name of a storage class that holds no images; "" for one that does, or an unknown one.

    By the registry of PS3.6: the classes of images have the word in their names.
    """
    if sop_class_uid == MEDIA_STORAGE_DIRECTORY:
        return "DICOMDIR"
    known = UID(sop_class_uid)
    name = str(known.name)
    if known.type != "SOP Class" or "Storage" not in name or "SOP Class" in name or "Image" in name:
        return ""
    return name.replace(" Storage", "", 1)


def read_image_file(
    stream: ByteStream, wanted: frozenset[int], limits: ReadingLimits | None = None
) -> DicomFile:
    """As `read_dicom_file`, for what must be an image.

    Raises:
        NoImageError: an object of another kind.
        HeaderRefusedError: no DICOM file, cut off, or beyond a limit.
    """
    try:
        file = read_dicom_file(stream, wanted | SOP_CLASS, limits)
    except HeaderRefusedError:
        # A directory of thousands of images is larger than any header may be.
        _refuse_other(begin_data_set(stream, limits).sop_class_uid)
        raise
    _refuse_other(text(file.elements, "SOPClassUID") or file.meta.sop_class_uid)
    return file


def _refuse_other(sop_class_uid: str) -> None:
    if name := passed_over_name(sop_class_uid):
        raise NoImageError(name)


def name_of_other(path: Path) -> str:
    """The name of what the file at `path` holds, if that is no image; "" otherwise."""
    try:
        with opened(path) as stream:
            read_image_file(stream, SOP_CLASS)
    except NoImageError as other:
        return other.name
    except HeaderRefusedError:
        return ""
    return ""
