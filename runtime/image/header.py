"""What a DICOM header says about an image, before any pixel is touched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from models.errors import PeerError
from runtime.image.reasons import Reason
from runtime.image.view_codes import HARMLESS_MODIFIERS

if TYPE_CHECKING:
    from collections.abc import Collection

# PS3.6: Digital Mammography For Presentation and For Processing, Breast Tomosynthesis, Breast
# Projection X-Ray For Presentation and For Processing.
FOR_PRESENTATION_CLASS = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.2.1"
TOMOSYNTHESIS_CLASS = "1.2.840.10008.5.1.4.1.1.13.1.3"
MAMMOGRAPHY_CLASSES = frozenset(
    {
        FOR_PRESENTATION_CLASS,
        FOR_PROCESSING_CLASS,
        TOMOSYNTHESIS_CLASS,
        "1.2.840.10008.5.1.4.1.1.13.1.4",
        "1.2.840.10008.5.1.4.1.1.13.1.5",
    }
)


class HeaderRefusedError(PeerError):
    """A file whose header cannot be used: no DICOM, cut off, hostile, or without identity.

    Attributes:
        reason: what to tell the sender and the operator.
        detail: what was wrong, without any value of the data set (it may hold an identity).
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class NoImageError(HeaderRefusedError):
    """A DICOM object that is no image: a report, a presentation state, a directory and others.

    Attributes:
        name: of its storage class, as PS3.6 has it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(Reason.NOT_MAMMOGRAPHY, passed_over(name))


def passed_over(name: str) -> str:
    """The words for people, wherever an object that is no image is met."""
    return f"passed over: {name}"


class Laterality(StrEnum):
    """Which breast (PS3.3 C.8.11.7: Image Laterality)."""

    RIGHT = "R"
    LEFT = "L"


class View(StrEnum):
    """Radiographic view (PS3.16 CID 4014); `OTHER` is a view that we have no name for."""

    CC = "CC"
    MLO = "MLO"
    ML = "ML"
    LM = "LM"
    XCCL = "XCCL"
    OTHER = "OTHER"


class PresentationIntent(StrEnum):
    """Presentation Intent Type (0008,0068)."""

    FOR_PRESENTATION = "FOR PRESENTATION"
    FOR_PROCESSING = "FOR PROCESSING"


class ImageKind(StrEnum):
    """What an object holds; models of full-field mammograms are made for the first."""

    STANDARD = "standard"
    SYNTHETIC_2D = "synthetic_2d"
    """Computed from a tomosynthesis volume: C-View, S-View, Insight 2D."""
    BIOPSY = "biopsy"
    """Of a biopsy or localisation: stereo pair, scout, needle, specimen; a part of a breast."""
    CAPTURE = "capture"
    """Of a screen, or marks are burned in, or a Secondary Capture that is no film."""
    OTHER = "other"
    """Projection, slice, subtraction, recombined image, or a term that is not known."""


# Contact views of a thick breast reach about 1.15; magnification stands give 1.5 to 2.0.
LARGEST_CONTACT_MAGNIFICATION = 1.3
# No mammography detector is longer than about 31 cm; film of 24 x 30 cm is scanned with its rim.
LONGEST_DETECTOR_MM = 310.0
LONGEST_FILM_MM = 360.0


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """Everything that routing, the exam rules and the suitability gate need from the header.

    The `*_source` fields name the attribute that the value was taken from ("ViewCodeSequence",
    "PatientOrientation", "SOPClassUID", …), or "" where it was found nowhere. No field holds a
    patient's identity.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    laterality: Laterality | None
    laterality_source: str
    view: View | None
    view_source: str
    modifiers: tuple[str, ...]
    """Code values of the view modifiers, SCT where one exists ("399163009" magnification)."""
    intent: PresentationIntent | None
    intent_source: str
    implant: bool
    implant_displaced: bool
    partial_view: bool | None
    tomosynthesis: bool
    quality_control: bool
    film: bool
    """Secondary Capture of a mammogram: a digitised film, unless `kind` says otherwise."""
    manufacturer: str
    rows: int
    columns: int
    frames: int
    pixel_spacing_mm: tuple[float, float] | None
    """(row, column) spacing at the breast or the detector, mm."""
    acquired_at: str
    """DICOM date and time joined, "YYYYMMDDHHMMSS", or ""."""
    pixel_spacing_source: str = ""
    lossy: bool = False
    """Lossy Image Compression "01", or a transfer syntax that is lossy by its nature."""
    magnification: float = 1.0
    """As stated or by source distances; a contact view has 1.0 to about 1.1."""
    stereo: bool = False
    """An exposure of a biopsy (Image Type STEREO and others): part of a breast."""
    chest_wall_side: str = ""
    """Image border (`left`, `right`, `top`, `bottom`) at which Patient Orientation has the chest
    wall, or ""."""
    hanging_assumed: bool = False
    """An image for presentation that has no Patient Orientation hangs as it should."""
    side_witnesses: tuple[tuple[str, Laterality], ...] = ()
    """All that names a side, and which."""
    view_witnesses: tuple[tuple[str, View], ...] = ()
    """View Code and View Position, and which view they name."""

    intent_contradicts: bool = False
    """Storage class and Presentation Intent Type say two things."""
    kind: ImageKind = ImageKind.STANDARD
    kind_detail: str = ""
    """What told the kind: attributes and coded terms, no free text."""
    image_terms: tuple[str, ...] = ()
    """Terms of Image Type that nobody knows, where nothing else speaks against the image."""

    def kind_is_accepted(self, *, synthetic_2d: bool, image_types: Collection[str]) -> bool:
        """Whether an image of its kind may be judged.

        Args:
            synthetic_2d: views computed from tomosynthesis as well.
            image_types: terms of Image Type that somebody vouches for.
        """
        if self.kind is ImageKind.SYNTHETIC_2D:
            return synthetic_2d
        if self.kind is ImageKind.OTHER:
            return bool(self.image_terms) and not self.unknown_terms(image_types)
        return self.kind is ImageKind.STANDARD

    def unknown_terms(self, image_types: Collection[str]) -> tuple[str, ...]:
        """The terms of Image Type that it is not assessed for, because nobody knows them."""
        if self.kind is not ImageKind.OTHER:
            return ()
        return tuple(term for term in self.image_terms if term not in image_types)

    @property
    def sides_contradict(self) -> bool:
        """Not all that names a side names the same."""
        return len({side for _, side in self.side_witnesses}) > 1

    @property
    def views_contradict(self) -> bool:
        """Code and word name two views."""
        return len({view for _, view in self.view_witnesses}) > 1

    @property
    def larger_than_any_detector(self) -> bool:
        """By its spacing the picture is larger than what could have been exposed."""
        if self.pixel_spacing_mm is None:
            return False
        limit_mm = LONGEST_FILM_MM if self.film else LONGEST_DETECTOR_MM
        down, across = self.pixel_spacing_mm
        return max(self.rows * down, self.columns * across) > limit_mm

    @property
    def magnified(self) -> bool:
        """A magnification view, even where no modifier says so: they begin at about 1.5."""
        return self.magnification > LARGEST_CONTACT_MAGNIFICATION

    @property
    def mammography(self) -> bool:
        """Is this a mammogram at all: an MG storage class, or a digitised film of one?"""
        return self.film or self.sop_class_uid in MAMMOGRAPHY_CLASSES

    @property
    def class_detail(self) -> str:
        """What is wrong with the storage class of what is no mammogram by it."""
        if self.modality.upper() == "MG":
            return "Modality says MG, but the SOP class is not one of a mammogram"
        return "its SOP class is not one of a mammogram"

    @property
    def disqualifying_modifiers(self) -> tuple[str, ...]:
        """The modifiers after which the image is no standard view any more (CID 4015)."""
        return tuple(m for m in self.modifiers if m not in HARMLESS_MODIFIERS)

    @property
    def view_code(self) -> str:
        """`RCC`, `LMLO`, …; `R?`, `?CC` where a part is unknown."""
        return f"{self.laterality or '?'}{self.view or '?'}"
