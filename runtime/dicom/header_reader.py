"""From a file or a data set to an `ImageHeader`: each fact from wherever real files carry it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydicom.datadict import tag_for_keyword

from runtime.dicom.attributes import integer, items, numbers, text, texts
from runtime.dicom.part10_reader import opened, read_dicom_file
from runtime.dicom.pixel_spacing import pixel_spacing
from runtime.image.header import (
    FOR_PRESENTATION_CLASS,
    FOR_PROCESSING_CLASS,
    MAMMOGRAPHY_CLASSES,
    TOMOSYNTHESIS_CLASS,
    HeaderRefusedError,
    ImageHeader,
    Laterality,
    PresentationIntent,
    View,
)
from runtime.image.reasons import Reason
from runtime.image.view_codes import IMPLANT_DISPLACED, VIEW_NAMES, VIEW_WORDS, snomed_ct

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

    from runtime.dicom.part10_reader import ReadingLimits

HEADER_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "ImageType",
    "Manufacturer",
    "BodyPartExamined",
    "PresentationIntentType",
    "ViewCodeSequence",
    "ViewModifierCodeSequence",
    "CodeValue",
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
    "EstimatedRadiographicMagnificationFactor",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentDate",
    "ContentTime",
    "SharedFunctionalGroupsSequence",
    "FrameAnatomySequence",
    "FrameLaterality",
    "PixelMeasuresSequence",
)

# Secondary Capture: single frame, grayscale byte, grayscale word.
SECONDARY_CAPTURE_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
    }
)
# What digitised mammograms say they are; RG is what NEMA's own film samples have.
FILM_MODALITIES = frozenset({"RG", "CR", "OT", "DX", ""})
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
DESCRIPTIONS = (
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "AcquisitionDeviceProcessingDescription",
)
# A view that stands for itself ("R CC", "LMLO", "MLO-L"), not as a part of a longer word.
VIEW_TOKEN = re.compile(
    r"(?<![A-Z0-9])(?:([RL])[ _-]?)?(MLO|XCCL|CC|ML|LM)(?:[ _-]?([RL]))?(?![A-Z0-9])"
)


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
    view, view_source, modifiers = _view(ds)
    laterality, laterality_source = _laterality(ds)
    film = _is_film(ds, sop_class, view=view, laterality=laterality)
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
        laterality=laterality,
        laterality_source=laterality_source,
        view=view,
        view_source=view_source,
        modifiers=modifiers,
        intent=intent,
        intent_source=intent_source,
        implant=text(ds, "BreastImplantPresent").upper() == "YES",
        implant_displaced=IMPLANT_DISPLACED in modifiers,
        partial_view={"YES": True, "NO": False}.get(text(ds, "PartialView").upper()),
        tomosynthesis=sop_class == TOMOSYNTHESIS_CLASS
        or (frames > 1 and sop_class in MAMMOGRAPHY_CLASSES),
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
        magnification=next(
            (x for x in numbers(ds, "EstimatedRadiographicMagnificationFactor") if 0 < x < 10), 1.0
        ),
        stereo="STEREO" in texts(ds, "ImageType")[2:],
        chest_wall_side=_chest_wall_side(texts(ds, "PatientOrientation")),
    )


def _uid(ds: Dataset, keyword: str) -> str:
    value = text(ds, keyword)
    if not value:
        raise HeaderRefusedError(Reason.UNREADABLE, f"{keyword} is missing")
    if len(value) > 64 or not UID.fullmatch(value):
        raise HeaderRefusedError(Reason.UNREADABLE, f"{keyword} is no UID")
    return value


def _view(ds: Dataset) -> tuple[View | None, str, tuple[str, ...]]:
    """View, where it was found, and the modifiers as SNOMED CT codes."""
    modifiers: tuple[str, ...] = ()
    view: View | None = None
    source = ""
    for item in items(ds, "ViewCodeSequence"):
        modifiers += tuple(
            snomed_ct(text(modifier, "CodeValue"))
            for modifier in items(item, "ViewModifierCodeSequence")
            if text(modifier, "CodeValue")
        )
        value = snomed_ct(text(item, "CodeValue"))
        if view is None and value in VIEW_NAMES:
            view, source = View(VIEW_NAMES[value]), "ViewCodeSequence"
    if view is None:
        view, source = _view_of_words(ds)
    if view is None and items(ds, "ViewCodeSequence"):
        view, source = View.OTHER, "ViewCodeSequence"
    return view, source, modifiers


def _view_of_words(ds: Dataset) -> tuple[View | None, str]:
    position = text(ds, "ViewPosition").upper()
    if position:
        return View(VIEW_WORDS.get(position, "OTHER")), "ViewPosition"
    # Film scans of CBIS-DDSM have the view here, where two directions belong (PS3.3 C.7.6.1.1.1).
    orientation = text(ds, "PatientOrientation").upper()
    if orientation in VIEW_WORDS:
        return View(VIEW_WORDS[orientation]), "PatientOrientation"
    for keyword in DESCRIPTIONS:
        found = {match.group(2) for match in VIEW_TOKEN.finditer(text(ds, keyword).upper())}
        if len(found) == 1:
            return View(found.pop()), keyword
    return None, ""


def _laterality(ds: Dataset) -> tuple[Laterality | None, str]:
    for keyword in ("ImageLaterality", "Laterality"):
        word = text(ds, keyword).upper()
        if word in ("R", "L"):
            return Laterality(word), keyword
    for group in items(ds, "SharedFunctionalGroupsSequence"):
        for anatomy in items(group, "FrameAnatomySequence"):
            word = text(anatomy, "FrameLaterality").upper()
            if word in ("R", "L"):
                return Laterality(word), "FrameLaterality"
    for keyword in DESCRIPTIONS:
        sides = {
            side
            for match in VIEW_TOKEN.finditer(text(ds, keyword).upper())
            for side in (match.group(1), match.group(3))
            if side
        }
        if len(sides) == 1:
            return Laterality(sides.pop()), keyword
    return None, ""


def _chest_wall_side(directions: tuple[str, ...]) -> str:
    """Where the chest wall must be, by Patient Orientation (PS3.3 C.7.6.1.1.1).

    The first value is the direction in which rows run (to the right), the second that in which
    columns run (downwards); A is away from the chest wall, P towards it.
    """
    if len(directions) != 2:
        return ""
    along_rows, along_columns = (direction[:1].upper() for direction in directions)
    sides = {"P": ("right", "bottom"), "A": ("left", "top")}
    if along_rows in sides:
        return sides[along_rows][0]
    return sides[along_columns][1] if along_columns in sides else ""


def _is_film(
    ds: Dataset, sop_class: str, *, view: View | None, laterality: Laterality | None
) -> bool:
    if sop_class not in SECONDARY_CAPTURE_CLASSES:
        return False
    modality = text(ds, "Modality").upper()
    return modality == "MG" or (
        modality in FILM_MODALITIES
        and text(ds, "BodyPartExamined").upper() == "BREAST"
        and view not in (None, View.OTHER)
        and laterality is not None
    )


def _intent(ds: Dataset, sop_class: str, *, film: bool) -> tuple[PresentationIntent | None, str]:
    word = text(ds, "PresentationIntentType").upper()
    if word in (PresentationIntent.FOR_PRESENTATION, PresentationIntent.FOR_PROCESSING):
        return PresentationIntent(word), "PresentationIntentType"
    if sop_class == FOR_PRESENTATION_CLASS:
        return PresentationIntent.FOR_PRESENTATION, "SOPClassUID"
    if sop_class == FOR_PROCESSING_CLASS:
        return PresentationIntent.FOR_PROCESSING, "SOPClassUID"
    return (PresentationIntent.FOR_PRESENTATION, "film") if film else (None, "")


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
