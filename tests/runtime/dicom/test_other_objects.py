"""Objects that are no images are recognised by their storage class, whatever else they hold."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    HangingProtocolStorage,
    KeyObjectSelectionDocumentStorage,
    RTPlanStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    XRayRadiationDoseSRStorage,
)

from runtime.dicom.arrived_file import read_arrived_file
from runtime.dicom.other_objects import name_of_other, passed_over_name
from runtime.dicom.stored_image import open_image
from runtime.image.header import MAMMOGRAPHY_CLASSES, NoImageError
from tests.conftest import skip_or_fail
from tests.support.synthetic import mammogram_dataset, write
from tests.support.waiting import CHILD_S

DCMMKDIR = Path("/usr/bin/dcmmkdir")
PRIVATE = "1.2.840.113619.4.30"  # a raw object of one vendor: nobody knows what it holds

OTHERS = {
    GrayscaleSoftcopyPresentationStateStorage: "Grayscale Softcopy Presentation State",
    ComprehensiveSRStorage: "Comprehensive SR",
    XRayRadiationDoseSRStorage: "X-Ray Radiation Dose SR",
    "1.2.840.10008.5.1.4.1.1.88.50": "Mammography CAD SR",
    KeyObjectSelectionDocumentStorage: "Key Object Selection Document",
    EncapsulatedPDFStorage: "Encapsulated PDF",
    SegmentationStorage: "Segmentation",
    RTPlanStorage: "RT Plan",
    "1.2.840.10008.5.1.4.1.1.9.1.1": "12-lead ECG Waveform",
    "1.2.840.10008.5.1.4.1.1.66": "Raw Data",
    "1.2.840.10008.5.1.4.1.1.66.1": "Spatial Registration",
    HangingProtocolStorage: "Hanging Protocol",
    "1.2.840.10008.1.3.10": "DICOMDIR",
}
IMAGES = (
    *MAMMOGRAPHY_CLASSES,
    SecondaryCaptureImageStorage,
    CTImageStorage,
    "1.2.840.10008.5.1.4.1.1.481.1",  # RT Image
    "1.2.840.10008.1.20.1",  # Storage Commitment: no storage class
    "1.2.840.10008.1.1",
    PRIVATE,
)


def other_object(folder, sop_class):
    """An object without pixels; for the registry only its class counts."""
    ds = mammogram_dataset(rows=64, columns=48)
    del ds.PixelData
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    return write(ds, folder / "other.dcm")


def directory_of(folder):
    """A DICOMDIR by dcmtk, of the files in `folder`."""
    if not DCMMKDIR.exists():
        skip_or_fail(f"{DCMMKDIR} (Debian's dcmtk) is not installed")
    names = [path.name for path in folder.iterdir()]
    command = [DCMMKDIR, "-Nxc", "+I", "+id", folder, "+D", folder / "DICOMDIR", *names]
    subprocess.run(command, check=True, timeout=CHILD_S, cwd=folder, capture_output=True)
    return folder / "DICOMDIR"


@pytest.mark.parametrize(("sop_class", "name"), OTHERS.items(), ids=OTHERS.values())
def test_what_holds_no_image_has_a_name(sop_class, name):
    """PS3.6, table A-1."""
    assert passed_over_name(sop_class) == name


@pytest.mark.parametrize("sop_class", sorted(IMAGES))
def test_images_and_what_nobody_knows_have_none(sop_class):
    """They are refused, or judged; never passed over in silence."""
    assert passed_over_name(sop_class) == ""


@pytest.mark.parametrize("sop_class", [c for c in OTHERS if OTHERS[c] != "DICOMDIR"])
def test_each_reader_of_images_says_what_it_is_instead(tmp_path, sop_class):
    """The intake's and the worker's."""
    path = other_object(tmp_path, sop_class)
    with pytest.raises(NoImageError, match=OTHERS[sop_class]), path.open("rb") as stream:
        read_arrived_file(stream, ())
    with pytest.raises(NoImageError, match=OTHERS[sop_class]):
        open_image(path)
    assert name_of_other(path) == OTHERS[sop_class]


def test_a_directory_of_a_medium_is_one(tmp_path):
    """By dcmtk: it has no SOP class but in its file meta group."""
    write(mammogram_dataset(rows=64, columns=48), tmp_path / "IMAGE1")
    path = directory_of(tmp_path)
    assert "SOPClassUID" not in dcmread(path)
    assert name_of_other(path) == "DICOMDIR"


def test_a_directory_of_many_images_is_one(tmp_path):
    """More elements than any header may have."""
    path = other_object(tmp_path, "1.2.840.10008.1.3.10")
    ds = dcmread(path)
    del ds.SOPClassUID
    records = []
    for number in range(25_000):
        record = Dataset()
        record.ReferencedFileID = f"I{number}"
        records.append(record)
    ds.DirectoryRecordSequence = Sequence(records)
    ds.DirectoryRecordSequence.is_undefined_length = True
    ds.save_as(path)
    assert name_of_other(path) == "DICOMDIR"


def test_the_data_set_says_what_it_is_not_its_wrapping(tmp_path):
    """A mammogram under the wrong class in its file meta group is a mammogram."""
    ds = mammogram_dataset(rows=64, columns=48)
    path = write(ds, tmp_path / "a.dcm")
    content = path.read_bytes()
    right = DigitalMammographyXRayImageStorageForPresentation.encode()
    wrong = b"1.2.840.10008.5.1.4.1.1.66".ljust(len(right), b"\0")
    path.write_bytes(content.replace(right, wrong, 1))
    assert dcmread(path).file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.66"
    assert name_of_other(path) == ""
    assert open_image(path).header.mammography


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7" + bytes(500), bytes(128) + b"DICM"])
def test_what_is_no_dicom_file_is_no_other_object(tmp_path, content):
    """Unreadable, and said so."""
    path = tmp_path / "a"
    path.write_bytes(content)
    assert name_of_other(path) == ""
    assert name_of_other(tmp_path / "missing") == ""
