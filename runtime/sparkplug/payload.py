"""Sparkplug B payloads: metrics into Tahu's `sparkplug_b.proto`, and the one command back.

Field numbers and data types: Eclipse Sparkplug 3.0.0, 6.4.1 (the protobuf schema) and 6.4.16.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from runtime.sparkplug.protobuf import (
    MalformedError,
    bytes_field,
    double_field,
    fields,
    number_field,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

REBIRTH = "Node Control/Rebirth"
PAYLOAD_TIMESTAMP, PAYLOAD_METRICS, PAYLOAD_SEQ = 1, 2, 3
NAME, TIMESTAMP, DATATYPE, IS_HISTORICAL, IS_NULL = 1, 3, 4, 5, 7
LONG_VALUE, DOUBLE_VALUE, BOOLEAN_VALUE, STRING_VALUE = 11, 13, 14, 15


class DataType(IntEnum):
    """Those that we use."""

    INT64 = 4
    UINT64 = 8
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


Value = str | float | bool | None
VALUE_FIELDS = {
    DataType.INT64: LONG_VALUE,
    DataType.UINT64: LONG_VALUE,
    DataType.DOUBLE: DOUBLE_VALUE,
    DataType.BOOLEAN: BOOLEAN_VALUE,
    DataType.STRING: STRING_VALUE,
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One value under one name. `value` None: it has none now. Numbers are 0 or more.

    `historical`: it was decided before this birth, while the broker was away.
    """

    name: str
    datatype: DataType
    value: Value
    at_ms: int
    historical: bool = False

    def encode(self) -> bytes:
        """As the schema's `Metric`."""
        parts = [
            bytes_field(NAME, self.name.encode()),
            number_field(TIMESTAMP, self.at_ms),
            number_field(DATATYPE, self.datatype),
        ]
        if self.historical:
            parts.append(number_field(IS_HISTORICAL, 1))
        field, value = VALUE_FIELDS[self.datatype], self.value
        if value is None:
            parts.append(number_field(IS_NULL, 1))
        elif isinstance(value, str):
            parts.append(bytes_field(field, value.encode()))
        elif field == DOUBLE_VALUE:
            parts.append(double_field(field, value))
        else:
            parts.append(number_field(field, int(value)))
        return b"".join(parts)


def payload(metrics: Sequence[Metric], *, at_ms: int, seq: int | None) -> bytes:
    """A payload. `seq`: 0-255; None in a death, which has none (6.4.20)."""
    parts = [number_field(PAYLOAD_TIMESTAMP, at_ms)]
    parts += [bytes_field(PAYLOAD_METRICS, metric.encode()) for metric in metrics]
    if seq is not None:
        parts.append(number_field(PAYLOAD_SEQ, seq))
    return b"".join(parts)


def asks_for_rebirth(command: bytes) -> bool:
    """Whether an NCMD sets `Node Control/Rebirth`.

    Raises:
        MalformedError: it is no Sparkplug payload.
    """
    for field, metric in fields(command):
        if field != PAYLOAD_METRICS:
            continue
        if not isinstance(metric, bytes):
            raise MalformedError("a metric that is a number")
        found = dict(fields(metric))
        if found.get(NAME) == REBIRTH.encode() and found.get(BOOLEAN_VALUE) == 1:
            return True
    return False
