"""The tables of the conformance statement (PS3.2): what is accepted, read, refused and remarked on.

`mammoedge reference dicom` prints them; the page `docs/connect-dicom.md` holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.tag import Tag
from pydicom.uid import UID

from firmware_bridge.dicom_network.transfer_syntaxes import TRANSFER_SYNTAXES, accepted_contexts
from runtime.cli.code_words import REASON_WORDS, REMARK_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, kw_only=True)
class HeaderFact:
    """A fact about an image, where it is read, and what speaks of it where it fails."""

    fact: str
    keywords: tuple[str, ...]
    """In the order in which they count; the first that tells is used unless `how` says else."""
    how: str
    codes: str
    """Reasons and remarks."""


FACTS: Final[tuple[HeaderFact, ...]] = (
    HeaderFact(
        fact="identity of the object",
        keywords=("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"),
        how="each must be a UID",
        codes="unreadable, not_mammography",
    ),
    HeaderFact(
        fact="when",
        keywords=(
            "AcquisitionDateTime",
            "AcquisitionDate",
            "AcquisitionTime",
            "ContentDate",
            "ContentTime",
        ),
        how="the first that is a date",
        codes="",
    ),
    HeaderFact(
        fact="quality control, implant",
        keywords=("QualityControlImage", "BreastImplantPresent"),
        how="YES (or BOTH) refuses",
        codes="quality_control, implant",
    ),
    HeaderFact(
        fact="kind of image",
        keywords=(
            "BurnedInAnnotation",
            "ImageType",
            "SeriesDescription",
            "DerivationDescription",
            "AcquisitionDeviceProcessingDescription",
            "VolumetricProperties",
            "VolumeBasedCalculationTechnique",
            "SourceImageSequence",
            "DerivationImageSequence",
            "ReferencedSOPClassUID",
            "ManufacturerModelName",
            "NumberOfFrames",
        ),
        how="the first that speaks against a full-field image; Image Type by its values 1 to 5",
        codes="screen_capture, unsupported_image_type, synthetic_2d, tomosynthesis_volume",
    ),
    HeaderFact(
        fact="film or capture",
        keywords=(
            "Modality",
            "BodyPartExamined",
            "ConversionType",
            "DetectorType",
            "DetectorConfiguration",
            "DetectorID",
            "DetectorActiveShape",
            "DetectorActiveDimensions",
            "DetectorElementPhysicalSize",
            "DetectorElementSpacing",
            "PositionerType",
            "SecondaryCaptureDeviceManufacturer",
            "SecondaryCaptureDeviceManufacturerModelName",
            "SecondaryCaptureDeviceID",
            "StationName",
        ),
        how="a Secondary Capture is film unless one of them says otherwise",
        codes="screen_capture, film_not_accepted, intent_assumed",
    ),
    HeaderFact(
        fact="intent",
        keywords=("PresentationIntentType", "SOPClassUID"),
        how="they must agree",
        codes="for_processing",
    ),
    HeaderFact(
        fact="maker",
        keywords=("Manufacturer",),
        how="by its beginning",
        codes="manufacturer_not_accepted",
    ),
    HeaderFact(
        fact="view",
        keywords=(
            "ViewCodeSequence",
            "ViewPosition",
            "PatientOrientation",
            "SeriesDescription",
            "ProtocolName",
            "PerformedProcedureStepDescription",
            "AcquisitionDeviceProcessingDescription",
        ),
        how="code and View Position must agree; words such as `L CC` and `R-MLO` are read",
        codes="view_unknown, unsupported_view",
    ),
    HeaderFact(
        fact="codes",
        keywords=(
            "CodeValue",
            "LongCodeValue",
            "URNCodeValue",
            "CodingSchemeDesignator",
            "CodeMeaning",
        ),
        how="SNOMED CT or RT; a meaning counts only where it names a specimen",
        codes="",
    ),
    HeaderFact(
        fact="side",
        keywords=(
            "ImageLaterality",
            "Laterality",
            "FrameAnatomySequence",
            "FrameLaterality",
            "ViewPosition",
            "PatientOrientation",
            "PatientOrientationInFrameSequence",
        ),
        how="all that speak must agree, and the chest wall in the pixels with them",
        codes="laterality_missing, laterality_contradicts, laterality_unconfirmed",
    ),
    HeaderFact(
        fact="modifiers",
        keywords=(
            "ViewModifierCodeSequence",
            "PaddleDescription",
            "BodyPartExamined",
            "AnatomicRegionSequence",
            "AnatomicRegionModifierSequence",
            "PrimaryAnatomicStructureSequence",
            "SpecimenDescriptionSequence",
            "BiopsyTargetSequence",
        ),
        how="any of them; within the view's item and beside it",
        codes="unsupported_modifier, implant",
    ),
    HeaderFact(
        fact="part of a breast",
        keywords=("PartialViewCodeSequence", "PartialView"),
        how="an item, or YES",
        codes="partial_view, partial_view_unknown",
    ),
    HeaderFact(
        fact="magnification",
        keywords=(
            "EstimatedRadiographicMagnificationFactor",
            "DistanceSourceToDetector",
            "DistanceSourceToPatient",
        ),
        how="the larger of the factor and the distances; a contact view has less than 1.3",
        codes="unsupported_modifier",
    ),
    HeaderFact(
        fact="pixel spacing",
        keywords=(
            "PixelSpacing",
            "PixelSpacingCalibrationType",
            "ImagerPixelSpacing",
            "NominalScannedPixelSpacing",
            "PixelMeasuresSequence",
        ),
        how="Pixel Spacing if calibrated, Imager Pixel Spacing by the magnification, else what is"
        " there; Nominal Scanned Pixel Spacing of film only; 0.005 to 1 mm are believed",
        codes="spacing_unknown, spacing_out_of_range, spacing_assumed",
    ),
    HeaderFact(
        fact="pixels",
        keywords=(
            "Rows",
            "Columns",
            "NumberOfFrames",
            "SamplesPerPixel",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
            "LossyImageCompression",
        ),
        how="reconciled with the codestream's own headers",
        codes="unsupported_pixels, undecodable, too_small, too_large, lossy_compression,"
        " pixel_sign_contradicts, bits_unused",
    ),
    HeaderFact(
        fact="padding",
        keywords=("PixelPaddingValue", "PixelPaddingRangeLimit"),
        how="US or SS by Pixel Representation",
        codes="padding_ignored, padding_darkened",
    ),
    HeaderFact(
        fact="modality values",
        keywords=("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
        how="a table goes before the rescale",
        codes="modality_lut_unusable",
    ),
    HeaderFact(
        fact="gray",
        keywords=(
            "VOILUTSequence",
            "LUTDescriptor",
            "LUTData",
            "WindowCenter",
            "WindowWidth",
            "VOILUTFunction",
        ),
        how="the first table, else the first window, else as stored",
        codes="voi_lut_unusable, voi_lut_bits, bits_unused, window_missing, window_absurd,"
        " voi_function_unknown, display_implausible",
    ),
    HeaderFact(
        fact="polarity",
        keywords=(
            "PhotometricInterpretation",
            "PresentationLUTShape",
            "PixelIntensityRelationshipSign",
        ),
        how="Photometric Interpretation, with falling slopes and tables; the sign of For"
        " Processing only",
        codes="polarity_contradicts, display_implausible",
    ),
    HeaderFact(
        fact="functional groups",
        keywords=(
            "SharedFunctionalGroupsSequence",
            "PerFrameFunctionalGroupsSequence",
            "FrameVOILUTSequence",
            "PixelValueTransformationSequence",
        ),
        how="of an image of one frame: window, table, rescale, side, orientation and spacing as"
        " if they stood at the top; two places must agree",
        codes="unsupported_pixels",
    ),
)


def dicom_tables() -> str:
    """The tables in Markdown."""
    return "\n".join((*_classes(), *_syntaxes(), *_facts(), *_codes()))


def _table(*rows: Iterable[str]) -> Iterator[str]:
    head, *others = (tuple(row) for row in rows)
    for row in (head, ("---",) * len(head), *others):
        yield f"| {' | '.join(row)} |"
    yield ""


def _classes() -> Iterator[str]:
    yield from ("### SOP classes", "")
    rows = []
    for context in sorted(accepted_contexts(), key=lambda context: str(context.abstract_syntax)):
        uid = UID(str(context.abstract_syntax))
        offered = tuple(map(str, context.transfer_syntax or ()))
        syntaxes = "all below" if offered == TRANSFER_SYNTAXES else "native"
        rows.append((uid.name, str(uid), "SCP", syntaxes))
    yield from _table(("SOP class", "UID", "role", "transfer syntaxes"), *rows)


def _syntaxes() -> Iterator[str]:
    yield from ("### Transfer syntaxes", "")
    rows = ((UID(uid).name, uid) for uid in TRANSFER_SYNTAXES)
    yield from _table(("transfer syntax", "UID"), *rows)


def _facts() -> Iterator[str]:
    yield from ("### Attributes that are read", "")
    rows = (
        (
            fact.fact,
            ", ".join(_attribute(keyword) for keyword in fact.keywords),
            fact.how,
            ", ".join(f"`{code}`" for code in fact.codes.split(", ") if code),
        )
        for fact in FACTS
    )
    yield from _table(("fact", "where, in this order", "how", "reasons and remarks"), *rows)


def _attribute(keyword: str) -> str:
    tag = Tag(tag_for_keyword(keyword) or 0)
    return f"{dictionary_description(tag)} ({tag.group:04X},{tag.element:04X})"


def _codes() -> Iterator[str]:
    yield from ("### Reasons", "")
    reasons = ((f"`{reason}`", *words) for reason, words in REASON_WORDS.items())
    yield from _table(("reason", "cause", "remedy"), *reasons)
    yield from ("### Remarks", "")
    remarks = ((f"`{remark}`", words) for remark, words in REMARK_WORDS.items())
    yield from _table(("remark", "what is so"), *remarks)
