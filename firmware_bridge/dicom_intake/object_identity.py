"""Does a data set say of itself what the request said of it?"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

from pydicom.filereader import read_dataset

from firmware_bridge.dicom_network.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from runtime.dicom_header.attributes import text

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.tag import BaseTag

# SOP Class and Instance UID stand near the start: only group 0008 comes before them, with small
# values (PS3.6). This runs before the answer: what needs more is left to the receiver.
HEAD_BYTES = 4096
SOP_INSTANCE_UID = 0x00080018


def _past_the_identity(tag: BaseTag, vr: str | None, length: int) -> bool:
    del vr
    return tag > SOP_INSTANCE_UID or length > HEAD_BYTES


def matches_command(
    path: Path,
    *,
    data_set_offset: int,
    transfer_syntax_uid: str,
    sop_class_uid: str,
    sop_instance_uid: str,
) -> bool:
    """Whether the data set in `path` carries these two UIDs.

    A data set whose start cannot be parsed, or lacks them, is left to the receiver, which says why.

    Args:
        path: a complete DICOM file.
        data_set_offset: bytes before the data set.
        transfer_syntax_uid: of the data set.
        sop_class_uid: of the request.
        sop_instance_uid: of the request.
    """
    with path.open("rb") as file:
        file.seek(data_set_offset)
        head = file.read(HEAD_BYTES)
    try:
        if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, HEAD_BYTES)
        identity = read_dataset(
            BytesIO(head),
            transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN,
            transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN,
            stop_when=_past_the_identity,
        )
        found = (text(identity, "SOPClassUID"), text(identity, "SOPInstanceUID"))
    except (zlib.error, struct.error, EOFError, ValueError, KeyError, NotImplementedError):
        return True
    return "" in found or found == (sop_class_uid, sop_instance_uid)
