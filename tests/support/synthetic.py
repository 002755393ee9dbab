"""Synthetic mammograms as DICOM: valid MG objects with a plausible breast, and every deviation.

No patient was imaged: tissue is half an ellipse of textured noise on a dark ground. Everything is
drawn from a seed, UIDs too, so that a failing test can be repeated.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import cv2
import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)

from firmware_bridge.simulated_exams.recoding import encoded

if TYPE_CHECKING:
    from collections.abc import Sequence as Items
    from pathlib import Path

    from numpy.typing import NDArray

FOR_PRESENTATION_CLASS = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.2.1"
TOMOSYNTHESIS_CLASS = "1.2.840.10008.5.1.4.1.1.13.1.3"
SECONDARY_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"

NATIVE_SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
LOSSLESS_SYNTAXES = (
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    RLELossless,
)
LOSSY_SYNTAXES = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)

# PS3.16 CID 4014 and CID 4015, SNOMED CT.
VIEW_CODES = {
    "CC": "399162004",
    "MLO": "399368009",
    "ML": "399260004",
    "LM": "399352003",
    "XCCL": "399192008",
}
MODIFIER_CODES = {
    "implant_displaced": "399209000",
    "spot": "399055006",
    "magnification": "399163009",
}
# PS3.3 C.8.11.7.1.4: first row direction, then column direction, by laterality and view.
ORIENTATIONS = {
    ("R", "CC"): ["P", "L"],
    ("L", "CC"): ["A", "R"],
    ("R", "MLO"): ["P", "FL"],
    ("L", "MLO"): ["A", "FR"],
}


def breast_pixels(
    *,
    rows: int = 1024,
    columns: int = 832,
    bits_stored: int = 12,
    laterality: str = "L",
    view: str = "CC",
    seed: int = 0,
) -> NDArray[np.uint16]:
    """A breast of `rows` x `columns`, values 0 to 2**bits_stored-1, bright tissue on dark ground.

    A left breast has its chest wall at the left border, a right breast at the right one.
    """
    draw = np.random.default_rng(seed)
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, columns, dtype=np.float32)[None, :]
    height, reach = draw.uniform(0.68, 0.82), draw.uniform(0.62, 0.8)
    centre = draw.uniform(-0.05, 0.05) + (0.08 if view == "MLO" else 0.0)
    radius = ((y - centre) / height) ** 2 + (x / reach) ** 2
    depth = np.clip(1 - radius, 0, 1)
    tissue = depth > 0

    texture = np.zeros((rows, columns), np.float32)
    for cells, weight in ((6, 0.5), (18, 0.3), (60, 0.2), (200, 0.1)):
        small = draw.normal(size=(cells, max(2, cells * columns // rows))).astype(np.float32)
        texture += weight * cv2.resize(small, (columns, rows), interpolation=cv2.INTER_CUBIC)
    glandular = np.clip(1.4 - radius * 1.2, 0, 1)
    value = np.minimum(depth * 6, 1) * (0.42 + 0.10 * glandular + 0.13 * glandular * texture)
    if view == "MLO":
        muscle = (x * 1.9 + (y + 1) * 0.75) < draw.uniform(0.6, 0.75)
        value = np.where(muscle & tissue, value + 0.16, value)
    value = np.where(tissue, np.maximum(value, 0.06), 0.015)
    value += draw.normal(scale=0.004, size=value.shape).astype(np.float32)
    top = 2**bits_stored - 1
    pixels = np.round(np.clip(value, 0, 1) * top).astype(np.uint16)
    return pixels[:, ::-1].copy() if laterality == "R" else pixels


def code(value: str, meaning: str = "a meaning", scheme: str = "SCT") -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def mammogram_dataset(
    *,
    rows: int = 1024,
    columns: int = 832,
    laterality: str = "L",
    view: str = "CC",
    intent: str | None = "FOR PRESENTATION",
    bits_stored: int = 12,
    bits_allocated: int | None = None,
    signed: bool = False,
    monochrome1: bool = False,
    window: tuple[object, object] | None = (2048, 4096),
    window_function: str | None = None,
    manufacturer: str = "SYNTHETIC",
    pixel_spacing_mm: float | None = 0.1,
    magnification: float | None = None,
    implant: bool = False,
    modifiers: Items[str] = (),
    partial: bool | None = False,
    tomosynthesis: bool = False,
    quality_control: bool = False,
    film: bool = False,
    pixels: NDArray[np.generic] | None = None,
    study_uid: str | None = None,
    sop_uid: str | None = None,
    acquired_at: str = "20260102030405",
    seed: int = 0,
) -> Dataset:
    """A valid mammogram with its pixels native, little endian; each option is one deviation.

    Args:
        rows: height of the drawn breast, or of `pixels` if these are given.
        columns: width, likewise.
        laterality: "R" or "L".
        view: a key of `VIEW_CODES`, or any other word (then without a code sequence).
        intent: Presentation Intent Type; chooses the SOP class; None leaves the attribute out.
        bits_stored: 8, 10, 12, 14 or 16.
        bits_allocated: 8 or 16; the smallest that holds `bits_stored` if None.
        signed: two's complement, shifted down by half the range.
        monochrome1: the values are inverted, so that the picture stays the same.
        window: centre and width, written as they are given; None leaves both out.
        window_function: VOI LUT Function.
        manufacturer: Manufacturer; "" leaves it empty.
        pixel_spacing_mm: Imager Pixel Spacing; None leaves it out.
        magnification: Estimated Radiographic Magnification Factor.
        implant: Breast Implant Present.
        modifiers: keys of `MODIFIER_CODES`, or SCT code values.
        partial: Partial View; None leaves it out.
        tomosynthesis: Breast Tomosynthesis SOP class with two frames.
        quality_control: Quality Control Image.
        film: Secondary Capture with Modality MG and the view in Patient Orientation.
        pixels: instead of the drawn breast; 2-D.
        study_uid: Study Instance UID, else drawn from the seed.
        sop_uid: SOP Instance UID, else drawn from all of the above.
        acquired_at: acquisition date and time.
        seed: of the breast and the UIDs.
    """
    allocated = bits_allocated or (8 if bits_stored == 8 else 16)
    if pixels is None:
        pixels = breast_pixels(
            rows=rows,
            columns=columns,
            bits_stored=bits_stored,
            laterality=laterality,
            view=view,
            seed=seed,
        )
    stored = np.asarray(pixels).astype(np.int64)
    if monochrome1:
        stored = 2**bits_stored - 1 - stored
    if signed:
        stored = stored - 2 ** (bits_stored - 1)

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = _sop_class(intent, tomosynthesis=tomosynthesis, film=film)
    ds.StudyInstanceUID = study_uid or generate_uid(entropy_srcs=["study", str(seed)])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(seed)])
    ds.SOPInstanceUID = sop_uid or generate_uid(
        entropy_srcs=[laterality, view, str(intent), str(seed), str(stored.shape)]
    )
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.Modality = "MG"
    ds.Manufacturer = manufacturer
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.BodyPartExamined = "BREAST"
    ds.AcquisitionDate, ds.AcquisitionTime = acquired_at[:8], acquired_at[8:]
    ds.PatientID = "SYNTHETIC"
    ds.PatientName = "Synthetic^Breast"
    _add_view(ds, laterality=laterality, view=view, modifiers=modifiers, film=film)
    if not film:
        if intent is not None:
            ds.PresentationIntentType = intent
        ds.BreastImplantPresent = "YES" if implant else "NO"
        ds.QualityControlImage = "YES" if quality_control else "NO"
        if partial is not None:
            ds.PartialView = "YES" if partial else "NO"
        if pixel_spacing_mm is not None:
            ds.ImagerPixelSpacing = [pixel_spacing_mm, pixel_spacing_mm]
        if magnification is not None:
            ds.EstimatedRadiographicMagnificationFactor = magnification
    if window is not None:
        ds.WindowCenter, ds.WindowWidth = window
    if window_function is not None:
        ds.VOILUTFunction = window_function

    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    ds.PresentationLUTShape = "INVERSE" if monochrome1 else "IDENTITY"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(signed)
    ds.LossyImageCompression = "00"
    frame = stored.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes()
    if tomosynthesis:
        ds.NumberOfFrames = 2
        frame *= 2
    ds.PixelData = frame + b"\0" * (len(frame) % 2)
    ds["PixelData"].VR = "OW" if allocated > 8 else "OB"
    return ds


def _sop_class(intent: str | None, *, tomosynthesis: bool, film: bool) -> str:
    if tomosynthesis:
        return TOMOSYNTHESIS_CLASS
    if film:
        return SECONDARY_CAPTURE_CLASS
    return FOR_PROCESSING_CLASS if intent == "FOR PROCESSING" else FOR_PRESENTATION_CLASS


def _add_view(
    ds: Dataset, *, laterality: str, view: str, modifiers: Items[str], film: bool
) -> None:
    """Where a unit puts view and side, or (film) where a digitised film has them."""
    if film:
        ds.Laterality = laterality
        ds.PatientOrientation = view
        ds.ConversionType = "WSD"
        return
    ds.ImageLaterality = laterality
    ds.ViewPosition = view
    ds.PatientOrientation = ORIENTATIONS.get(
        (laterality, view), ["P", "L"] if laterality == "R" else ["A", "R"]
    )
    if view in VIEW_CODES:
        item = code(VIEW_CODES[view], view)
        item.ViewModifierCodeSequence = Sequence(
            code(MODIFIER_CODES.get(name, name), "modifier") for name in modifiers
        )
        ds.ViewCodeSequence = Sequence([item])


def write(ds: Dataset, path: Path, *, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    """Writes a dataset of `mammogram_dataset` as a DICOM file, recoded to `transfer_syntax`.

    Any native, lossless or lossy syntax of the tuples above; the dataset itself stays as it is.
    """
    out = copy.deepcopy(ds)
    out.file_meta.TransferSyntaxUID = transfer_syntax
    if transfer_syntax in (*LOSSLESS_SYNTAXES, *LOSSY_SYNTAXES):
        frames = [encode(frame, ds, transfer_syntax) for frame in _frames(ds)]
        out.PixelData = encapsulate([f + b"\0" * (len(f) % 2) for f in frames])
        out["PixelData"].VR = "OB"
        if transfer_syntax in LOSSY_SYNTAXES:
            out.LossyImageCompression = "01"
    elif transfer_syntax == ExplicitVRBigEndian and ds.BitsAllocated == 16:
        out.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
        out["PixelData"].VR = "OW"
    out.save_as(path, enforce_file_format=True)
    return path


def _frames(ds: Dataset) -> list[NDArray[np.generic]]:
    kind = f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}"
    values = np.frombuffer(
        ds.PixelData, kind, count=int(ds.get("NumberOfFrames", 1) or 1) * ds.Rows * ds.Columns
    )
    return list(values.reshape(-1, ds.Rows, ds.Columns))


def encode(frame: NDArray[np.generic], ds: Dataset, transfer_syntax: str) -> bytes:
    """One frame as a codestream of `transfer_syntax`."""
    bits = int(ds.BitsStored)
    # Codecs of the JPEG family get the stored bits as unsigned numbers.
    plain = np.ascontiguousarray(frame.view(f"u{frame.dtype.itemsize}") & (2**bits - 1))
    if transfer_syntax == RLELossless:
        return rle(frame)  # ours, where the project takes pydicom's: each holds the other to PS3.5
    return encoded(plain, bits, transfer_syntax)


def rle(frame: NDArray[np.generic]) -> bytes:
    """PS3.5 annex G: one segment for each byte of a pixel, the highest first, row by row."""
    bytewise = np.ascontiguousarray(frame).view(np.uint8).reshape(*frame.shape, -1)
    segments = []
    for index in reversed(range(bytewise.shape[2])):
        packed = b"".join(
            imagecodecs.packbits_encode(row.tobytes()) for row in bytewise[..., index]
        )
        segments.append(packed + b"\0" * (len(packed) % 2))
    offsets = np.cumsum([64, *(len(segment) for segment in segments[:-1])])
    header = np.zeros(16, "<u4")
    header[0], header[1 : 1 + len(segments)] = len(segments), offsets
    return header.tobytes() + b"".join(segments)
