"""CBOR (RFC 8949), the part that the frame socket speaks: strict, bounded, with nothing left over.

Maps with text keys, arrays, integers, floats, text, booleans, null; definite lengths only. Tags,
byte strings, indefinite lengths, duplicate keys, deep nesting and bytes after the end are faults:
what firmware says needs none of them, and each is a way to make a reader work hard.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

from models.errors import PeerError

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
"""Major types (RFC 8949 3.1)."""
FALSE, TRUE, NULL = 20, 21, 22
HALF, SINGLE, DOUBLE = 25, 26, 27
ARGUMENT_FORMATS = {24: ">B", 25: ">H", 26: ">I", 27: ">Q"}
FLOAT_FORMATS = {HALF: ">e", SINGLE: ">f", DOUBLE: ">d"}
INDEFINITE = 31


class CborError(PeerError, ValueError):
    """Bytes that are not what we read. The text names the fault, never a value."""


@dataclass(frozen=True, kw_only=True)
class CborLimits:
    """How much a message may make us do."""

    depth: int = 5
    items: int = 2048
    """Of all arrays and maps together; a map's entry counts once."""


def decode(data: bytes, limits: CborLimits) -> dict[str, Value]:
    """The map that `data` is.

    Raises:
        CborError: not a map, not CBOR, more than the limits allow, or bytes after the end.
    """
    reader = _Reader(data, limits)
    value = reader.value(limits.depth)
    if not isinstance(value, dict):
        raise CborError("not a map")
    reader.expect_end()
    return value


class _Reader:
    """Goes through the bytes once; nothing is allocated on the word of a length alone."""

    def __init__(self, data: bytes, limits: CborLimits) -> None:
        self._data = data
        self._at = 0
        self._items_left = limits.items

    def expect_end(self) -> None:
        if self._at != len(self._data):
            raise CborError("bytes after the end")

    def value(self, depth_left: int) -> Value:
        initial = self._take(1)[0]
        major, info = initial >> 5, initial & 0x1F
        if major == SIMPLE:
            return self._simple(info)
        if major in (BYTES, TAG):
            raise CborError("byte strings and tags are not used")
        argument = self._argument(info)
        if major == UNSIGNED:
            return argument
        if major == NEGATIVE:
            return -1 - argument
        if major == TEXT:
            return self._text(argument)
        if depth_left == 0:
            raise CborError("nested too deep")
        self._count(argument)
        if major == ARRAY:
            return [self.value(depth_left - 1) for _ in range(argument)]
        return self._map(argument, depth_left - 1)

    def _map(self, entries: int, depth_left: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for _ in range(entries):
            initial = self._take(1)[0]
            if initial >> 5 != TEXT:
                raise CborError("a key is not text")
            key = self._text(self._argument(initial & 0x1F))
            if key in found:
                raise CborError("a key comes twice")
            found[key] = self.value(depth_left)
        return found

    def _simple(self, info: int) -> Value:
        if info in FLOAT_FORMATS:
            pattern = FLOAT_FORMATS[info]
            number: float = struct.unpack(pattern, self._take(struct.calcsize(pattern)))[0]
            return number
        if info in (FALSE, TRUE):
            return info == TRUE
        if info == NULL:
            return None
        raise CborError("a simple value that is not used")

    def _argument(self, info: int) -> int:
        if info < min(ARGUMENT_FORMATS):
            return info
        pattern = ARGUMENT_FORMATS.get(info)
        if pattern is None:
            raise CborError("indefinite length" if info == INDEFINITE else "reserved length")
        argument: int = struct.unpack(pattern, self._take(struct.calcsize(pattern)))[0]
        return argument

    def _text(self, length: int) -> str:
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CborError("text that is not UTF-8") from error

    def _take(self, length: int) -> bytes:
        if length > len(self._data) - self._at:
            raise CborError("cut off")
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken

    def _count(self, items: int) -> None:
        self._items_left -= items
        if self._items_left < 0:
            raise CborError("too many items")


def encode(value: Value) -> bytes:
    """The bytes of `value`; floats as doubles, maps in the order of their keys in `value`.

    Raises:
        CborError: an integer that needs more than 64 bits.
    """
    out = bytearray()
    _write(value, out)
    return bytes(out)


def _write(value: Value, out: bytearray) -> None:
    match value:
        case None:
            out.append(SIMPLE << 5 | NULL)
        case bool():
            out.append(SIMPLE << 5 | (TRUE if value else FALSE))
        case int():
            _write_head(UNSIGNED if value >= 0 else NEGATIVE, value if value >= 0 else ~value, out)
        case float():
            out.append(SIMPLE << 5 | DOUBLE)
            out += struct.pack(FLOAT_FORMATS[DOUBLE], value)
        case str():
            text = value.encode("utf-8")
            _write_head(TEXT, len(text), out)
            out += text
        case list():
            _write_head(ARRAY, len(value), out)
            for item in value:
                _write(item, out)
        case dict():
            _write_head(MAP, len(value), out)
            for key, item in value.items():
                _write(key, out)
                _write(item, out)


def _write_head(major: int, argument: int, out: bytearray) -> None:
    """The shortest head there is (RFC 8949 4.1)."""
    if argument < min(ARGUMENT_FORMATS):
        out.append(major << 5 | argument)
        return
    for info, pattern in ARGUMENT_FORMATS.items():
        if argument < 1 << (8 * struct.calcsize(pattern)):
            out.append(major << 5 | info)
            out += struct.pack(pattern, argument)
            return
    raise CborError("an integer of more than 64 bits")
