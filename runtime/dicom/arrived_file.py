"""What the control process reads of a file that came in: once, before the sender has its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from runtime.dicom.header_reader import HEADER_TAGS, header_from
from runtime.dicom.other_objects import read_image_file
from runtime.dicom.patient_identity import (
    IDENTITY_TAGS,
    PatientFacts,
    PatientIdentity,
    identity_of,
    patient_of,
)
from runtime.image.header import HeaderRefusedError, NoImageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from runtime.dicom.inflated_file import ByteStream
    from runtime.dicom.part10_reader import DicomFile
    from runtime.dicom.patient_identity import IdentityField
    from runtime.image.header import ImageHeader


@dataclass(frozen=True, kw_only=True)
class ArrivedFile:
    """Header, patient, and where the data set begins: behind preamble and file meta group."""

    header: ImageHeader
    identity: PatientIdentity
    """What may be shown of the patient."""
    patient: PatientFacts
    data_set_offset: int


def read_arrived_file(stream: ByteStream, shown: Collection[IdentityField]) -> ArrivedFile:
    """Reads up to the pixels.

    Args:
        stream: a DICOM file.
        shown: what of the identity may be shown; the rest is "".

    Raises:
        NoImageError: a DICOM object of another kind.
        HeaderRefusedError: not DICOM, cut off, hostile, or an object without identity.
    """
    file, whom = _elements(stream)
    return ArrivedFile(
        header=header_from(file.elements, transfer_syntax_uid=file.transfer_syntax_uid),
        identity=identity_of(whom, shown),
        patient=patient_of(whom),
        data_set_offset=file.data_set_offset,
    )


def _elements(stream: ByteStream) -> tuple[DicomFile, Dataset]:
    """The file, and the elements that say whom it is of."""
    try:
        file = read_image_file(stream, HEADER_TAGS | IDENTITY_TAGS)
    except NoImageError:
        raise
    except HeaderRefusedError:
        # An image is never refused for want of an identity: once more without it.
        return read_image_file(stream, HEADER_TAGS), Dataset()
    return file, file.elements
