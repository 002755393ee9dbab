"""Inputs as public reports and the standard have them: one row each, and what becomes of it.

Each row changes one drawn view, so that its picture either stays the same (`DRAWN`: the model's
input is that of the plain file) or must not be judged in silence. Kinds that have a table of their
own are here with their best known cases only: tests/runtime/dicom_header, tests/runtime/pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from models.package import load_package
from runtime.cli.init import reference_package
from runtime.image.outcome import NotAssessed
from runtime.image.prediction import Prediction
from runtime.worker.pipeline import Pipeline
from tests.support.builders import EXECUTION, MODEL
from tests.support.synthetic import VIEW_CODES, code, mammogram_dataset, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[Dataset], object]

DRAWN = "as drawn"
JUDGED = "judged"
"""With another picture or another size, and so with one of the remarks of its row."""
SIZE = {"rows": 640, "columns": 520, "pixel_spacing_mm": 0.2}
TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
PROJECTION = "1.2.840.10008.5.1.4.1.1.13.1.4"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
RAMP = np.arange(4096)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Header facts, who reported or asks for them, and the outcome."""

    change: Change
    source: str
    expected: str = DRAWN
    remarks: tuple[str, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    syntax: str = ExplicitVRLittleEndian


class InputAsScore:
    """An engine that scores by its input, so that equal scores are equal pictures."""

    execution = EXECUTION

    def __init__(self, scores) -> None:
        self._scores = scores

    def infer(self, tensors):
        (tensor,) = tensors.values()
        values = tensor.astype(np.float64).ravel()
        told = float(np.abs(np.sin(np.arange(values.size) % 997) * values).mean() % 1)
        return Prediction(scores=dict.fromkeys(self._scores, told), execution=EXECUTION)


@pytest.fixture(scope="module")
def pipeline():
    manifest = load_package(reference_package(), allow_unsigned=True).manifest
    engine = InputAsScore([output.score for output in manifest.outputs])
    return Pipeline(manifest=manifest, model=MODEL, engine=engine, max_pixels=1 << 22)


def view(**options) -> Dataset:
    return mammogram_dataset(**{**SIZE, "seed": 3, **options})


def stored(ds: Dataset) -> np.ndarray:
    kind = f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}"
    return np.frombuffer(ds.PixelData, kind).reshape(ds.Rows, ds.Columns)


def pixels(ds: Dataset, values: np.ndarray) -> None:
    ds.Rows, ds.Columns = values.shape
    ds.PixelData = np.ascontiguousarray(values).tobytes()


def to(**facts: object) -> Change:
    """Attributes set, or left out (None)."""

    def change(ds: Dataset) -> None:
        for keyword, value in facts.items():
            if value is None:
                if keyword in ds:
                    del ds[keyword]
            else:
                setattr(ds, keyword, value)
            if keyword == "SOPClassUID":
                ds.file_meta.MediaStorageSOPClassUID = value

    return change


def both(*changes: Change) -> Change:
    def change(ds: Dataset) -> None:
        for one in changes:
            one(ds)

    return change


NO_VIEW = to(ViewCodeSequence=None, ViewPosition=None)


def item(**facts: object) -> Sequence:
    """A sequence of one item."""
    ds = Dataset()
    to(**facts)(ds)
    return Sequence([ds])


def coded(value: str, keyword: str = "CodeValue") -> Sequence:
    found = code(value)
    if keyword != "CodeValue":
        del found.CodeValue
        setattr(found, keyword, value)
    return Sequence([found])


def modifier(value: str, keyword: str = "CodeValue", *, beside: bool = False) -> Change:
    def change(ds: Dataset) -> None:
        place = ds if beside else ds.ViewCodeSequence[0]
        place.ViewModifierCodeSequence = coded(value, keyword)

    return change


def lut(entries, bits, *, count=None, keyword="VOILUTSequence", window=False) -> Change:
    def change(ds: Dataset) -> None:
        table = Dataset()
        table.add_new("LUTDescriptor", "US", [(count or len(entries)) & 0xFFFF, 0, bits])
        table.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
        setattr(ds, keyword, Sequence([table]))
        if not window:
            to(WindowCenter=None, WindowWidth=None)(ds)

    return change


def turned(axis: int) -> Change:
    return lambda ds: pixels(ds, np.flip(stored(ds), axis))


