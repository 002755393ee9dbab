"""The DICOM object around a frame: Debian's dciodvfy finds no error in it."""

from __future__ import annotations

import random
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydantic import ValidationError

from firmware_bridge.frame_object.dicom_object import data_set_offset_of, head_of
from firmware_bridge.frame_protocol.messages import FIRMWARE_MESSAGES
from runtime.dicom.header_reader import read_image_header
from tests.conftest import skip_or_fail
from tests.firmware_bridge.firmware import STUDY, frame_fields
from tests.support.waiting import CHILD_S

DCIODVFY = Path("/usr/bin/dciodvfy")
PIXELS = np.zeros((64, 48), "<u2")
TECHNIQUE = {
    "kvp": 28.5,
    "mas": 63.2,
    "target": "TUNGSTEN",
    "filter": "RHODIUM",
    "thickness_mm": 51.0,
    "force_n": 90.123456789123,
}
EXAM = {
    "patient_id": "X1",
    "patient_name": "Tést^Ünit",
    "patient_birth_date": "19600102",
    "patient_sex": "F",
    "accession_number": "A1",
}
PROCESSING = {"intent": "for_processing", "window": None, "bits_stored": 14}
DEVIATIONS = {
    "for presentation": {},
    "for processing": PROCESSING,
    "mlo": {"view": "MLO", "laterality": "L"},
    "lateral views": {"view": "ML"},
    "latero-medial": {"view": "LM", "laterality": "L"},
    "exaggerated": {"view": "XCCL"},
    "monochrome1": {"monochrome1": True},
    "processing, monochrome1": PROCESSING | {"monochrome1": True},
    "technique": {"technique": TECHNIQUE},
    "magnified spot": {"modifiers": ["spot", "magnification"], "magnification_factor": 1.8},
    "implant displaced": {"modifiers": ["implant_displaced"], "implant": True},
    "partial": {"partial_view": True},
    "quality control": {"quality_control": True},
    "sixteen bits": {"bits_stored": 16},
    "odd spacing": {"pixel_spacing_mm": [0.0941234567891, 0.0941234567891]},
    "fraction of a second": {"acquired_at": "20261122160358.123456"},
}


def message(kind, **fields):
    return FIRMWARE_MESSAGES.validate_python({"type": kind, "version": 1, "id": 1} | fields)


def write_object(folder, *, exam=None, hello=None, **fields):
    frame = message("frame", **frame_fields(PIXELS, **fields))
    head = head_of(
        frame,
        message("exam_opened", study_instance_uid=STUDY, **(exam or {})),
        message("hello", serial="SN-1", **(hello or {})),
    )
    path = folder / "frame.dcm"
    path.write_bytes(head + PIXELS.tobytes())
    return path


@pytest.mark.parametrize("exam", [{}, EXAM], ids=["anonymous", "identified"])
@pytest.mark.parametrize("name", DEVIATIONS)
def test_dciodvfy_finds_no_error(tmp_path, name, exam):
    """No line of it begins with Error, whatever the firmware leaves out or says."""
    if not DCIODVFY.exists():
        skip_or_fail("dciodvfy (Debian package dicom3tools) is not installed")
    hello = {"manufacturer": "Acme", "model": "M", "software": "1"} if exam else {}
    path = write_object(tmp_path, exam=exam, hello=hello, **DEVIATIONS[name])
    verdict = subprocess.run(
        [DCIODVFY, path], capture_output=True, text=True, check=False, timeout=CHILD_S
    ).stderr
    iod = "ForProcessing" if "processing" in name and "presentation" not in name else "ForPresent"
    assert f"MammographyImage{iod}" in verdict
    assert not [line for line in verdict.splitlines() if line.startswith("Error")], verdict


