"""Protocol Buffers on the wire, as much of it as Sparkplug B needs. Pure: bytes in, bytes out.

Source: protobuf.dev, "Encoding". The package `protobuf` would be a dependency of every unit for
five messages a minute.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from models.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10


class MalformedError(PeerError, ValueError):
    """The bytes are no Protocol Buffers message."""


def varint(value: int) -> bytes:
    """An unsigned number below 2**64."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(field: int, value: int) -> bytes:
    """`value`: 0 to 2**64 - 1; a bool is a number."""
    return varint(field << 3 | VARINT) + varint(int(value))


def double_field(field: int, value: float) -> bytes:
    """A 64-bit float."""
    return varint(field << 3 | FIXED64) + struct.pack("<d", value)


def bytes_field(field: int, value: bytes) -> bytes:
    """Bytes, text as UTF-8, or a message."""
    return varint(field << 3 | LENGTH_DELIMITED) + varint(len(value)) + value


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field: a number for varints, the bytes for everything else.

    Raises:
        MalformedError: while iterating, at the first byte that cannot be read.
    """
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _read_varint(message, at)
            yield key >> 3, value
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == LENGTH_DELIMITED:
            size, at = _read_varint(message, at)
        if size is None or at + size > len(message):
            raise MalformedError(f"field of kind {kind} at byte {at}")
        yield key >> 3, message[at : at + size]
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(LONGEST_VARINT):
        if at + count >= len(message):
            break
        byte = message[at + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, at + count + 1
    raise MalformedError(f"number at byte {at}")