def groups(place: str, **more: object) -> Change:
    """Side, spacing, orientation, window and rescale in functional groups, nothing at the top."""
    rescale = {"RescaleSlope": 1, "RescaleIntercept": 0, **more}

    def change(ds: Dataset) -> None:
        absent = ("ImageLaterality", "ImagerPixelSpacing", "PatientOrientation", "WindowCenter")
        to(SOPClassUID=PROJECTION, WindowWidth=None, **dict.fromkeys(absent))(ds)
        group = item(
            FrameAnatomySequence=item(FrameLaterality="L"),
            PixelMeasuresSequence=item(PixelSpacing=[0.2, 0.2]),
            PatientOrientationInFrameSequence=item(PatientOrientation=["A", "R"]),
            FrameVOILUTSequence=item(WindowCenter=2048, WindowWidth=4096),
            PixelValueTransformationSequence=item(**rescale),
        )
        setattr(ds, place, group)

    return change


def stream(encode: Callable[[np.ndarray], bytes], syntax: str) -> Change:
    """Pixel Data as a codestream of somebody's own encoder."""

    def change(ds: Dataset) -> None:
        frame = encode(stored(ds))
        ds.file_meta.TransferSyntaxUID = UID(syntax)
        ds.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
        ds["PixelData"].VR = "OB"

    return change


def j2k(bits: int) -> Callable[[np.ndarray], bytes]:
    return lambda values: bytes(
        imagecodecs.jpeg2k_encode(
            values, level=0, reversible=True, codecformat="j2k", bitspersample=bits
        )
    )


def shifted(values: np.ndarray) -> np.ndarray:
    """Signed words as unsigned numbers."""
    return (values.astype(int) + 2048).astype(np.uint16)


# --- the rows ------------------------------------------------------------------------------------

IMAGE_TYPE = "PS3.3 C.8.11.7.1.4; design: image types"
POLARITY = "PS3.3 C.7.6.3.1.2, C.11.1; Weasis 372, 620; pydicom 1265"
VOI = "PS3.3 C.11.2.1.1; dicom-rs PR 825, cornerstone PR 79, OHIF 818"
WINDOW = "PS3.3 C.11.2.1.2; OHIF 5057, 818"
STREAM = "PS3.5 8.2; pydicom 1149, 2009; dcm4che 512"
SIDE = "OHIF PR 4353, mritopng 27"
WORDS = "Weasis 203, OHIF 4080"
FORMS = "PS3.3 8.1, 8.2"
SPACING = "PS3.3 10.7.1.3; cornerstone3D 2387, OHIF 1490"
CAPTURES = "MONAI deploy 498, rse-panimg 126"
GROUPS = "PS3.3 C.7.6.16; dcmjs-dimse 81"


def of_type(*words: str) -> Change:
    return to(ImageType=list(words))


