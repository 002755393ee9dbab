"""Whom an image is of: what a technologist is shown at the unit, and what tells two patients apart.

Nothing of it leaves the unit; Patient ID, name and birth date do not even reach its disk in clear,
but for the spooled file itself.
"""

from __future__ import annotations

import re
import unicodedata
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
    (
        "SpecificCharacterSet",
        "AccessionNumber",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "StudyDate",
        "StudyTime",
    )
)
PN_DELIMITERS = {ord("^"), ord("=")}
"""After these a character set begins anew (PS3.5 6.1.2.5.3)."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
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


@dataclass(frozen=True, kw_only=True)
class PatientFacts:
    """Whom an image says that it is of, normalised; compared as keyed hashes, never kept.

    `repr` shows none of it; "" is for what is absent or unreadable.
    """

    patient_id: str = field(default="", repr=False)
    issuer: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)


def patient_of(ds: Dataset) -> PatientFacts:
    """The facts of a data set, so that two writings of one patient are equal."""
    birth_date = re.sub(r"[^0-9]", "", _text(ds, "PatientBirthDate"))
    return PatientFacts(
        patient_id=_plain(_text(ds, "PatientID")),
        issuer=_plain(_text(ds, "IssuerOfPatientID")),
        name=_plain_name(_text(ds, "PatientName")),
        # PS3.5 6.2, DA: eight digits; with points between them before 1993.
        birth_date=birth_date if len(birth_date) == 8 else "",
    )


def _plain(text: str) -> str:
    """Without what makes no difference: case, forms of one character, padding.

    Bytes that the character set does not have say nothing.
    """
    if REPLACEMENT in text:
        return ""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _plain_name(name: str) -> str:
    """`DOE^Jane^^Dr.` -> `doe^jane`, of the first group that says one (PS3.5 6.2.1).

    Family, given and middle name; titles come and go.
    """
    groups = (group.split("^")[:3] for group in name.split("="))
    plain = ("^".join(_plain(part) for part in group).strip("^") for group in groups)
    return next((name for name in plain if name), "")


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
        text = decode_bytes(raw.value, _encodings(ds, raw.value), PN_DELIMITERS)
    except (ValueError, LookupError):
        return ""  # a character set that nobody knows
    # Control characters and the like have no place on a page.
    return "".join(c for c in text if c.isprintable()).strip()[:TEXT_LIMIT]


def _encodings(ds: Dataset, value: bytes) -> list[str]:
    """As named; where none is, writers of UTF-8 are about that forget to say so."""
    raw = ds.get_item("SpecificCharacterSet")
    named = raw.value if isinstance(raw, RawDataElement) and raw.value else b""
    names = [name.strip() for name in named.decode("ascii", "replace").split("\\")]
    if any(names):
        return convert_encodings(names)
    try:
        value.decode("utf_8")
    except UnicodeDecodeError:
        return [default_encoding]
    return ["utf_8"]


def _study_time(ds: Dataset) -> str:
    date = re.fullmatch(r"\d{8}", _text(ds, "StudyDate"))
    time = re.match(r"\d{4,6}", _text(ds, "StudyTime"))
    return date[0] + time[0].ljust(6, "0") if date and time else ""
