"""Reads Modality and VOI lookup tables, as the standard has them and as units write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.dicom_header.attributes import binary, items, numbers
from runtime.pixels.voi_lut import LookupTable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

BITS = range(8, 17)
"""Of an entry (PS3.3 C.11.2.1.1: 8 or 16 in an image; 10, 12 and 14 are met as well)."""


@dataclass(frozen=True, kw_only=True)
class FirstTable:
    """The first table of a sequence, or what is wrong with it."""

    tables: int = 0
    """How many the sequence has."""
    table: LookupTable | None = None
    fault: str = ""

    @property
    def said(self) -> str:
        """The table in words."""
        if self.table is None:
            return "a table"
        last = self.table.first + self.table.entries.size - 1
        return f"{self.table.first} to {last}, {self.table.bits} bits, {self.table.used_bits} used"


def first_table(ds: Dataset, keyword: str, *, signed: bool) -> FirstTable:
    """The first table of a sequence, if it can be used.

    The further items of a VOI LUT Sequence are a reader's alternatives (PS3.3 C.11.2): none of
    them takes the first one's place.

    Args:
        ds: with the sequence.
        keyword: VOILUTSequence or ModalityLUTSequence.
        signed: the values that are looked up can be negative, so the first input is signed.
    """
    found = items(ds, keyword)
    if not found:
        return FirstTable()
    table = _table(found[0], signed=signed)
    if isinstance(table, str):
        return FirstTable(tables=len(found), fault=table)
    return FirstTable(tables=len(found), table=table)


def _table(item: Dataset, *, signed: bool) -> LookupTable | str:
    """Or what in the table contradicts itself."""
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return "LUT Descriptor has not three values"
    # PS3.3 C.11.2.1.1: first and third value are unsigned whatever the VR says, and 0 stands for
    # 65,536 entries.
    count = int(descriptor[0]) & 0xFFFF or 1 << 16
    first = int(descriptor[1]) & 0xFFFF
    first -= 0x10000 if signed and first & 0x8000 else 0
    bits = int(descriptor[2]) & 0xFFFF
    if bits not in BITS:
        return f"entries of {bits} bits"
    entries = _entries(item, count, bits)
    if entries is None:
        return f"not the {count} entries that are announced"
    return LookupTable(first=first, entries=entries, bits=bits)


def _entries(item: Dataset, count: int, bits: int) -> NDArray[np.uint16] | None:
    """`count` entries; None where there are fewer, or more than one too many."""
    data, little = binary(item, "LUTData")
    words = np.frombuffer(data, "<u2" if little else ">u2", count=len(data) // 2)
    if words.size in (count, count + 1):
        return words[:count].astype(np.uint16)
    if bits == 8 and len(data) in (count, count + 1):
        # Two entries of 8 bits in a word, the first in its low byte (PS3.5 8.1.1, annex D).
        return words_to_bytes(words, data)[:count].astype(np.uint16)
    return None


def words_to_bytes(words: NDArray[np.uint16], data: bytes) -> NDArray[np.uint8]:
    """The bytes of `words`, low byte first, and the odd last byte of `data` if there is one."""
    packed = np.frombuffer(words.astype("<u2").tobytes() + data[words.size * 2 :], np.uint8)
    return np.asarray(packed, np.uint8)
