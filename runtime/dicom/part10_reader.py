"""A DICOM file from the outside: the elements that are asked for, and where the pixels lie.

pydicom's reader trusts its input: it inflates a deflated file whole, follows sequences into any
depth, and takes a value of any announced length into memory. This reader walks the same elements
(PS3.5 section 7) under limits, keeps only what is asked for, and stops before the pixels. It runs
in the control process for each object that arrives, and in the worker.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import STANDARD_VR

from runtime.dicom.inflated_file import InflatedFile
from runtime.image.header import HeaderRefusedError
from runtime.image.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runtime.dicom.inflated_file import ByteStream

IMPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
PIXEL_DATA: Final = 0x7FE00010
PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})  # float, double, integer
META_GROUP: Final = 0x0002
TRANSFER_SYNTAX: Final = 0x00020010
MEDIA_SOP_CLASS: Final = 0x00020002

KNOWN_VRS: Final = frozenset(vr.value.encode() for vr in STANDARD_VR)
# PS3.5 table 7.1-1: these have two reserved bytes and a length of 32 bits.
LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)


@dataclass(frozen=True, kw_only=True)
class ReadingLimits:
    """How much of a file is followed before it is refused.

    The defaults are several times what the real files of five vendors need.
    """

    elements: int = 20_000
    depth: int = 12
    value_bytes: int = 1 << 16
    """A longer value of a wanted element is left out, as if it were absent."""
    inflated_bytes: int = 16 << 20
    """How far a deflated file is inflated in search of its pixels."""


@dataclass(frozen=True, kw_only=True)
class PixelPlace:
    """Where the pixels lie in the (inflated) file."""

    offset: int
    length: int | None
    """Bytes; None for encapsulated fragments (undefined length)."""
    vr: str


@dataclass(frozen=True, kw_only=True)
class FileMeta:
    """What stands before the data set (PS3.10 7.1)."""

    transfer_syntax_uid: str
    sop_class_uid: str
    """"" where it is left out."""


@dataclass(frozen=True, kw_only=True)
class DicomFile:
    """What was found: the wanted elements, still as bytes, and the place of the pixels."""

    elements: Dataset
    meta: FileMeta
    pixels: PixelPlace | None
    data_set_offset: int
    """Where the data set begins in the file. Places in a deflated one count from there, inflated;
    in any other from the beginning of the file."""

    @property
    def transfer_syntax_uid(self) -> str:
        """How elements and pixels are written."""
        return self.meta.transfer_syntax_uid


def read_dicom_file(
    stream: ByteStream, wanted: frozenset[int], limits: ReadingLimits | None = None
) -> DicomFile:
    """Walks a Part 10 file up to its pixels.

    Args:
        stream: a seekable binary file at its beginning; or the same from memory.
        wanted: tags to keep, at the top and within wanted sequences alike.
        limits: how much is followed.

    Raises:
        HeaderRefusedError: no DICOM file, cut off, or beyond a limit.
    """
    limits = limits or ReadingLimits()
    meta = begin_data_set(stream, limits)
    syntax = meta.transfer_syntax_uid
    offset = stream.tell()
    if syntax == DEFLATED:
        stream = InflatedFile(stream, limits.inflated_bytes)
    walk = _Walk(
        stream,
        implicit=syntax == IMPLICIT_LITTLE_ENDIAN,
        little=syntax != EXPLICIT_BIG_ENDIAN,
        wanted=wanted,
        limits=limits,
    )
    elements = walk.dataset(end=None, depth=0)
    return DicomFile(
        elements=elements,
        meta=meta,
        pixels=walk.pixels,
        data_set_offset=offset,
    )


def begin_data_set(stream: ByteStream, limits: ReadingLimits | None = None) -> FileMeta:
    """What the file says before its data set; the stream is then at that.

    Raises:
        HeaderRefusedError: no DICOM file, or cut off before its data set.
    """
    stream.seek(0)
    # PS3.10 7.1: a preamble of 128 bytes, then "DICM". A sender that leaves them out sends no file.
    if stream.read(132)[128:] != b"DICM":
        raise HeaderRefusedError(Reason.UNREADABLE, "no DICOM file: the prefix DICM is missing")
    return _file_meta(stream, limits or ReadingLimits())


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file at `path`; what the system has against it becomes a `HeaderRefusedError`."""
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as fault:
        detail = f"the file cannot be read ({fault.__class__.__name__})"
        raise HeaderRefusedError(Reason.UNREADABLE, detail) from fault


def _file_meta(stream: ByteStream, limits: ReadingLimits) -> FileMeta:
    """Reads the file meta group; the stream is left at the data set."""
    wanted = frozenset({TRANSFER_SYNTAX, MEDIA_SOP_CLASS})
    walk = _Walk(stream, implicit=False, little=True, wanted=wanted, limits=limits)
    meta = walk.dataset(end=None, depth=0, only_group=META_GROUP)
    uid = _meta_uid(meta, TRANSFER_SYNTAX)
    if not uid:
        raise HeaderRefusedError(Reason.UNREADABLE, "Transfer Syntax UID is missing")
    return FileMeta(transfer_syntax_uid=uid, sop_class_uid=_meta_uid(meta, MEDIA_SOP_CLASS))


def _meta_uid(meta: Dataset, tag: int) -> str:
    element = meta.get_item(tag)
    value = element.value if isinstance(element, RawDataElement) else None
    return (value or b"").decode("ascii", "replace").strip(" \0")


