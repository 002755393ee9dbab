"""Values of a DICOM data set, whatever a sender wrote into them.

pydicom checks a value when it is first touched, and warns or raises when it breaks a rule. Here a
broken value is an absent one, and so is a sequence where a value belongs: what matters is missing
then, and the image says so. Values that were read from a file are taken as bytes, before pydicom
converts them, which is also ten times faster.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence as Items

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from runtime.image.view_codes import snomed_ct

BINARY_VRS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "OW": "H"}
# PS3.5 6.2: no value of the VRs that are read here (CS, DS, IS, LO, SH, UI, …) may be longer, and
# no attribute that is read here has more values.
LONGEST_TEXT = 1024
MOST_VALUES = 64
# PS3.5 6.2: what the integer VRs up to 32 bits (IS, SL, UL) can say.
INTEGERS = range(-(2**31), 2**32)
CODE_KEYWORDS = ("CodeValue", "LongCodeValue", "URNCodeValue")
# `http://snomed.info/id/399055006`, `urn:oid:2.16.840.1.113883.6.96.399055006`
SNOMED_IN_URN = re.compile(r"(?<=[./:=|])[0-9]{6,18}$")


def texts(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of a textual attribute, stripped; () if it is absent, empty or no text."""
    value = _value(ds, keyword)
    if isinstance(value, bytes):
        value = value[:LONGEST_TEXT].decode("ascii", "replace").split("\\")
    elif isinstance(value, str) or not isinstance(value, Items):
        value = () if value is None else (value,)
    words = tuple(str(item).strip(" \0")[:LONGEST_TEXT] for item in value[:MOST_VALUES])
    return words if any(words) else ()


def text(ds: Dataset, keyword: str) -> str:
    """The first value of a textual attribute, or ""."""
    return next(iter(texts(ds, keyword)), "")


def numbers(ds: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of a numeric attribute; () if one of them is no number. NaN may be among them."""
    raw = _raw(ds, keyword)
    if raw is not None and (kind := BINARY_VRS.get(_vr(raw))) is not None:
        size = struct.calcsize(kind)
        value = (raw.value or b"")[: size * MOST_VALUES]
        endian = "<" if raw.is_little_endian else ">"
        return tuple(
            float(x)
            for x in struct.unpack(
                f"{endian}{len(value) // size}{kind}", value[: len(value) // size * size]
            )
        )
    try:
        return tuple(float(word) for word in texts(ds, keyword))
    except ValueError:
        return ()


def integer(ds: Dataset, keyword: str, default: int = 0) -> int:
    """The first value of an integer attribute; `default` if there is none within 32 bits."""
    value = next(iter(numbers(ds, keyword)), math.nan)
    return int(value) if math.isfinite(value) and int(value) in INTEGERS else default


def frame_count(ds: Dataset) -> int | None:
    """Number of Frames (0028,0008); 1 where there is none, None where it is no number of frames."""
    if not texts(ds, "NumberOfFrames"):
        return 1
    value = next(iter(numbers(ds, "NumberOfFrames")), math.nan)
    counts = math.isfinite(value) and value == int(value) and 1 <= value < 2**31
    return int(value) if counts else None


def pixel_value(ds: Dataset, keyword: str, *, signed: bool) -> int | None:
    """The value of an attribute that is a stored pixel (VR US or SS); None if it has none.

    Pixel Representation says what its 16 bits are (PS3.5 A.1, PS3.6): implicit VR tells no VR, and
    writers of explicit VR are about that have US for signed pixels.

    Args:
        ds: a data set.
        keyword: PixelPaddingValue, PixelPaddingRangeLimit, SmallestImagePixelValue, …
        signed: Pixel Representation is 1.
    """
    value = next(iter(numbers(ds, keyword)), math.nan)
    if not (math.isfinite(value) and -(2**15) <= value < 2**16):
        return None
    word = int(value) & 0xFFFF
    return word - 0x10000 if signed and word & 0x8000 else word


def binary(ds: Dataset, keyword: str) -> tuple[bytes, bool]:
    """The bytes of an attribute of 16-bit words, and whether they are little endian."""
    value = _value(ds, keyword)
    raw = _raw(ds, keyword)
    if raw is not None:
        return raw.value or b"", raw.is_little_endian
    if isinstance(value, Items) and not isinstance(value, (bytes, str)):
        words = [word & 0xFFFF for word in value[: 1 << 16] if isinstance(word, int)]
        return struct.pack(f"<{len(words)}H", *words), True
    return (value, True) if isinstance(value, bytes) else (b"", True)


def items(ds: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; () if it is absent, empty or no sequence."""
    raw = _raw(ds, keyword)
    if raw is not None or keyword not in ds:
        return ()
    value = ds[keyword].value
    return (
        tuple(item for item in value if isinstance(item, Dataset))
        if isinstance(value, Items)
        else ()
    )


def code_value(item: Dataset) -> str:
    """The code of an item of a code sequence (PS3.3 8.1 and 8.2), or "" if it has none.

    SNOMED CT where there is one, else the code as it stands.
    """
    for keyword in CODE_KEYWORDS:
        value = text(item, keyword)
        found = SNOMED_IN_URN.search(value)
        if value:
            return snomed_ct(found.group() if found else value)
    return ""


def _value(ds: Dataset, keyword: str) -> object:
    raw = _raw(ds, keyword)
    if raw is not None:
        return raw.value or b""
    value = ds[keyword].value if keyword in ds else None
    # Whatever one does to an item (str, say) makes pydicom convert what the file has in it.
    return None if isinstance(value, (Sequence, Dataset)) else value


def _raw(ds: Dataset, keyword: str) -> RawDataElement | None:
    """The element as it was read, if nothing has converted it yet."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    element = ds.get_item(tag, keep_deferred=True)
    return element if isinstance(element, RawDataElement) else None


def _vr(raw: RawDataElement) -> str:
    """The VR as it was read; by the dictionary where the file does not say (PS3.5 6.2.2)."""
    if raw.VR is None or raw.VR == "UN":
        return dictionary_VR(raw.tag)[:2]
    return str(raw.VR)
