"""Elements by keyword -> bytes in Explicit VR Little Endian (PS3.5 7.1.2), and a file's beginning.

For the few value representations that the head of a frame has. It buys the firmware 2 to 3 ms of
each answer (`python -m benches.frames`): so long pydicom takes for these sixty elements, and no
other thread runs meanwhile.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from pydicom.datadict import dictionary_VR, tag_for_keyword

Value: TypeAlias = "str | int | Sequence[str] | Sequence[Elements] | None"
Elements: TypeAlias = dict[str, Value]
"""Values by keyword of PS3.6. Text is joined by backslashes; None and "" have length 0."""

PREFIX = bytes(128) + b"DICM"
FILE_META_VERSION = b"\x00\x01"
IMPLEMENTATION_CLASS_UID = "2.25.336381485180483162579069513991304015430"
"""Who wrote the file (PS3.10 7.1): a UUID of ours (PS3.5 B.2); pydicom did not."""
IMPLEMENTATION_VERSION = "MAMMOEDGE"
SHORT = struct.Struct("<HH2sH")
LONG = struct.Struct("<HH2s2xI")
ITEM = struct.Struct("<HHI")
LONG_FORMS = frozenset({b"OB", b"SQ"})
NUMBERS = {b"US": struct.Struct("<H"), b"SS": struct.Struct("<h"), b"UL": struct.Struct("<I")}


class Attribute(NamedTuple):
    """Tag, in the order in which a data set must have it, and value representation."""

    tag: int
    vr: bytes


@cache
def _attribute(keyword: str) -> Attribute:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(f"{keyword} is no keyword of PS3.6")
    return Attribute(tag=tag, vr=dictionary_VR(tag).encode())


def encoded(elements: Mapping[str, Value]) -> bytes:
    """The elements in ascending order of their tags.

    Raises:
        KeyError: no such keyword.
        struct.error: a value that is too long, or a number out of range.
    """
    known = [(_attribute(keyword), value) for keyword, value in elements.items()]
    known.sort(key=itemgetter(0))
    return b"".join(_element(attribute, value) for attribute, value in known)


def file_beginning(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 7.1)."""
    meta = b"".join(
        (
            _framed(Attribute(0x00020001, b"OB"), FILE_META_VERSION),
            _element(Attribute(0x00020002, b"UI"), sop_class_uid),
            _element(Attribute(0x00020003, b"UI"), sop_instance_uid),
            _element(Attribute(0x00020010, b"UI"), transfer_syntax_uid),
            _element(Attribute(0x00020012, b"UI"), IMPLEMENTATION_CLASS_UID),
            _element(Attribute(0x00020013, b"SH"), IMPLEMENTATION_VERSION),
        )
    )
    return PREFIX + _element(Attribute(0x00020000, b"UL"), len(meta)) + meta


def _element(attribute: Attribute, value: Value) -> bytes:
    vr = attribute.vr
    if vr == b"SQ":
        items = [] if value is None or isinstance(value, str | int) else value
        return _framed(attribute, b"".join(_item(item) for item in items))
    if vr in NUMBERS:
        return _framed(attribute, NUMBERS[vr].pack(value))
    if value is None:
        return _framed(attribute, b"")
    text = str(value) if isinstance(value, str | int) else "\\".join(str(part) for part in value)
    content = text.encode()
    if len(content) % 2:
        content += b"\0" if vr == b"UI" else b" "
    return _framed(attribute, content)


def _item(elements: str | Elements) -> bytes:
    if isinstance(elements, str):
        raise TypeError("a sequence has items, not text")
    content = encoded(elements)
    return ITEM.pack(0xFFFE, 0xE000, len(content)) + content


def _framed(attribute: Attribute, content: bytes) -> bytes:
    head = LONG if attribute.vr in LONG_FORMS else SHORT
    group, element = divmod(attribute.tag, 0x10000)
    return head.pack(group, element, attribute.vr, len(content)) + content
