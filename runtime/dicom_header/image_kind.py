"""Image Type (PS3.3 C.8.11.7.1.4), and what else tells a computed image from an exposure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import items, text, texts
from runtime.dicom_header.functional_groups import macros
from runtime.image.header import TOMOSYNTHESIS_CLASS, ImageKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

KIND_KEYWORDS = (
    "ImageType",
    "BurnedInAnnotation",
    "DetectorType",
    "VolumetricProperties",
    "VolumeBasedCalculationTechnique",
    "SourceImageSequence",
    "DerivationImageSequence",
    "ReferencedSOPClassUID",
    "ManufacturerModelName",
    "DerivationDescription",
)

# By value number. From value 6 on nothing is listed, and units write figures there. GE writes
# LOW_ENERGY as value 4; POST_PROCESSED is in real files (design: image_types).
HARMLESS = {
    1: {"ORIGINAL", "DERIVED", "MIXED"},
    2: {"PRIMARY", "SECONDARY"},
    3: {"PRE_CONTRAST", "POST_PROCESSED", "LOW_ENERGY"},
    4: {"LOW_ENERGY", "NONE"},
    5: {"LOW_ENERGY", "NONE"},
}
SYNTHETIC = {"GENERATED_2D", "TOMO_2D"}
BIOPSY = re.compile(r"STEREO|PRE_?FIRE|POST_?FIRE|POST_?BIOPSY|POST_?MARKER|SCOUT|BIOPSY|SPECIMEN")
# Known, and no full-field mammogram: no setting releases them.
NEVER = re.compile(
    r"TOMO|VOLUME|PROJECTION|POST_CONTRAST|ADDITION|SUBTRACT|RECOMBINED|HIGH_ENERGY|MAXIMUM|MEAN"
)
CAPTURE = re.compile(r"SCREEN|CAPTURE")
# What may be repeated of a term: a code string (PS3.5 6.2) that holds no number of a patient.
CODED = re.compile(r"(?!.*[0-9]{5})[A-Z0-9_ ]{1,16}")

# Of this one image, not of a protocol: the whole exam may be done by "Combo C-View".
DESCRIPTIONS = (
    "SeriesDescription",
    "DerivationDescription",
    "AcquisitionDeviceProcessingDescription",
)
START, END = r"(?<![A-Z0-9])(?:", r")(?![A-Z0-9])"
WORDS = (
    (
        ImageKind.SYNTHETIC_2D,
        "a synthetic view",
        (
            rf"{START}[CSV][ _-]?(?:VIEW|PREVIEW)|(?:INSIGHT|INTELLIGENT|SYN|GENERATED)[ _-]?2D"
            rf"|2D[ _-]?SYN|SYNTH(?:ETIC|ESI[SZ]ED)?(?:[ _-]?(?:2D|VIEW|MAMMO\w*))?{END}"
        ),
    ),
    (
        ImageKind.OTHER,
        "tomosynthesis",
        (
            rf"{START}TOMO(?:SYNTHESIS)?[ _-]*(?:PROJ\w*|REC\w*|SLICES?|SLABS?|VOLUME)"
            rf"|DBT[ _-]*(?:SLICES?|SLABS?|PROJ\w*|REC\w*|VOLUME){END}"
        ),
    ),
    (
        ImageKind.OTHER,
        "a contrast image",
        rf"{START}RECOMBINED|SUBTRACT(?:ED|ION)|HIGH[ _-]?ENERGY{END}",
    ),
    (
        ImageKind.BIOPSY,
        "a biopsy",
        rf"{START}STEREO(?:TAXIS|TACTIC|TAXY)?|(?:PRE|POST)[ _-]?FIRE|SPECIMEN{END}",
    ),
    (
        ImageKind.CAPTURE,
        "a screen capture",
        (
            rf"{START}SCREEN[ _-]?(?:SHOT|SAVE|CAPTURE)\w*|SECONDARY[ _-]CAPTURE|SNAPSHOT"
            rf"|CAD[ _-]?(?:MARKS?|OVERLAY|RESULTS?){END}"
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class KindFound:
    """The kind and what told it: attributes and coded terms, no free text."""

    kind: ImageKind = ImageKind.STANDARD
    detail: str = ""
    unknown_terms: tuple[str, ...] = ()
    """Terms of Image Type that nobody knows, where nothing else speaks against the image."""


def image_kind(ds: Dataset) -> KindFound:
    """The kind of an image by Image Type; by a second witness where that says nothing."""
    # A film digitised into a mammography object has its lead markers; a detector's image has none.
    of_film = text(ds, "DetectorType").upper() == "FILM"
    if text(ds, "BurnedInAnnotation").upper() == "YES" and not of_film:
        return KindFound(kind=ImageKind.CAPTURE, detail="Burned In Annotation says YES")
    of_type = [*_of_image_type(ds)]
    found = [told for told in of_type if not told.unknown_terms]
    # Synthetic images name the volume as well: TOMOSYNTHESIS\GENERATED_2D.
    found.sort(key=lambda told: told.kind is not ImageKind.SYNTHETIC_2D)
    found = found or [*_of_others(ds)]
    if found or not of_type:
        return next(iter(found), KindFound())
    return KindFound(
        kind=ImageKind.OTHER,
        detail="; ".join(told.detail for told in of_type),
        unknown_terms=tuple(term for told in of_type for term in told.unknown_terms),
    )


def terms_that_count(ds: Dataset) -> tuple[str, ...]:
    """Values 1 to 5 of Image Type, in capitals."""
    return tuple(value.upper().replace(" ", "_") for value in texts(ds, "ImageType")[:5])


def named(term: str) -> str:
    """A term, if it is a code string; else that it is none."""
    return term if not term or CODED.fullmatch(term) else "holds no code string"


def _of_image_type(ds: Dataset) -> Iterator[KindFound]:
    for number, term in enumerate(terms_that_count(ds), 1):
        if not term or term in HARMLESS[number]:
            continue
        detail = f"Image Type value {number} {named(term)}"
        if term in SYNTHETIC:
            yield KindFound(kind=ImageKind.SYNTHETIC_2D, detail=detail)
        elif BIOPSY.match(term):
            yield KindFound(kind=ImageKind.BIOPSY, detail=detail)
        elif CAPTURE.match(term):
            yield KindFound(kind=ImageKind.CAPTURE, detail=detail)
        elif NEVER.match(term) or not CODED.fullmatch(term):
            yield KindFound(kind=ImageKind.OTHER, detail=detail)
        else:
            yield KindFound(kind=ImageKind.OTHER, detail=detail, unknown_terms=(term,))


def _of_others(ds: Dataset) -> Iterator[KindFound]:
    """Fuji's S-View and older C-Views have nothing in Image Type that tells them."""
    for kind, what, pattern in WORDS:
        for keyword in DESCRIPTIONS:
            if re.search(pattern, text(ds, keyword).upper()):
                yield KindFound(kind=kind, detail=f"{keyword} names {what}")
    volumetric = text(ds, "VolumetricProperties").upper()
    technique = text(ds, "VolumeBasedCalculationTechnique").upper()
    if volumetric == "DISTORTED" or technique not in ("", "NONE"):
        yield KindFound(kind=ImageKind.SYNTHETIC_2D, detail="Volumetric Properties of a projection")
    elif volumetric:
        yield KindFound(kind=ImageKind.OTHER, detail="Volumetric Properties of a volume")
    places = (ds, *macros(ds, "DerivationImageSequence"))
    sources = (item for place in places for item in items(place, "SourceImageSequence"))
    if any(text(item, "ReferencedSOPClassUID") == TOMOSYNTHESIS_CLASS for item in sources):
        yield KindFound(kind=ImageKind.SYNTHETIC_2D, detail="its source image is a tomosynthesis")
    values = [value.upper() for value in texts(ds, "ImageType")]
    # Seen in the collections of medcognetics/dicom-utils; full-field ones are ORIGINAL there.
    if values[:2] == ["DERIVED", "PRIMARY"] and "FDR-3000" in text(ds, "ManufacturerModelName"):
        yield KindFound(kind=ImageKind.SYNTHETIC_2D, detail="Image Type DERIVED of an FDR-3000AWS")
