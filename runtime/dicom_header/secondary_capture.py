"""Is a Secondary Capture a digitised film, or anything else in its clothes?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import integer, text, texts
from runtime.image.header import View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

    from runtime.image.header import Laterality

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
# PS3.3 C.8.6.1. Workstation alone says nothing: the film scans of CBIS-DDSM carry it.
DIGITISED_FILM, WORKSTATION = "DF", "WSD"
# No film has a detector, a distance to it, or an intent.
OF_A_DETECTOR = (
    "DetectorType",
    "DetectorConfiguration",
    "DetectorID",
    "DetectorActiveShape",
    "DetectorActiveDimensions",
    "DetectorElementPhysicalSize",
    "DetectorElementSpacing",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "EstimatedRadiographicMagnificationFactor",
    "PositionerType",
    "PresentationIntentType",
    "VolumetricProperties",
)
DEVICES = (
    "SecondaryCaptureDeviceManufacturer",
    "SecondaryCaptureDeviceManufacturerModelName",
    "SecondaryCaptureDeviceID",
    "ManufacturerModelName",
    "StationName",
)
VIEWING_DEVICE = re.compile(
    r"WORK ?STATION|SECURVIEW|SYNGO|PACS|IMPAX|SECTRA|CENTRICITY|INTELLISPACE|OSIRIX|HOROS"
    r"|RADIANT|WEASIS|EFILM|VIEWER|MULTIVU|MEVIS|TERARECON|SENO ?IRIS|CLEARCANVAS"
    r"|(?<![A-Z])(?:IDI|VUE|IDS ?7|CAD|WS)(?![A-Z])"
)
DIGITAL_UNIT = re.compile(
    r"SELENIA|DIMENSIONS|SENOGRAPH|PRISTINA|MAMMOMAT|AMULET|FDR-|GIOTTO|MICRODOSE"
)
CAPTURED = re.compile(
    r"CAPTURE|SCREEN|TOMO|PROJECTION|FLAT ?FIELD|KEY ?IMAGE|(?<![A-Z])CAD(?![A-Z])"
)
CAPTURE_KEYWORDS = ("ConversionType", *OF_A_DETECTOR, *DEVICES)


def may_be_film(
    ds: Dataset, sop_class: str, *, view: View | None, laterality: Laterality | None
) -> bool:
    """A Secondary Capture of a breast by its modality, or by body part, view and side."""
    if sop_class not in SECONDARY_CAPTURE_CLASSES:
        return False
    modality = text(ds, "Modality").upper()
    return modality == "MG" or (
        modality in FILM_MODALITIES
        and text(ds, "BodyPartExamined").upper() == "BREAST"
        and view not in (None, View.OTHER)
        and laterality is not None
    )


def against_film(ds: Dataset) -> str:
    """What says that a Secondary Capture is no film, or "": attributes, no free text."""
    return next(_against_film(ds), "")


def _against_film(ds: Dataset) -> Iterator[str]:
    conversion = text(ds, "ConversionType").upper()
    if conversion not in ("", DIGITISED_FILM, WORKSTATION):
        yield "Conversion Type is not that of a film"
    if text(ds, "BurnedInAnnotation").upper() == "YES":
        yield "Burned In Annotation says YES"
    yield from (f"a Secondary Capture with {word}" for word in OF_A_DETECTOR if texts(ds, word))
    if integer(ds, "NumberOfFrames", 1) > 1:
        yield "a Secondary Capture of several frames"
    if DIGITAL_UNIT.search(text(ds, "ManufacturerModelName").upper()):
        yield "a Secondary Capture with the model of a digital unit"
    if CAPTURED.search(text(ds, "SeriesDescription").upper()):
        yield "SeriesDescription names no film"
    if conversion != DIGITISED_FILM:
        yield from _against_undeclared_film(ds)


def _against_undeclared_film(ds: Dataset) -> Iterator[str]:
    """What counts where Conversion Type does not say that it is a digitised film."""
    if texts(ds, "ImagerPixelSpacing"):
        yield "a Secondary Capture with ImagerPixelSpacing"
    if texts(ds, "ImageType")[1:2] == ("SECONDARY",):
        yield "a Secondary Capture with Image Type value 2 SECONDARY"
    for keyword in DEVICES:
        if VIEWING_DEVICE.search(text(ds, keyword).upper()):
            yield f"{keyword} is that of a workstation"
