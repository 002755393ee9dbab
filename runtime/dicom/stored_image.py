"""An image as it lies in the spool: header read, pixels still in the file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from runtime.dicom.header_reader import HEADER_TAGS, header_from, wanted_tags
from runtime.dicom.other_objects import read_image_file
from runtime.dicom.part10_reader import DicomFile, ReadingLimits, opened
from runtime.dicom_header.functional_groups import DISPLAY_MACROS, with_display_of_frame

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.image.header import ImageHeader

IMAGE_TAGS = HEADER_TAGS | wanted_tags(
    (
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PresentationLUTShape",
        "PixelIntensityRelationshipSign",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "RescaleSlope",
        "RescaleIntercept",
        "ModalityLUTSequence",
        "WindowCenter",
        "WindowWidth",
        "VOILUTFunction",
        "VOILUTSequence",
        *DISPLAY_MACROS,
        "LUTDescriptor",
        "LUTData",
        "PerFrameFunctionalGroupsSequence",
        "FrameVOILUTSequence",
        "PixelValueTransformationSequence",
    )
)
# A VOI LUT has at most 65,536 entries of two bytes (PS3.3 C.11.2.1.1).
IMAGE_LIMITS = ReadingLimits(value_bytes=1 << 18)


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """A file in the spool and what its elements say."""

    path: Path
    header: ImageHeader
    file: DicomFile
    places: Mapping[str, str] = field(default_factory=dict)
    """Keyword to macro, of the elements that stand in functional groups."""


def open_image(path: Path, limits: ReadingLimits = IMAGE_LIMITS) -> StoredImage:
    """Reads everything of the file at `path` but its pixels.

    Raises:
        NoImageError: a DICOM object of another kind.
        HeaderRefusedError: not DICOM, cut off, hostile, an object without identity, or functional
            groups that contradict each other.
    """
    with opened(path) as stream:
        file = read_image_file(stream, IMAGE_TAGS, limits)
    header = header_from(file.elements, transfer_syntax_uid=file.transfer_syntax_uid)
    elements, places = with_display_of_frame(file.elements)
    file = replace(file, elements=elements)
    return StoredImage(path=path, header=header, file=file, places=places)
