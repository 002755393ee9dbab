"""Side and view by all that names them: agreement, or a reason that says who said what."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from models.manifest import Accepts
from runtime.breast_gate.suitability import assess_header, assess_pixels
from runtime.dicom.header_reader import header_from
from runtime.dicom.stored_image import open_image
from runtime.dicom_header.view_witnesses import words_of_description, words_of_position
from runtime.image.reasons import Reason
from runtime.pixels.decoding import register_decoders
from runtime.pixels.mammogram import load_mammogram
from tests.support.synthetic import breast_pixels, code, mammogram_dataset, write

SMALL = {"rows": 300, "columns": 260}
CONTRADICTS, UNKNOWN = Reason.LATERALITY_CONTRADICTS, Reason.VIEW_UNKNOWN
OHIF = "OHIF pull request 4353"
C_7_6_1 = "PS3.3 C.7.6.1.1.1"
C_8_11_7 = "PS3.3 C.8.11.7.1.4"


def frames(place: str, laterality: str) -> dict[str, Sequence]:
    """A functional group that names a side."""
    anatomy, group = Dataset(), Dataset()
    anatomy.FrameLaterality = laterality
    group.FrameAnatomySequence = Sequence([anatomy])
    return {place: Sequence([group])}


def changed(view: str, changes: dict[str, object]) -> Dataset:
    """A left view with attributes replaced, or removed where the value is None."""
    ds = mammogram_dataset(view=view, **SMALL)
    for keyword, value in changes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


NO_CODE = {"ViewCodeSequence": None, "ViewPosition": None}

# source | view | header facts of a left breast | reason (None: judged) | said in the detail
HEADERS = (
    (OHIF, "CC", {"ImageLaterality": "R"}, CONTRADICTS, "PatientOrientation says L"),
    (OHIF, "MLO", {"ImageLaterality": "R"}, CONTRADICTS, "PatientOrientation says L"),
    (OHIF, "MLO", {"PatientOrientation": ["A", "FL"]}, CONTRADICTS, "PatientOrientation says R"),
    (C_8_11_7, "MLO", {"PatientOrientation": ["A", "FR"]}, None, ""),
    (C_7_6_1, "MLO", {"PatientOrientation": ["P", "HL"]}, None, ""),
    (C_7_6_1, "MLO", {"PatientOrientation": ["P", "FR"]}, None, ""),
    (C_7_6_1, "MLO", {"PatientOrientation": ["A", "F"]}, None, ""),
    (C_7_6_1, "MLO", {"PatientOrientation": ["P", "F"]}, CONTRADICTS, "PatientOrientation says R"),
    (C_7_6_1, "CC", {"PatientOrientation": ["P", "R"]}, None, ""),
    (C_7_6_1, "CC", {"PatientOrientation": ["A", "L"]}, None, ""),
    # Turned half round, or of the other breast: no header tells which.
    (C_7_6_1, "CC", {"PatientOrientation": ["P", "L"]}, CONTRADICTS, "PatientOrientation says R"),
    ("Siemens and GE stereo units", "CC", {"PatientOrientation": ["R", "P"]}, None, ""),
    ("PS3.3 C.7.3.1", "CC", {"Laterality": "R"}, CONTRADICTS, "Laterality says R"),
    ("PS3.3 C.7.3.1", "CC", {"ImageLaterality": None, "Laterality": "L"}, None, ""),
    ("PS3.3 C.7.6.16.2.8", "CC", frames("SharedFunctionalGroupsSequence", "L"), None, ""),
    (
        "PS3.3 C.7.6.16.2.8",
        "CC",
        frames("PerFrameFunctionalGroupsSequence", "R"),
        CONTRADICTS,
        "FrameLaterality says R",
    ),
    (
        "PS3.3 C.7.6.16.2.8",
        "CC",
        frames("PerFrameFunctionalGroupsSequence", "L") | {"ImageLaterality": None},
        None,
        "",
    ),
    ("MIMIC-CXR 15", "CC", {"ViewPosition": "MLO"}, UNKNOWN, "ViewPosition says MLO"),
    ("free text", "CC", {"ViewPosition": "L-MLO"}, UNKNOWN, "ViewCodeSequence says CC"),
    ("Weasis 203", "CC", {**NO_CODE, "ViewPosition": "LCC"}, None, ""),
    ("Weasis 203", "CC", {**NO_CODE, "ViewPosition": "RCC"}, CONTRADICTS, "ViewPosition says R"),
    ("step description", "CC", {**NO_CODE, "SeriesDescription": "R CC"}, CONTRADICTS, "says R"),
    ("a stale series", "CC", {"SeriesDescription": "R MLO"}, None, ""),
    ("own", "CC", {**NO_CODE, "SeriesDescription": "Iohexol 100 cc"}, UNKNOWN, ""),
)


@pytest.mark.parametrize(("source", "view", "changes", "reason", "said"), HEADERS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_all_that_names_side_or_view_agrees_or_there_is_a_reason(
    source, view, changes, reason, said
):
    """One row for each fact."""
    found = assess_header(header_from(changed(view, changes)), Accepts())
    assert found.reasons == ((reason,) if reason else ()), source
    assert said in found.detail


# what stands in View Position | view and side that are read
POSITIONS = {
    "L CC": "LCC",
    "LCC": "LCC",
    "cc": "?CC",
    "L-CC": "LCC",
    "CC L": "LCC",
    "CC LEFT": "LCC",
    "R-MLO": "RMLO",
    "RIGHT MLO": "RMLO",
    "Cranio-Caudal": "?CC",
    "MEDIO-LATERAL OBLIQUE": "?MLO",
    "XCCL": "?XCCL",
    "CCL": "",
    "SCC": "",
    "CCID": "",
    "FB": "",
}


@pytest.mark.parametrize("text", POSITIONS)
def test_what_people_write_is_read(text):
    """OHIF 4080, Weasis 203; suffixes of ACR MQCM (ID: implant displaced) are not cut off."""
    found = words_of_position(text)
    side = next(iter(found.sides), "?")
    assert (f"{side}{found.view}" if found.view else "") == POSITIONS[text]


DESCRIPTIONS = {
    "L MLO 2D": {"MLO"},
    "CC and MLO": {"CC", "MLO"},
    "Iohexol 100 cc": set(),
    "Iopromide 300 mg/ml, 2 ml/s": set(),
    "Contrast 100 cc L MLO": {"MLO"},
    "contrast, volume in cc": set(),
    "ACCESS": set(),
    "MLO-L": {"MLO"},
}


@pytest.mark.parametrize("text", DESCRIPTIONS)
def test_a_volume_is_no_view(text):
    """Cubic centimetres and millilitres are passed over."""
    assert words_of_description(text).views == DESCRIPTIONS[text]


# header facts of a left view | mirrored pixels | reason
PIXELS = (
    ({}, False, None),
    ({}, True, CONTRADICTS),
    ({"PatientOrientation": None}, False, None),
    ({"PatientOrientation": None}, True, CONTRADICTS),
    ({"PatientOrientation": ""}, True, CONTRADICTS),
    ({"PatientOrientation": ["P", "R"]}, True, None),
    ({"PatientOrientation": ["P", "R"]}, False, CONTRADICTS),
)


@pytest.mark.parametrize(("changes", "mirrored", "reason"), PIXELS)
def test_the_chest_wall_in_the_pixels_is_a_witness(changes, mirrored, reason, tmp_path):
    """Where Patient Orientation puts it, or where an image for presentation has it."""
    register_decoders()
    pixels = breast_pixels(laterality="R" if mirrored else "L")
    ds = mammogram_dataset(pixels=np.ascontiguousarray(pixels))
    for keyword, value in changes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    found = assess_pixels(load_mammogram(open_image(write(ds, tmp_path / "image"))), Accepts())
    assert found.reasons == ((reason,) if reason else ())
    assert ("chest wall" in found.detail) is bool(reason)


def test_a_view_code_may_be_long_or_a_urn():
    """PS3.3 8.1: CodeValue, LongCodeValue, URNCodeValue."""
    for keyword, value in (
        ("LongCodeValue", "399162004"),
        ("URNCodeValue", "http://snomed.info/id/399162004"),
        ("URNCodeValue", "urn:oid:2.16.840.1.113883.6.96.399162004"),
    ):
        ds = mammogram_dataset(**SMALL)
        item = code("")
        del item.CodeValue
        setattr(item, keyword, value)
        del ds.ViewPosition
        ds.ViewCodeSequence = Sequence([item])
        assert header_from(ds).view_code == "LCC"
