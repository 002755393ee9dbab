"""A frame -> the DICOM object around its pixels (PS3.3 A.26, A.27: Digital Mammography X-Ray).

The same frame always becomes the same bytes: a firmware that sends it again after a reboot is
told that it is known, not that it contradicts itself. Nothing here looks at a clock.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pydicom.uid import generate_uid

from firmware_bridge.dicom_network.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from firmware_bridge.frame_object.explicit_vr import Elements, encoded, file_beginning
from firmware_bridge.frame_protocol.messages import Intent, Modifier
from runtime.image.header import FOR_PRESENTATION_CLASS, FOR_PROCESSING_CLASS
from runtime.image.view_codes import IMPLANT_DISPLACED, MAGNIFICATION, SPOT_COMPRESSION

if TYPE_CHECKING:
    from firmware_bridge.frame_protocol.messages import ExamOpened, Frame, Hello, Technique

CHARACTER_SET = "ISO_IR 192"  # UTF-8 (PS3.3 C.12.1.1.2), as CBOR text is
# (7FE0,0010) OW, two reserved bytes, 32-bit length (PS3.5 7.1.2).
PIXEL_DATA_HEAD = struct.Struct("<HH2sHI")
if PIXEL_DATA_HEAD.size != 12:
    raise AssertionError("the head of an explicit VR OW element has 12 bytes")

# Behind preamble and prefix stands (0002,0000) UL: eight bytes of head, and its value.
GROUP_LENGTH_VALUE = 128 + 4 + 8

# PS3.16 CID 4014 and 4015, SNOMED CT.
VIEWS = {
    "CC": ("399162004", "cranio-caudal"),
    "MLO": ("399368009", "medio-lateral oblique"),
    "ML": ("399260004", "medio-lateral"),
    "LM": ("399352003", "latero-medial"),
    "XCCL": ("399192008", "cranio-caudal exaggerated laterally"),
}
MODIFIERS = {
    Modifier.IMPLANT_DISPLACED: (IMPLANT_DISPLACED, "Implant Displaced"),
    Modifier.SPOT: (SPOT_COMPRESSION, "Spot Compression"),
    Modifier.MAGNIFICATION: (MAGNIFICATION, "Magnification"),
}
# PS3.3 C.7.6.1.1.1: where rows and columns point when the image is upright and the chest wall
# of a right breast is at the right border.
ROW_DIRECTION = {"R": "P", "L": "A"}
COLUMN_DIRECTION = {
    "CC": {"R": "L", "L": "R"},
    "XCCL": {"R": "L", "L": "R"},
    "MLO": {"R": "FL", "L": "FR"},
    "ML": {"R": "F", "L": "F"},
    "LM": {"R": "F", "L": "F"},
}
INTENTS = {
    Intent.FOR_PRESENTATION: ("FOR PRESENTATION", FOR_PRESENTATION_CLASS),
    Intent.FOR_PROCESSING: ("FOR PROCESSING", FOR_PROCESSING_CLASS),
}
IMAGE_TYPE = ["ORIGINAL", "PRIMARY", ""]


def head_of(frame: Frame, exam: ExamOpened, unit: Hello) -> bytes:
    """The file from its preamble to the head of Pixel Data; the pixels go behind it."""
    image: Elements = {"SpecificCharacterSet": CHARACTER_SET}
    _add_identity(image, frame, exam)
    _add_equipment(image, unit)
    _add_view(image, frame)
    _add_acquisition(image, frame)
    _add_technique(image, frame.technique)
    _add_pixel_description(image, frame)
    _add_display(image, frame)
    beginning = file_beginning(
        sop_class_uid=INTENTS[frame.intent][1],
        sop_instance_uid=frame.sop_instance_uid,
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
    )
    pixel_data = PIXEL_DATA_HEAD.pack(0x7FE0, 0x0010, b"OW", 0, frame.size_bytes)
    return b"".join((beginning, encoded(image), pixel_data))


def data_set_offset_of(head: bytes) -> int:
    """Where the data set begins, behind the file meta information (PS3.10 7.1)."""
    (group_length,) = struct.unpack_from("<I", head, GROUP_LENGTH_VALUE)
    return GROUP_LENGTH_VALUE + 4 + int(group_length)


def _add_identity(image: Elements, frame: Frame, exam: ExamOpened) -> None:
    """Patient, study, series, instance (PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.12.1)."""
    intent, sop_class_uid = INTENTS[frame.intent]
    image["SOPClassUID"] = sop_class_uid
    image["SOPInstanceUID"] = frame.sop_instance_uid
    image["StudyInstanceUID"] = frame.study_instance_uid
    # One series for each intent of an exam, the same at every repetition.
    image["SeriesInstanceUID"] = frame.series_instance_uid or generate_uid(
        entropy_srcs=[frame.study_instance_uid, intent]
    )
    image["PatientName"] = exam.patient_name
    image["PatientID"] = exam.patient_id
    image["PatientBirthDate"] = exam.patient_birth_date
    image["PatientSex"] = exam.patient_sex
    image["AccessionNumber"] = exam.accession_number
    image["StudyID"] = ""
    image["ReferringPhysicianName"] = ""
    image["SeriesNumber"] = None
    image["InstanceNumber"] = frame.instance_number
    image["Modality"] = "MG"
    image["PresentationIntentType"] = intent
    date, time = frame.acquired_at[:8], frame.acquired_at[8:]
    image["StudyDate"], image["StudyTime"] = date, ""
    for event in ("Acquisition", "Content"):
        image[f"{event}Date"] = date
        image[f"{event}Time"] = time


def _add_equipment(image: Elements, unit: Hello) -> None:
    """Which unit (PS3.3 C.7.5.1)."""
    image["Manufacturer"] = unit.manufacturer
    if unit.model:
        image["ManufacturerModelName"] = unit.model
    image["DeviceSerialNumber"] = unit.serial
    if unit.software:
        image["SoftwareVersions"] = unit.software


def _add_view(image: Elements, frame: Frame) -> None:
    """Which breast from where (PS3.3 C.8.11.2 DX Anatomy Imaged, C.8.11.7 Mammography Image)."""
    side, view = frame.laterality.value, frame.view.value
    image["ImageLaterality"] = side
    image["PatientOrientation"] = [ROW_DIRECTION[side], COLUMN_DIRECTION[view][side]]
    image["ViewPosition"] = view
    item = _code(*VIEWS[view])
    item["ViewModifierCodeSequence"] = [_code(*MODIFIERS[word]) for word in frame.modifiers]
    image["ViewCodeSequence"] = [item]
    image["AnatomicRegionSequence"] = [_code("76752008", "Breast")]
    image["OrganExposed"] = "BREAST"
    image["BodyPartExamined"] = "BREAST"
    image["BreastImplantPresent"] = "YES" if frame.implant else "NO"
    image["PartialView"] = "YES" if frame.partial_view else "NO"
    if frame.partial_view:
        # PS3.3 C.8.11.7: required if YES; the firmware does not say which part: an empty
        # description is not allowed, a general one is.
        image["PartialViewDescription"] = "partial view, as the unit reported it"


def _add_acquisition(image: Elements, frame: Frame) -> None:
    """Detector and positioner (PS3.3 C.8.11.4, C.8.11.7), acquisition context (C.7.6.14)."""
    image["PositionerType"] = "MAMMOGRAPHIC"
    image["DetectorType"] = "DIRECT"
    image["ImagerPixelSpacing"] = [_decimal(mm) for mm in frame.pixel_spacing_mm]
    if frame.magnification_factor is not None:
        image["EstimatedRadiographicMagnificationFactor"] = _decimal(frame.magnification_factor)
    image["AcquisitionContextSequence"] = []


def _add_technique(image: Elements, technique: Technique) -> None:
    """X-ray technique (PS3.3 C.8.7.8, C.8.11.7): kV, mAs, millimetres, newton."""
    decimals = {
        "KVP": technique.kvp,
        "BodyPartThickness": technique.thickness_mm,
        "CompressionForce": technique.force_n,
    }
    for keyword, value in decimals.items():
        if value is not None:
            image[keyword] = _decimal(value)
    if technique.mas is not None:
        image["Exposure"] = round(technique.mas)
        image["ExposureInuAs"] = round(technique.mas * 1000)
    if technique.target is not None:
        image["AnodeTargetMaterial"] = technique.target.strip()
    if technique.filter is not None:
        image["FilterMaterial"] = technique.filter.strip()


def _add_pixel_description(image: Elements, frame: Frame) -> None:
    """What the bytes behind the head are (PS3.3 C.7.6.3)."""
    image["SamplesPerPixel"] = 1
    image["PhotometricInterpretation"] = "MONOCHROME1" if frame.monochrome1 else "MONOCHROME2"
    image["Rows"], image["Columns"] = frame.rows, frame.columns
    image["BitsAllocated"] = 16
    image["BitsStored"], image["HighBit"] = frame.bits_stored, frame.bits_stored - 1
    image["PixelRepresentation"] = 0


def _add_display(image: Elements, frame: Frame) -> None:
    """Meaning of pixel values (PS3.3 C.8.11.3) and window (C.11.2)."""
    image["ImageType"] = list(IMAGE_TYPE)
    image["PixelIntensityRelationship"] = "LOG" if frame.window is not None else "LIN"
    # C.8.11.3.1.2: 1 where more X-rays make larger values, which show bright in MONOCHROME2.
    image["PixelIntensityRelationshipSign"] = -1 if frame.window is not None else 1
    image |= {"RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "US"}
    # C.8.11.3.1.1: INVERSE goes with MONOCHROME1, IDENTITY with MONOCHROME2.
    image["PresentationLUTShape"] = "INVERSE" if frame.monochrome1 else "IDENTITY"
    image["LossyImageCompression"] = "00"
    image["BurnedInAnnotation"] = "NO"
    image["QualityControlImage"] = "YES" if frame.quality_control else "NO"
    if frame.window is not None:
        image["WindowCenter"] = _decimal(frame.window.center)
        image["WindowWidth"] = _decimal(frame.window.width)


def _decimal(value: float) -> str:
    """A Decimal String: at most 16 characters (PS3.5 6.2)."""
    return f"{value:.8g}"


def _code(value: str, meaning: str) -> Elements:
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}
