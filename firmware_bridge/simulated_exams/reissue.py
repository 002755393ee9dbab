"""Single film images -> one mammography exam, as an acquisition workstation would issue it.

The public film collections keep each image as a study of its own: Secondary Capture, one patient
for each image, view in Patient Orientation, no pixel spacing. Here four of them become one exam of
the Digital Mammography X-Ray Image IOD (PS3.3 A.27) with new UIDs and an invented patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from firmware_bridge.dicom_network.transfer_syntaxes import DIGITAL_MAMMOGRAPHY_FOR_PRESENTATION
from models.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

# The CBIS-DDSM scanners sampled at 42 to 50 micrometres (Lee et al. 2017, table 2); the files do
# not say which, so that 0.05 mm is an assumption.
FILM_SPACING_MM = 0.05

# PS3.16 CID 4014, SNOMED CT.
_VIEW_CODES = {
    "CC": ("399162004", "cranio-caudal"),
    "MLO": ("399368009", "medio-lateral oblique"),
}
_LATERALITY_CODES = {"R": ("24028007", "Right"), "L": ("7771000", "Left")}
# PS3.3 C.7.6.1.1.1: where the rows and the columns point, by side and view.
_ORIENTATIONS = {
    ("R", "CC"): ["P", "L"],
    ("L", "CC"): ["A", "R"],
    ("R", "MLO"): ["P", "FL"],
    ("L", "MLO"): ["A", "FR"],
}
_PIXEL_ATTRIBUTES = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)


class NotReissuableError(OperatorError, ValueError):
    """The source lacks what an exam needs. Carries which attribute."""

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute
        super().__init__(f"cannot be re-issued: {attribute}")


@dataclass(frozen=True, kw_only=True)
class ReissuedIdentity:
    """What the images of one exam have in common."""

    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    acquired_at: datetime


@dataclass(frozen=True, kw_only=True)
class ReissuedExam:
    """An exam on disk: its files by view code (`RCC`, `LMLO`, …)."""

    identity: ReissuedIdentity
    files: Mapping[str, Path]


def reissue(
    sources: Iterable[Path],
    folder: Path,
    *,
    patient_id: str,
    acquired_at: datetime,
    new_uid: Callable[[], str],
    transfer_syntax_uid: str | None = None,
) -> ReissuedExam:
    """Writes the images as one exam into `folder`.

    Args:
        sources: film images with side in Laterality and view in Patient Orientation.
        folder: must be there; files are named by view.
        patient_id: of the invented patient.
        acquired_at: date and time of the exam.
        new_uid: makes a new UID at each call.
        transfer_syntax_uid: what the pixels are recoded to; None leaves their bytes as they are.

    Raises:
        NotReissuableError: a source has no side, no view, or no single monochrome frame.
    """
    identity = ReissuedIdentity(
        study_instance_uid=new_uid(),
        series_instance_uid=new_uid(),
        patient_id=patient_id,
        acquired_at=acquired_at,
    )
    files: dict[str, Path] = {}
    for number, source in enumerate(sources, start=1):
        film = dcmread(source)
        image = reissued(film, identity, sop_instance_uid=new_uid(), instance_number=number)
        if transfer_syntax_uid is not None:
            from firmware_bridge.simulated_exams.recoding import recode

            recode(image, film.pixel_array, transfer_syntax_uid)
        view_code = f"{image.ImageLaterality}{image.ViewPosition}"
        files[view_code] = folder / f"{view_code}-{number}.dcm"
        image.save_as(files[view_code], enforce_file_format=True)
    return ReissuedExam(identity=identity, files=files)


def reissued(
    film: Dataset, identity: ReissuedIdentity, *, sop_instance_uid: str, instance_number: int
) -> Dataset:
    """One image of the exam. Nothing of the source is kept but its pixels, side and view.

    Raises:
        NotReissuableError: see `reissue`.
    """
    side, view = str(film.get("Laterality", "")), str(film.get("PatientOrientation", ""))
    if (side, view) not in _ORIENTATIONS:
        raise NotReissuableError("Laterality and PatientOrientation")
    if film.get("SamplesPerPixel") != 1 or int(film.get("NumberOfFrames") or 1) != 1:
        raise NotReissuableError("SamplesPerPixel, NumberOfFrames")
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = film.file_meta.TransferSyntaxUID
    image.SOPClassUID = DIGITAL_MAMMOGRAPHY_FOR_PRESENTATION
    image.SOPInstanceUID = sop_instance_uid
    image.InstanceNumber = instance_number
    _add_exam(image, identity)
    _add_view(image, side, view)
    _add_acquisition(image)
    _add_display(image, film)
    for keyword in _PIXEL_ATTRIBUTES:
        if keyword not in film:
            raise NotReissuableError(keyword)
        image[keyword] = film[keyword]
    return image


def _add_exam(image: Dataset, identity: ReissuedIdentity) -> None:
    """Patient, study, series, equipment (PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1)."""
    date = identity.acquired_at.strftime("%Y%m%d")
    time = identity.acquired_at.strftime("%H%M%S.%f")
    image.PatientName = "Demonstration^Nobody"
    image.PatientID = identity.patient_id
    image.PatientBirthDate = ""
    image.PatientSex = "F"
    image.StudyInstanceUID = identity.study_instance_uid
    image.StudyID = "1"
    image.AccessionNumber = ""
    image.ReferringPhysicianName = ""
    image.SeriesInstanceUID = identity.series_instance_uid
    image.SeriesNumber = 1
    image.Modality = "MG"
    image.Manufacturer = "mammoedge"
    image.ManufacturerModelName = "re-issued film"
    for event in ("Study", "Series", "Acquisition", "Content"):
        setattr(image, f"{event}Date", date)
        setattr(image, f"{event}Time", time)


def _add_view(image: Dataset, side: str, view: str) -> None:
    """Which breast from where (PS3.3 C.8.11.2 DX Anatomy Imaged, C.8.11.7 Mammography Image)."""
    image.ImageLaterality = side
    image.PatientOrientation = _ORIENTATIONS[side, view]
    image.ViewPosition = view
    view_item = code_item(*_VIEW_CODES[view])
    view_item.ViewModifierCodeSequence = Sequence()
    image.ViewCodeSequence = Sequence([view_item])
    image.AnatomicRegionSequence = Sequence([code_item("76752008", "Breast")])
    image.OrganExposed = "BREAST"
    image.BodyPartExamined = "BREAST"
    image.BreastImplantPresent = "NO"
    image.PartialView = "NO"


def _add_acquisition(image: Dataset) -> None:
    """How it was taken (PS3.3 C.8.11.4 DX Detector, C.8.11.7 Mammography Image, C.7.6.14)."""
    image.PositionerType = "MAMMOGRAPHIC"
    image.DetectorType = "FILM"
    image.ImagerPixelSpacing = [FILM_SPACING_MM, FILM_SPACING_MM]
    image.ImageComments = "re-issued public film scan; pixel spacing assumed; not for care"
    image.AcquisitionContextSequence = Sequence()


def _add_display(image: Dataset, film: Dataset) -> None:
    """Presentation intent, window, meaning of pixel values (PS3.3 C.8.11.1, C.8.11.3, C.11.2)."""
    image.PresentationIntentType = "FOR PRESENTATION"
    image.ImageType = ["ORIGINAL", "PRIMARY", ""]
    # The collection maps optical density so that dense tissue is bright: logarithmic in exposure.
    image.PixelIntensityRelationship = "LOG"
    image.PixelIntensityRelationshipSign = -1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "0", "1", "US"
    inverse = film.get("PhotometricInterpretation") == "MONOCHROME1"
    image.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    image.LossyImageCompression = str(film.get("LossyImageCompression", "00"))
    image.BurnedInAnnotation = "YES"  # film markers
    image.QualityControlImage = "NO"
    values = 2 ** int(film.BitsStored)
    image.WindowCenter, image.WindowWidth = values // 2, values


def code_item(value: str, meaning: str) -> Dataset:
    """One item of a code sequence, SNOMED CT."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "SCT"
    item.CodeMeaning = meaning
    return item