@pytest.mark.parametrize("exam", [{}, EXAM], ids=["anonymous", "identified"])
@pytest.mark.parametrize("name", DEVIATIONS)
def test_the_bytes_are_those_that_pydicom_writes(tmp_path, name, exam):
    """Element for element in its order and padding: an image keeps its hash for ever."""
    path = write_object(tmp_path, exam=exam, **DEVIATIONS[name])
    read = pydicom.dcmread(path)
    again = BytesIO()
    pydicom.dcmwrite(again, pydicom.Dataset(read), implicit_vr=False, little_endian=True)
    content = path.read_bytes()
    assert read.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID
    assert content[data_set_offset_of(content) :] == again.getvalue()


TEXTS = [
    "",
    "a",
    "x" * 64,
    " lead",
    "trail ",
    "Ünï cödé",
    "日本",
    "====",
    "~!@#$%",
    "A^B=C^D",
    "\\",
]


def random_object(draw):
    """The bytes of an object from whatever the messages allow; None where they do not allow it."""
    intent = draw.choice(["for_presentation", "for_processing"])
    window = {"center": draw.uniform(-65536, 65536), "width": draw.uniform(1, 131072)}
    technique = {
        "kvp": draw.uniform(1, 150),
        "mas": draw.choice([0.0, 0.4, 1999.9]),
        "target": draw.choice(["TUNGSTEN", "X Y", "A"]),
        "thickness_mm": draw.uniform(0, 500),
        "force_n": draw.uniform(0, 1000),
    }
    changes = {
        "view": draw.choice(["CC", "MLO", "ML", "LM", "XCCL"]),
        "laterality": draw.choice("RL"),
        "modifiers": draw.sample(["implant_displaced", "spot", "magnification"], draw.randrange(4)),
        "intent": intent,
        "window": window if intent == "for_presentation" else None,
        "bits_stored": draw.randrange(8, 17),
        "monochrome1": draw.random() < 0.5,
        "pixel_spacing_mm": [draw.uniform(0.001, 2)] * 2,
        "acquired_at": draw.choice(["20261122160358", "19000101000000.1", "20241231235959"]),
        "instance_number": draw.choice([0, 1, 2**31 - 1]),
        "technique": {name: value for name, value in technique.items() if draw.random() < 0.7},
    }
    exam = {name: draw.choice(TEXTS) for name in ("patient_id", "patient_name")}
    unit = {name: draw.choice(TEXTS) for name in ("manufacturer", "model", "software")}
    serial = draw.choice(["S", "a\\b", "x" * 64, "~"])
    try:
        return head_of(
            message("frame", **frame_fields(PIXELS, **changes)),
            message("exam_opened", study_instance_uid=STUDY, **exam),
            message("hello", serial=serial, **unit),
        )
    except ValidationError:
        return None


def test_whatever_the_messages_allow_is_valid(tmp_path):
    """Found so far: a backslash in the serial number, a name of too many parts."""
    if not DCIODVFY.exists():
        skip_or_fail("dciodvfy (Debian package dicom3tools) is not installed")
    draw = random.Random(3)
    heads = [head for _ in range(120) if (head := random_object(draw)) is not None]
    assert len(heads) > 30
    for head in heads:
        path = tmp_path / "frame.dcm"
        path.write_bytes(head + PIXELS.tobytes())
        said = subprocess.run(
            [DCIODVFY, path], capture_output=True, check=False, timeout=CHILD_S
        ).stderr
        assert not [line for line in said.splitlines() if line.startswith(b"Error")], said


def test_the_reader_finds_what_the_firmware_said(tmp_path):
    """Our own header reading gives the frame's side, view, size and spacing."""
    header = read_image_header(write_object(tmp_path, view="MLO", laterality="L"))
    assert header.view_code == "LMLO"
    assert (header.rows, header.columns) == PIXELS.shape
    assert header.pixel_spacing_mm == (0.1, 0.1)
    assert header.acquired_at == "20261122160358"
    assert header.sop_instance_uid == f"{STUDY}.1"


def test_magnification_and_implants_are_seen(tmp_path):
    """What makes an image unsuitable arrives at the gate."""
    path = write_object(tmp_path, modifiers=["magnification"], implant=True)
    header = read_image_header(path)
    assert header.implant
    assert header.disqualifying_modifiers == ("399163009",)