class _Walk:
    """One pass over one stream of elements; counts what it meets."""

    def __init__(
        self,
        stream: ByteStream,
        *,
        implicit: bool,
        little: bool,
        wanted: frozenset[int],
        limits: ReadingLimits,
    ) -> None:
        self._stream = stream
        self._implicit = implicit
        self._little = little
        self._wanted = wanted
        self._limits = limits
        self._unknown = False
        self._left = limits.elements
        endian = "<" if little else ">"
        self._tag_and_long = struct.Struct(f"{endian}HHI")
        self._tag_vr_short = struct.Struct(f"{endian}HH2sH")
        self._long = struct.Struct(f"{endian}I")
        self.pixels: PixelPlace | None = None

    def dataset(self, *, end: int | None, depth: int, only_group: int | None = None) -> Dataset:
        """The wanted elements from here to `end`, an item's end, or the pixels."""
        # A plain dict: setting elements one by one would make pydicom convert, and check, values.
        found: dict[BaseTag, RawDataElement | DataElement] = {}
        while end is None or self._stream.tell() < end:
            start = self._stream.tell()
            element = self._next(depth)
            if element is None:
                break
            tag, vr, length = element
            if only_group is not None and tag >> 16 != only_group:
                self._stream.seek(start)
                break
            if depth == 0 and tag in PIXEL_TAGS:
                self._found_pixels(tag, vr, length)
                break
            self._take(found, tag, vr, length, depth)
        return Dataset(found)

    def _next(self, depth: int) -> tuple[int, bytes, int] | None:
        """Tag, VR (b"" if implicit) and length of the next element; None at the end."""
        head = self._stream.read(8)
        if not head and depth == 0:
            return None
        if len(head) < 8:
            raise HeaderRefusedError(Reason.UNREADABLE, "the data set is cut off")
        self._left -= 1
        if self._left < 0:
            raise HeaderRefusedError(
                Reason.UNREADABLE, f"more than {self._limits.elements} elements before the pixels"
            )
        group, number, length = self._tag_and_long.unpack(head)
        tag = group << 16 | number
        if tag in (ITEM_END, SEQUENCE_END):
            return None
        if self._implicit and not (self._unknown and head[4:6] in KNOWN_VRS):
            return tag, b"", length
        _, _, vr, short = self._tag_vr_short.unpack(head)
        if vr in LONG_VRS:
            tail = self._stream.read(4)
            if len(tail) < 4:
                raise HeaderRefusedError(Reason.UNREADABLE, "the data set is cut off")
            return tag, vr, self._long.unpack(tail)[0]
        if not (vr.isalpha() and vr.isupper()):
            # Some writers fall into implicit VR within sequences (pydicom issue 1067).
            return tag, b"", length
        return tag, vr, short

    def _found_pixels(self, tag: int, vr: bytes, length: int) -> None:
        if tag == PIXEL_DATA:
            self.pixels = PixelPlace(
                offset=self._stream.tell(),
                length=None if length == UNDEFINED else length,
                vr=vr.decode() or "OW",
            )

    def _take(
        self,
        found: dict[BaseTag, RawDataElement | DataElement],
        tag: int,
        vr: bytes,
        length: int,
        depth: int,
    ) -> None:
        """Keeps the element if it is wanted, else passes over it."""
        wanted = tag in self._wanted
        if wanted and (vr == b"SQ" or (vr in (b"", b"UN") and dictionary_VR(tag) == "SQ")):
            items = self._items(length, depth + 1, implicit=vr == b"UN")
            found[BaseTag(tag)] = DataElement(tag, "SQ", Sequence(items))
        elif length == UNDEFINED:
            self._items(length, depth + 1, implicit=vr == b"UN", keep=False)
        elif wanted and length <= self._limits.value_bytes:
            place = self._stream.tell()
            value = self._stream.read(length)
            if len(value) < length:
                raise HeaderRefusedError(Reason.UNREADABLE, "the data set is cut off")
            known = vr.decode() if vr in KNOWN_VRS else None
            found[BaseTag(tag)] = RawDataElement(
                BaseTag(tag), known, length, value, place, not vr, self._little
            )
        else:
            self._stream.seek(self._stream.tell() + length)

    def _items(
        self, length: int, depth: int, *, implicit: bool = False, keep: bool = True
    ) -> list[Dataset]:
        """The items of a sequence (PS3.5 7.5); with `keep` off they are only passed over."""
        if depth > self._limits.depth:
            raise HeaderRefusedError(
                Reason.UNREADABLE, f"sequences deeper than {self._limits.depth}"
            )
        before = self._implicit, self._unknown, self._wanted
        # An undefined length under VR UN holds implicit VR, whatever the file has (PS3.5 6.2.2);
        # writers are about that keep explicit VR there all the same (a Hologic sample does).
        self._implicit = self._implicit or implicit
        self._unknown = self._unknown or implicit
        self._wanted = self._wanted if keep else frozenset()
        end = None if length == UNDEFINED else self._stream.tell() + length
        items: list[Dataset] = []
        while end is None or self._stream.tell() < end:
            item = self._item(depth, keep=keep)
            if item is None:
                break
            items.append(item)
        self._implicit, self._unknown, self._wanted = before
        return items if keep else []

    def _item(self, depth: int, *, keep: bool) -> Dataset | None:
        head = self._stream.read(8)
        if len(head) < 8:
            raise HeaderRefusedError(Reason.UNREADABLE, "a sequence is cut off")
        group, number, length = self._tag_and_long.unpack(head)
        self._left -= 1
        if self._left < 0:
            raise HeaderRefusedError(
                Reason.UNREADABLE, f"more than {self._limits.elements} elements before the pixels"
            )
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            return None
        if tag != ITEM:
            raise HeaderRefusedError(Reason.UNREADABLE, "a sequence holds something but items")
        if length == UNDEFINED:
            return self.dataset(end=None, depth=depth)
        end = self._stream.tell() + length
        item = self.dataset(end=end, depth=depth) if keep else Dataset()
        self._stream.seek(end)
        return item
