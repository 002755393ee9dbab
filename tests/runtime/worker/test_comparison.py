"""Two files under one UID: the same pixels after decoding, whatever carries them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from runtime.image.outcome import COMPARE, Job, JobImage, JobOutcome
from runtime.pixels.decoding import NATIVE_SYNTAXES, register_decoders
from runtime.pixels.pixel_format import PixelLimits
from runtime.worker.__main__ import Worker
from runtime.worker.comparison import DIFFERENT, compare
from runtime.worker.file_check import bytes_found
from tests.support.builders import MODEL
from tests.support.synthetic import LOSSLESS_SYNTAXES, mammogram_dataset, write

SIZE = {"rows": 256, "columns": 208}


@pytest.fixture
def first(tmp_path):
    register_decoders()
    return write(mammogram_dataset(**SIZE), tmp_path / "first.dcm")


def compared(*paths, limits=PixelLimits(pixels=1 << 20)):  # noqa: B008 - frozen
    """What the worker says of the two."""
    images = tuple(
        JobImage(image_id=number, path=str(path), slot=COMPARE, answered=bytes_found(path))
        for number, path in enumerate(paths)
    )
    job = Job(job_id=1, package_sha256=MODEL.package_sha256, precision="fp32", images=images)
    return compare(job, limits)


def other(path, **elements):
    """A copy with other elements beside it."""
    ds = dcmread(path)
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    copy = path.with_name("other.dcm")
    ds.save_as(copy)
    return copy


def test_a_corrected_patient_changes_nothing_that_is_judged(first):
    """Name, number, birth date, description of the study."""
    copy = other(
        first,
        PatientName="Corrected^Name",
        PatientID="2",
        PatientBirthDate="19610203",
        StudyDescription="Screening",
    )
    assert compared(first, copy) == replace(DIFFERENT, same_pixels=True)


@pytest.mark.parametrize("syntax", [*NATIVE_SYNTAXES, *LOSSLESS_SYNTAXES])
def test_another_transfer_syntax_holds_the_same_pixels(tmp_path, first, syntax):
    """Native, deflated and lossless ones; and nothing that is judged has changed."""
    ds = mammogram_dataset(**SIZE)
    found = compared(first, write(ds, tmp_path / "other.dcm", transfer_syntax=syntax))
    assert (found.same_pixels, found.changed) == (True, ())


def test_one_other_pixel_is_another_image(first):
    """By one gray level, in a corner."""
    ds = dcmread(first)
    pixels = ds.pixel_array.copy()
    pixels[0, 0] ^= 1
    assert compared(first, other(first, PixelData=pixels.tobytes())) == DIFFERENT


@pytest.mark.parametrize(
    ("elements", "changed"),
    [
        ({"ImageLaterality": "R"}, "laterality"),
        ({"WindowCenter": "1000"}, "windows"),
        ({"RescaleSlope": "2", "RescaleIntercept": "1"}, "rescale_slope"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "monochrome1"),
        ({"BreastImplantPresent": "YES"}, "implant"),
        ({"ImagerPixelSpacing": [0.05, 0.05]}, "pixel_spacing_mm"),
    ],
)
def test_what_a_judgement_rests_on_is_named(first, elements, changed):
    """The same pixels: what they are judged by has another value."""
    found = compared(first, other(first, **elements))
    assert found.same_pixels
    assert changed in found.changed


def test_what_cannot_be_decoded_or_is_not_there_is_different(first, tmp_path):
    """No worker is lost over it: cut off, gone, beyond the limits, another size."""
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(first.read_bytes()[:-1000])
    small = write(mammogram_dataset(rows=128, columns=104), tmp_path / "small.dcm")
    for copy in (cut, small):
        assert compared(first, copy) == DIFFERENT
    assert compared(first, first, limits=PixelLimits(pixels=100)) == DIFFERENT
    images = (
        JobImage(image_id=1, path=str(first), slot=COMPARE, answered=bytes_found(first)),
        JobImage(image_id=2, path=str(tmp_path / "gone.dcm"), slot=COMPARE),
    )
    job = Job(job_id=1, package_sha256="", precision="fp32", images=images)
    assert compare(job, PixelLimits(pixels=1 << 20)) == DIFFERENT


def test_a_volume_is_not_compared_by_its_first_frame(tmp_path):
    """Two frames, of which the second may differ."""
    volume = write(mammogram_dataset(tomosynthesis=True, **SIZE), tmp_path / "volume.dcm")
    register_decoders()
    assert compared(volume, volume) == DIFFERENT
    assert np.ndim(dcmread(volume).pixel_array) == 3


class NeverAsked:
    """A hasher that nobody needs."""

    def begin(self, path):
        raise AssertionError(path)


class Comparing:
    """A pipeline that compares."""

    def judge_job(self, job):
        return JobOutcome(job_id=job.job_id, comparison=DIFFERENT)


def test_a_comparison_reads_its_files_once():
    """It hashes what it compares: nobody else does beside it."""
    worker = Worker(None, Comparing(), MODEL.package_sha256)
    worker._hasher = NeverAsked()
    job = Job(
        job_id=1,
        package_sha256=MODEL.package_sha256,
        precision="fp32",
        images=tuple(JobImage(image_id=n, path=f"{n}.dcm", slot=COMPARE) for n in (1, 2)),
        is_comparison=True,
    )
    assert worker._judge(job).comparison is DIFFERENT
