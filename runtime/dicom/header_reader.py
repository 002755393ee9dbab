"""From a file or a data set to an `ImageHeader`: each fact from wherever real files carry it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydicom.datadict import tag_for_keyword

from runtime.dicom.part10_reader import opened, read_dicom_file
from runtime.dicom_header.attributes import CODE_KEYWORDS, integer, items, text
from runtime.dicom_header.functional_groups import GROUPS
from runtime.dicom_header.image_kind import KIND_KEYWORDS, KindFound, image_kind
from runtime.dicom_header.pixel_spacing import pixel_spacing
from runtime.dicom_header.secondary_capture import CAPTURE_KEYWORDS, against_film, may_be_film
from runtime.dicom_header.side_witnesses import chest_wall_side, directions, side_of
from runtime.dicom_header.view_modifiers import (
    MODIFIER_KEYWORDS,
    magnification,
    modifiers_of,
    partial_view,
)
from runtime.dicom_header.view_witnesses import view_of
from runtime.image.header import (
    FOR_PRESENTATION_CLASS,
    FOR_PROCESSING_CLASS,
    MAMMOGRAPHY_CLASSES,
    TOMOSYNTHESIS_CLASS,
    HeaderRefusedError,
    ImageHeader,
    ImageKind,
    PresentationIntent,
)
from runtime.image.reasons import Reason
from runtime.image.view_codes import IMPLANT_DISPLACED

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

from runtime.dicom.part10_reader import ReadingLimits

HEADER_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "Modality",
    *KIND_KEYWORDS,
    *CAPTURE_KEYWORDS,
    "Manufacturer",
    "BodyPartExamined",
    "PresentationIntentType",
    "ViewCodeSequence",
    *MODIFIER_KEYWORDS,
    *CODE_KEYWORDS,
    "CodingSchemeDesignator",
    "ViewPosition",
    "ImageLaterality",
    "Laterality",
    "PatientOrientation",
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionDeviceProcessingDescription",
    "PerformedProcedureStepDescription",
    "BreastImplantPresent",
    "PartialView",
    "QualityControlImage",
    "LossyImageCompression",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelSpacingCalibrationType",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentDate",
    "ContentTime",
    *GROUPS,
    "PatientOrientationInFrameSequence",
    "FrameAnatomySequence",
    "FrameLaterality",
    "PixelMeasuresSequence",
)

INTENTS = frozenset(PresentationIntent)
INTENT_OF_CLASS = {
    FOR_PRESENTATION_CLASS: PresentationIntent.FOR_PRESENTATION,
    FOR_PROCESSING_CLASS: PresentationIntent.FOR_PROCESSING,
    "1.2.840.10008.5.1.4.1.1.13.1.4": PresentationIntent.FOR_PRESENTATION,
    "1.2.840.10008.5.1.4.1.1.13.1.5": PresentationIntent.FOR_PROCESSING,
}
LOSSY_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.51",
        "1.2.840.10008.1.2.4.81",
    }
)
# PS3.5 9.1: digits and dots, at most 64. Components with a leading zero are against the rule and
# seen in real files; they are harmless.
UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def wanted_tags(keywords: tuple[str, ...]) -> frozenset[int]:
    """The tags of `keywords`."""
    return frozenset(tag for word in keywords if (tag := tag_for_keyword(word)) is not None)


HEADER_TAGS = wanted_tags(HEADER_KEYWORDS)


def read_image_header(path: Path, limits: ReadingLimits | None = None) -> ImageHeader:
    """The header of the DICOM file at `path`; reads nothing behind it.

    Raises:
        HeaderRefusedError: not DICOM, cut off, hostile, or an object without identity.
    """
    with opened(path) as stream:
        found = read_dicom_file(stream, HEADER_TAGS, limits)
    return header_from(found.elements, transfer_syntax_uid=found.transfer_syntax_uid)


def header_from(ds: Dataset, *, transfer_syntax_uid: str = "") -> ImageHeader:
    """What a data set says about its image.

    Args:
        ds: a data set of `read_dicom_file`, or any of pydicom.
        transfer_syntax_uid: else that of `ds.file_meta`.

    Raises:
        HeaderRefusedError: SOP class, SOP instance or study UID is missing or no UID.
    """
    sop_class = _uid(ds, "SOPClassUID")
    modifiers = modifiers_of(ds)
    view = view_of(ds)
    side = side_of(ds, view)
    film = may_be_film(ds, sop_class, view=view.view, laterality=side.side)
    asked = film or sop_class in MAMMOGRAPHY_CLASSES
    kind = _kind(ds, secondary_capture=film) if asked else KindFound()
    intent, intent_source = _intent(ds, sop_class, film=film)
    spacing, spacing_source = pixel_spacing(ds, film=film)
    frames = max(1, integer(ds, "NumberOfFrames", 1))
    syntax = transfer_syntax_uid or str(
        getattr(ds, "file_meta", {}).get("TransferSyntaxUID", "") or ""
    )
    return ImageHeader(
        sop_instance_uid=_uid(ds, "SOPInstanceUID"),
        sop_class_uid=sop_class,
        study_instance_uid=_uid(ds, "StudyInstanceUID"),
        transfer_syntax_uid=syntax,
        modality=text(ds, "Modality"),
        laterality=side.side,
        laterality_source=side.source,
        view=view.view,
        view_source=view.source,
        modifiers=modifiers,
        intent=intent,
        intent_source=intent_source,
        implant=text(ds, "BreastImplantPresent").upper() == "YES",
        implant_displaced=IMPLANT_DISPLACED in modifiers,
        partial_view=partial_view(ds),
        tomosynthesis=_is_volume(sop_class, frames, kind.kind),
        # BOTH: a phantom beside the breast (PS3.3 C.8.11.7); no exposure of a screening exam.
        quality_control=text(ds, "QualityControlImage").upper() in ("YES", "BOTH"),
        film=film,
        manufacturer=text(ds, "Manufacturer"),
        rows=integer(ds, "Rows"),
        columns=integer(ds, "Columns"),
        frames=frames,
        pixel_spacing_mm=spacing,
        pixel_spacing_source=spacing_source,
        acquired_at=_acquired_at(ds),
        lossy=text(ds, "LossyImageCompression") == "01" or syntax in LOSSY_SYNTAXES,
        magnification=magnification(ds),
        stereo=kind.kind is ImageKind.BIOPSY or bool(items(ds, "BiopsyTargetSequence")),
        kind=kind.kind,
        kind_detail=kind.detail,
        image_terms=kind.unknown_terms,
        chest_wall_side=chest_wall_side(ds),
        hanging_assumed=not film
        and intent is PresentationIntent.FOR_PRESENTATION
        and not directions(ds),
        intent_contradicts=_intent_contradicts(ds, sop_class),
        side_witnesses=side.witnesses,
        view_witnesses=view.witnesses,
    )


def _uid(ds: Dataset, keyword: str) -> str:
    value = text(ds, keyword)
    if not value:
        raise HeaderRefusedError(Reason.UNREADABLE, f"{keyword} is missing")
    if len(value) > 64 or not UID.fullmatch(value):
        raise HeaderRefusedError(Reason.UNREADABLE, f"{keyword} is no UID")
    return value


def _kind(ds: Dataset, *, secondary_capture: bool) -> KindFound:
    found = image_kind(ds)
    plain = found.kind is ImageKind.STANDARD or found.unknown_terms
    against = against_film(ds) if secondary_capture and plain else ""
    return KindFound(kind=ImageKind.CAPTURE, detail=against) if against else found


def _is_volume(sop_class: str, frames: int, kind: ImageKind) -> bool:
    """A synthetic view may come as the one frame of a tomosynthesis object."""
    if frames > 1:
        return sop_class in MAMMOGRAPHY_CLASSES
    return sop_class == TOMOSYNTHESIS_CLASS and kind is not ImageKind.SYNTHETIC_2D


def _intent(ds: Dataset, sop_class: str, *, film: bool) -> tuple[PresentationIntent | None, str]:
    word = text(ds, "PresentationIntentType").upper()
    if word in INTENTS:
        return PresentationIntent(word), "PresentationIntentType"
    if sop_class in INTENT_OF_CLASS:
        return INTENT_OF_CLASS[sop_class], "SOPClassUID"
    return (PresentationIntent.FOR_PRESENTATION, "film") if film else (None, "")


def _intent_contradicts(ds: Dataset, sop_class: str) -> bool:
    """PS3.3 A.26: the storage class and Presentation Intent Type say the same."""
    word = text(ds, "PresentationIntentType").upper()
    return word in INTENTS and INTENT_OF_CLASS.get(sop_class, word) != word


def _acquired_at(ds: Dataset) -> str:
    """Date and time to the second; the time is left out where it is no time."""
    joined = text(ds, "AcquisitionDateTime")
    if not re.match(r"[0-9]{8}", joined):
        for kind in ("Acquisition", "Content"):
            joined = text(ds, f"{kind}Date")
            if re.fullmatch(r"[0-9]{8}", joined):
                joined += text(ds, f"{kind}Time")
                break
        else:
            return ""
    found = re.match(r"[0-9]{8}(?:[0-9]{6})?", joined)
    return found.group() if found else ""