KINDS = {
    "for presentation": Row(change=of_type("DERIVED", "PRIMARY"), source=IMAGE_TYPE),
    "derived secondary": Row(change=of_type("DERIVED", "SECONDARY"), source=IMAGE_TYPE),
    "low energy, value 4": Row(
        change=of_type("ORIGINAL", "PRIMARY", "", "LOW_ENERGY"), source=IMAGE_TYPE
    ),
    "figures from value 6 on": Row(
        change=of_type("ORIGINAL", "PRIMARY", "", "", "", "", "", "150000"), source=IMAGE_TYPE
    ),
    "C-View": Row(
        change=of_type("DERIVED", "PRIMARY", "TOMO", "GENERATED_2D"),
        source=IMAGE_TYPE,
        expected="synthetic_2d",
    ),
    "S-View by its description": Row(
        change=both(of_type("DERIVED", "PRIMARY"), to(SeriesDescription="L CC S-View")),
        source="Fuji; medcognetics/dicom-utils",
        expected="synthetic_2d",
    ),
    "projection": Row(
        change=of_type("DERIVED", "PRIMARY", "TOMO_PROJ", "RIGHT"),
        source=IMAGE_TYPE,
        expected="unsupported_image_type",
    ),
    "slice sent as MG": Row(
        change=of_type("DERIVED", "PRIMARY", "TOMOSYNTHESIS", "NONE"),
        source=IMAGE_TYPE,
        expected="unsupported_image_type",
    ),
    "recombined": Row(
        change=of_type("DERIVED", "PRIMARY", "RECOMBINED"),
        source="contrast of GE",
        expected="unsupported_image_type",
    ),
    "subtraction": Row(
        change=of_type("DERIVED", "PRIMARY", "POST_CONTRAST", "SUBTRACTION"),
        source=IMAGE_TYPE,
        expected="unsupported_image_type",
    ),
    "stereo scout": Row(
        change=of_type("ORIGINAL", "PRIMARY", "STEREO_SCOUT"),
        source=IMAGE_TYPE,
        expected="unsupported_modifier",
    ),
    "a term of tomorrow": Row(
        change=of_type("ORIGINAL", "PRIMARY", "PHOTON_COUNTED"),
        source="nobody knows it",
        expected="unsupported_image_type",
    ),
    "burned in": Row(
        change=to(BurnedInAnnotation="YES"), source=CAPTURES, expected="screen_capture"
    ),
    "capture of a workstation": Row(
        change=to(SOPClassUID=SECONDARY_CAPTURE, ConversionType="SYN"),
        source=CAPTURES,
        expected="screen_capture",
    ),
    "projection as Secondary Capture": Row(
        change=both(
            to(SOPClassUID=SECONDARY_CAPTURE, ConversionType="WSD", PresentationIntentType=None),
            of_type("DERIVED", "PRIMARY", "TOMO", "LEFT"),
        ),
        source="ClearCanvas 243, OpenREM 86",
        expected="unsupported_image_type",
    ),
    "MG as CR": Row(change=to(SOPClassUID=CR), source="OHIF 3521", expected="not_mammography"),
    "MG as DX": Row(change=to(SOPClassUID=DX), source="OHIF 3521", expected="not_mammography"),
    "class against intent": Row(
        change=to(SOPClassUID="1.2.840.10008.5.1.4.1.1.1.2.1"),
        source="PS3.3 A.26; nyukat 17",
        expected="for_processing",
    ),
}
PICTURES = {
    "shape contradicts": Row(
        change=to(PresentationLUTShape="INVERSE"),
        source=POLARITY,
        remarks=("polarity_contradicts",),
    ),
    "MONOCHROME1": Row(change=to(), source=POLARITY, options={"monochrome1": True}),
    "negative": Row(
        change=to(PhotometricInterpretation="MONOCHROME2", PresentationLUTShape="IDENTITY"),
        source=POLARITY,
        expected="display_implausible",
        options={"monochrome1": True},
    ),
    "falling table": Row(
        change=lut(RAMP[::-1], 12), source="Daikon 35", expected="display_implausible"
    ),
    "falling table beside a window": Row(
        change=lut(RAMP[::-1], 12, window=True), source="Daikon 35", expected="display_implausible"
    ),
    "negative stored, falling table": Row(
        change=both(
            to(PhotometricInterpretation="MONOCHROME2", PresentationLUTShape="IDENTITY"),
            lut(RAMP[::-1], 12),
        ),
        source="Weasis 372",
        options={"monochrome1": True},
    ),
    "slope -1": Row(
        change=to(RescaleSlope=-1, RescaleIntercept=4095),
        source="cornerstone3D PR 2215",
        expected="display_implausible",
    ),
    "slope 0": Row(
        change=to(RescaleSlope=0, RescaleIntercept=0),
        source="PS3.3 C.11.1",
        remarks=("modality_lut_unusable",),
    ),
    "Modality LUT of ten entries": Row(
        change=lut(RAMP[:10], 12, count=4096, keyword="ModalityLUTSequence", window=True),
        source="PS3.3 C.11.1",
        remarks=("modality_lut_unusable",),
    ),
    "table of 16 bits": Row(change=lut(np.rint(RAMP * 65535 / 4095), 16), source=VOI),
    "16 bits said, 12 used": Row(change=lut(RAMP, 16), source=VOI, remarks=("voi_lut_bits",)),
    "16 bits said, 10 used": Row(
        change=lut(RAMP >> 2, 16), source=VOI, expected=JUDGED, remarks=("voi_lut_bits",)
    ),
    "table too short": Row(
        change=lut(RAMP[:4000], 12, count=4096, window=True),
        source=VOI,
        remarks=("voi_lut_unusable",),
    ),
    "table of black": Row(
        change=lut(RAMP // 4095 * 4095, 12, window=True),
        source=VOI,
        remarks=("voi_lut_unusable",),
    ),
    "one entry too long": Row(change=lut([*RAMP, 4095], 12, count=4096), source="OHIF 818"),
    "no window": Row(
        change=to(WindowCenter=None), source=WINDOW, expected=JUDGED, remarks=("window_missing",)
    ),
    "black window": Row(
        change=to(WindowCenter=4090, WindowWidth=20),
        source=WINDOW,
        expected=JUDGED,
        remarks=("window_absurd",),
    ),
    "white window": Row(
        change=to(WindowCenter=10, WindowWidth=20),
        source=WINDOW,
        expected=JUDGED,
        remarks=("window_absurd",),
    ),
    "unknown function": Row(
        change=to(VOILUTFunction="SIGMOIDAL"), source=WINDOW, remarks=("voi_function_unknown",)
    ),
    "14 of 16 bits, no window": Row(
        change=both(
            to(BitsStored=16, HighBit=15, WindowCenter=None),
            lambda ds: pixels(ds, np.clip(stored(ds) * 7.0, 0, 16383).astype("<u2")),
        ),
        source="PS3.5 8.1.1",
        expected=JUDGED,
        remarks=("bits_unused", "window_missing"),
    ),
    "signed padding in implicit VR": Row(
        change=lambda ds: ds.add_new("PixelPaddingValue", "SS", -2048),
        source="PS3.5 A.1",
        options={"signed": True, "window": (0, 4096)},
        syntax=ImplicitVRLittleEndian,
    ),
    "padding beyond the stored bits": Row(
        change=to(PixelPaddingValue=65535), source="PS3.3 C.7.5.1.1.2", remarks=("padding_ignored",)
    ),
    "padding among the tissue": Row(
        change=to(PixelPaddingValue=1500, PixelPaddingRangeLimit=2000),
        source="PS3.3 C.7.5.1.1.2",
        remarks=("padding_ignored",),
    ),
}
PIXELS = {
    "run-length": Row(change=to(), source=STREAM, syntax=RLELossless),
    "JPEG Lossless": Row(change=to(), source=STREAM, syntax=JPEGLosslessSV1),
    "HTJ2K": Row(change=to(), source=STREAM, syntax=HTJ2KLossless),
    "JPEG-LS of signed words": Row(
        change=to(),
        source=STREAM,
        options={"signed": True, "window": (0, 4096)},
        syntax=JPEGLSLossless,
    ),
    "near-lossless": Row(
        change=to(),
        source=STREAM,
        expected=JUDGED,
        remarks=("lossy_compression",),
        syntax=JPEGLSNearLossless,
    ),
    "stream of 16 bits for 12": Row(change=stream(j2k(16), JPEG2000Lossless), source=STREAM),
    "signed stream, signed header": Row(
        change=stream(j2k(16), JPEG2000Lossless),
        source=STREAM,
        options={"signed": True, "window": (0, 4096)},
    ),
    "words of two's complement, unsigned stream": Row(
        change=stream(lambda values: j2k(16)(values.view("<u2")), JPEG2000Lossless),
        source="pydicom 1149",
        remarks=("pixel_sign_contradicts",),
        options={"signed": True, "window": (0, 4096)},
    ),
    "level-shifted numbers, signed header": Row(
        change=stream(lambda values: j2k(12)(shifted(values)), JPEG2000Lossless),
        source="pydicom 1149",
        expected="unsupported_pixels",
        remarks=("pixel_sign_contradicts",),
        options={"signed": True, "window": (0, 4096)},
    ),
    "high bit 15, stream of 12 bits": Row(
        change=both(
            to(HighBit=15), stream(lambda v: bytes(imagecodecs.jpegls_encode(v)), JPEGLSLossless)
        ),
        source="dcm4che 512, pylibjpeg-openjpeg 12",
        expected="unsupported_pixels",
    ),
    "high bit 15, values below": Row(
        change=to(HighBit=15), source=STREAM, expected="unsupported_pixels"
    ),
    "high bit 15, signed values below": Row(
        change=to(HighBit=15),
        source=STREAM,
        expected="unsupported_pixels",
        options={"signed": True, "window": (0, 4096)},
    ),
    "baseline JPEG under a lossless label": Row(
        change=stream(lambda v: bytes(imagecodecs.jpeg8_encode(v, level=95)), JPEGLosslessSV1),
        source="JPEGLosslessDecoderJS 14",
        expected=JUDGED,
        remarks=("lossy_compression",),
        options={"bits_stored": 8, "window": (128, 256)},
    ),
    "three components": Row(
        change=stream(
            lambda v: bytes(imagecodecs.jpegls_encode(np.dstack([v] * 3))), JPEGLSLossless
        ),
        source=STREAM,
        expected="unsupported_pixels",
    ),
    "no codestream": Row(
        change=stream(lambda values: b"none at all", JPEG2000Lossless),
        source="pydicom J2K notes",
        expected="undecodable",
    ),
}
SIDES = {
    "R on a left breast": Row(
        change=to(ImageLaterality="R"), source=SIDE, expected="laterality_contradicts"
    ),
    "R without orientation": Row(
        change=to(ImageLaterality="R", PatientOrientation=None),
        source=SIDE,
        expected="laterality_contradicts",
    ),
    "L without orientation": Row(
        change=to(PatientOrientation=None), source="PS3.3 C.8.11.7.1.4: the chest wall tells"
    ),
    "mirrored, as it says": Row(
        change=both(turned(1), to(PatientOrientation=["P", "R"])),
        source=SIDE,
        expected=JUDGED,
        remarks=("laterality_unconfirmed",),
    ),
    "mirrored pixels": Row(change=turned(1), source=SIDE, expected="laterality_contradicts"),
    "series says R": Row(change=to(Laterality="R"), source=SIDE, expected="laterality_contradicts"),
    "oblique letters of the other side": Row(
        change=to(PatientOrientation=["A", "FL"]),
        source=SIDE,
        expected="laterality_contradicts",
        options={"view": "MLO"},
    ),
    "side in the frame": Row(
        change=to(
            ImageLaterality=None,
            SharedFunctionalGroupsSequence=item(FrameAnatomySequence=item(FrameLaterality="L")),
        ),
        source="PS3.3 C.7.6.16.2.8",
    ),
    "side B": Row(
        change=to(ImageLaterality="B"), source="PS3.3 C.8.11.7", expected="laterality_missing"
    ),
    "code CC, position MLO": Row(
        change=to(ViewPosition="MLO"), source="MIMIC-CXR 15", expected="view_unknown"
    ),
    "L CC": Row(change=both(NO_VIEW, to(ViewPosition="L CC")), source=WORDS),
    "CC L": Row(change=both(NO_VIEW, to(ViewPosition="CC L")), source=WORDS),
    "in a description": Row(
        change=both(NO_VIEW, to(SeriesDescription="Mammo, L CC")), source=WORDS
    ),
    "100 cc of contrast": Row(
        change=both(NO_VIEW, to(SeriesDescription="Iohexol 100 cc")),
        source="no view",
        expected="view_unknown",
    ),
    "SNOMED RT": Row(
        change=both(NO_VIEW, to(ViewCodeSequence=coded("R-10242"))), source="PS3.16 8.1"
    ),
    "long code": Row(
        change=both(NO_VIEW, to(ViewCodeSequence=coded(VIEW_CODES["CC"], "LongCodeValue"))),
        source=FORMS,
    ),
    "spot": Row(change=modifier("399055006"), source="CID 4015", expected="unsupported_modifier"),
    "spot as long code": Row(
        change=modifier("399055006", "LongCodeValue"), source=FORMS, expected="unsupported_modifier"
    ),
    "spot as URN": Row(
        change=modifier("http://snomed.info/id/399055006", "URNCodeValue"),
        source=FORMS,
        expected="unsupported_modifier",
    ),
    "spot beside the view": Row(
        change=modifier("399055006", beside=True), source=FORMS, expected="unsupported_modifier"
    ),
    "modifier without a code": Row(
        change=lambda ds: setattr(
            ds.ViewCodeSequence[0], "ViewModifierCodeSequence", item(CodeMeaning="spot")
        ),
        source=FORMS,
        expected="unsupported_modifier",
    ),
    "magnified by its distances": Row(
        change=to(DistanceSourceToDetector=660, DistanceSourceToPatient=366),
        source="Weasis 465",
        expected="unsupported_modifier",
    ),
    "spot paddle": Row(
        change=to(PaddleDescription="10CM SPOT"),
        source="Philips, zoomed views",
        expected="unsupported_modifier",
    ),
    "part of a breast": Row(
        change=to(PartialViewCodeSequence=coded("112233")),
        source="PS3.3 C.8.11.7",
        expected="partial_view",
    ),
}
SIZES = {
    "magnification factor": Row(
        change=to(ImagerPixelSpacing=[0.22, 0.22], EstimatedRadiographicMagnificationFactor=1.1),
        source=SPACING,
    ),
    "distances": Row(
        change=to(
            ImagerPixelSpacing=[0.22, 0.22],
            DistanceSourceToDetector=660,
            DistanceSourceToPatient=600,
        ),
        source=SPACING,
    ),
    "calibrated": Row(
        change=to(
            ImagerPixelSpacing=[0.22, 0.22],
            PixelSpacing=[0.2, 0.2],
            PixelSpacingCalibrationType="GEOMETRY",
        ),
        source=SPACING,
    ),
    "placeholder beside a good one": Row(change=to(PixelSpacing=[1, 1]), source=SPACING),
    "placeholder alone": Row(
        change=to(ImagerPixelSpacing=None, PixelSpacing=[1, 1]),
        source=SPACING,
        expected="spacing_out_of_range",
    ),
    "larger than any detector": Row(
        change=to(ImagerPixelSpacing=[0.49, 0.49]), source=SPACING, expected="spacing_out_of_range"
    ),
    "none": Row(change=to(ImagerPixelSpacing=None), source=SPACING, expected="spacing_unknown"),
    "shared groups": Row(change=groups("SharedFunctionalGroupsSequence"), source=GROUPS),
    "groups of the frame": Row(change=groups("PerFrameFunctionalGroupsSequence"), source=GROUPS),
    "falling slope in groups": Row(
        change=groups("SharedFunctionalGroupsSequence", RescaleSlope=-1, RescaleIntercept=4095),
        source=GROUPS,
        expected="display_implausible",
    ),
    "a volume": Row(
        change=to(),
        source="PS3.3 A.55",
        expected="tomosynthesis_volume",
        options={"tomosynthesis": True},
    ),
    "window told twice": Row(
        change=both(groups("SharedFunctionalGroupsSequence"), to(WindowCenter=77, WindowWidth=99)),
        source=GROUPS,
        expected="unsupported_pixels",
    ),
}
ROWS = {
    f"{kind}: {name}": row
    for kind, rows in (
        ("kind", KINDS),
        ("picture", PICTURES),
        ("pixels", PIXELS),
        ("side and view", SIDES),
        ("size", SIZES),
    )
    for name, row in rows.items()
}


def judged(pipeline: Pipeline, ds: Dataset, path: Path, syntax: str):
    if ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian:
        write(ds, path, transfer_syntax=syntax)
    else:
        ds.save_as(path, enforce_file_format=True)
    return pipeline.judge_view(1, path)[0].outcome


@pytest.fixture(scope="module")
def plain(pipeline, tmp_path_factory):
    """The outcome of the unchanged file, of each view and depth that the rows use."""
    folder = tmp_path_factory.mktemp("plain")
    return {
        (name, bits): judged(
            pipeline,
            view(view=name, bits_stored=bits, window=(2 ** (bits - 1), 2**bits)),
            folder / f"{name}{bits}.dcm",
            ExplicitVRLittleEndian,
        )
        for name, bits in (("CC", 12), ("MLO", 12), ("CC", 8))
    }


@pytest.mark.parametrize("name", ROWS)
def test_each_case_comes_out_as_its_row_says(name, pipeline, plain, tmp_path):
    """A score on the drawing, or the remarks, or the reason."""
    row = ROWS[name]
    ds = view(**row.options)
    row.change(ds)
    outcome = judged(pipeline, ds, tmp_path / "case.dcm", row.syntax)
    reference = plain[row.options.get("view", "CC"), row.options.get("bits_stored", 12)]
    if isinstance(outcome, NotAssessed):
        assert row.expected in outcome.reasons, (row.source, outcome.detail)
    else:
        assert row.expected in (DRAWN, JUDGED), row.source
        same = outcome.score == pytest.approx(reference.score, abs=1e-3)
        assert same or row.expected == JUDGED, (row.source, outcome.score, reference.score)
    assert set(row.remarks) <= set(outcome.remarks), row.source
    if row.expected == DRAWN:
        assert set(outcome.remarks) == {*row.remarks, *reference.remarks}, row.source
    assert row.expected != JUDGED or row.remarks, "another picture in silence"
