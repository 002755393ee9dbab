"""What the control process reads of a file that came in: once, before the sender has its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.dicom.header_reader import HEADER_TAGS, header_from
from runtime.dicom.part10_reader import DicomFile, read_dicom_file
from runtime.dicom.patient_identity import IDENTITY_TAGS, PatientIdentity, identity_of
from runtime.image.header import HeaderRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from runtime.dicom.inflated_file import ByteStream
    from runtime.dicom.patient_identity import IdentityField
    from runtime.image.header import ImageHeader


@dataclass(frozen=True, kw_only=True)
class ArrivedFile:
    """Header, identity, and where the data set begins: behind preamble and file meta group."""

    header: ImageHeader
    identity: PatientIdentity
    data_set_offset: int


def read_arrived_file(stream: ByteStream, shown: Collection[IdentityField]) -> ArrivedFile:
    """Reads up to the pixels.

    Args:
        stream: a DICOM file.
        shown: what of the identity is read at all; the rest is "".

    Raises:
        HeaderRefusedError: not DICOM, cut off, hostile, or an object without identity.
    """
    file, identity = _elements(stream, shown)
    return ArrivedFile(
        header=header_from(file.elements, transfer_syntax_uid=file.transfer_syntax_uid),
        identity=identity,
        data_set_offset=file.data_set_offset,
    )


def _elements(
    stream: ByteStream, shown: Collection[IdentityField]
) -> tuple[DicomFile, PatientIdentity]:
    if shown:
        try:
            file = read_dicom_file(stream, HEADER_TAGS | IDENTITY_TAGS)
            return file, identity_of(file.elements, shown)
        except HeaderRefusedError:
            pass  # An image is never refused for want of an identity: once more without it.
    return read_dicom_file(stream, HEADER_TAGS), PatientIdentity()
