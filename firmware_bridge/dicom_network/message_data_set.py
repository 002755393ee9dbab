"""The data set of a DIMSE-N message, read under the same limits as a file that arrives."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from pynetdicom.dsutils import create_file_meta, encode_file_meta

from firmware_bridge.dicom_network.association_limits import MAX_MESSAGE_BYTES
from runtime.dicom.header_reader import UID, wanted_tags
from runtime.dicom.part10_reader import ReadingLimits, read_dicom_file

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LIMITS = ReadingLimits(inflated_bytes=MAX_MESSAGE_BYTES)
MOST_REFERENCES = 1000
"""Of one message; an exam has some tens of images."""


def read_message(
    data: BytesIO | None, transfer_syntax_uid: str, keywords: tuple[str, ...]
) -> Dataset:
    """The attributes `keywords` of a message, at the top and within those that are sequences.

    Args:
        data: the data set as it came; None if the message had none.
        transfer_syntax_uid: of the presentation context.
        keywords: what to keep.

    Raises:
        HeaderRefusedError: cut off, hostile, or no data set at all.
    """
    # The reader takes files: the message becomes one. The two UIDs of its head say nothing here.
    meta = create_file_meta(
        sop_class_uid="1.2", sop_instance_uid="1.2", transfer_syntax=transfer_syntax_uid
    )
    body = b"" if data is None else data.getvalue()
    stream = BytesIO(b"\0" * 128 + b"DICM" + encode_file_meta(meta) + body)
    return read_dicom_file(stream, wanted_tags(keywords), LIMITS).elements


def is_uid(value: str) -> bool:
    """Whether it is a UID (PS3.5 9.1), of at most 64 characters."""
    return len(value) <= 64 and UID.fullmatch(value) is not None
