"""What a technologist needs to match patient and exam: shown at the unit, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from pydicom.charset import convert_encodings, decode_bytes, default_encoding
from pydicom.dataelem import RawDataElement

from runtime.dicom.header_reader import wanted_tags

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydicom.dataset import Dataset

IDENTITY_TAGS = wanted_tags(
    ("SpecificCharacterSet", "AccessionNumber", "PatientName", "StudyDate", "StudyTime")
)
PN_DELIMITERS = {ord("^"), ord("=")}
"""After these a character set begins anew (PS3.5 6.1.2.5.3)."""
TEXT_LIMIT = 64
"""PS3.5 6.2: an accession number (SH) has at most 16 characters; senders write more."""


class IdentityField(StrEnum):
    """What a site may have shown."""

    ACCESSION_NUMBER = "accession_number"
    INITIALS = "initials"
    STUDY_TIME = "study_time"


@dataclass(frozen=True, kw_only=True)
class PatientIdentity:
    """Kept in a table of its own that nothing publishes. `repr` shows none of it."""

    accession_number: str = field(default="", repr=False)
    initials: str = field(default="", repr=False)
    study_time: str = field(default="", repr=False)
    """`YYYYMMDDHHMMSS` by the unit's own clock."""


def identity_of(ds: Dataset, shown: Collection[IdentityField]) -> PatientIdentity:
    """The `shown` fields of a data set; "" for what is absent or unreadable."""
    found = {
        IdentityField.ACCESSION_NUMBER: lambda: _text(ds, "AccessionNumber"),
        IdentityField.INITIALS: lambda: initials(_text(ds, "PatientName")),
        IdentityField.STUDY_TIME: lambda: _study_time(ds),
    }
    return PatientIdentity(**{item.value: found[item]() for item in shown})


def initials(name: str) -> str:
    """`Müller^Anna Lena` -> `M.A.`: family name, then given name (PS3.5 6.2.1)."""
    alphabetic = name.split("=", maxsplit=1)[0]
    parts = [part.strip() for part in alphabetic.split("^")[:2]]
    return "".join(f"{part[0].upper()}." for part in parts if part)


def _text(ds: Dataset, keyword: str) -> str:
    """The element as text, from its bytes: pydicom's own conversion warns with the value in it."""
    raw = ds.get_item(keyword)
    if not isinstance(raw, RawDataElement) or not raw.value:
        return ""
    try:
        text = decode_bytes(raw.value, _encodings(ds), PN_DELIMITERS)
    except (ValueError, LookupError):
        return ""  # a character set that nobody knows
    # Control characters and the like have no place on a page.
    return "".join(c for c in text if c.isprintable()).strip()[:TEXT_LIMIT]


def _encodings(ds: Dataset) -> list[str]:
    raw = ds.get_item("SpecificCharacterSet")
    named = raw.value if isinstance(raw, RawDataElement) and raw.value else b""
    names = [name.strip() for name in named.decode("ascii", "replace").split("\\")]
    return convert_encodings(names) if any(names) else [default_encoding]


def _study_time(ds: Dataset) -> str:
    date = re.fullmatch(r"\d{8}", _text(ds, "StudyDate"))
    time = re.match(r"\d{4,6}", _text(ds, "StudyTime"))
    return date[0] + time[0].ljust(6, "0") if date and time else ""
