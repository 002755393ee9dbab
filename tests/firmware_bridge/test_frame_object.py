"""The DICOM object around a frame: Debian's dciodvfy finds no error in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.frame_messages import FIRMWARE_MESSAGES
from firmware_bridge.frame_object import head_of
from runtime.header_reading import read_image_header
from tests.conftest import skip_or_fail
from tests.firmware_bridge.firmware import STUDY, frame_fields

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
    verdict = subprocess.run([DCIODVFY, path], capture_output=True, text=True, check=False).stderr
    iod = "ForProcessing" if "processing" in name and "presentation" not in name else "ForPresent"
    assert f"MammographyImage{iod}" in verdict
    assert not [line for line in verdict.splitlines() if line.startswith("Error")], verdict


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
