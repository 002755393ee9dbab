"""The bytes that are judged are the bytes that were answered, or nothing is judged."""

from __future__ import annotations

import hashlib

import pytest

from runtime.dicom.part10_reader import begin_data_set
from runtime.image.outcome import AnsweredBytes, ImageOutcome, Job, JobImage, JobOutcome
from runtime.image.reasons import Reason
from runtime.worker.file_check import bytes_found, checked
from tests.support.builders import MODEL, header, result, unassessed
from tests.support.synthetic import mammogram_dataset, write

EXPLICIT = "1.2.840.10008.1.2.1"
GOOD = AnsweredBytes(sha256="a" * 64, transfer_syntax_uid=EXPLICIT)
OTHER = AnsweredBytes(sha256="b" * 64, transfer_syntax_uid=EXPLICIT)
BIG_ENDIAN = AnsweredBytes(sha256="a" * 64, transfer_syntax_uid="1.2.840.10008.1.2.2")


@pytest.fixture
def spooled(tmp_path):
    return write(mammogram_dataset(rows=64, columns=48), tmp_path / "a.dcm")


def judged(answered, found, outcomes):
    """What is left of a job's outcome."""
    images = tuple(
        JobImage(image_id=number, path="", slot="any", answered=one)
        for number, one in enumerate(answered)
    )
    job = Job(job_id=1, package_sha256=MODEL.package_sha256, precision="fp32", images=images)
    whole = JobOutcome(
        job_id=1,
        images=tuple(
            ImageOutcome(image_id=number, outcome=one, header=header())
            for number, one in enumerate(outcomes)
        ),
    )
    return checked(whole, job, found).images


def test_what_is_found_is_hashed_as_the_spooler_hashes(spooled):
    """The data set alone, and the syntax that says how it is read."""
    content = spooled.read_bytes()
    with spooled.open("rb") as stream:
        begin_data_set(stream)
        offset = stream.tell()
    found = bytes_found(spooled)
    assert found.sha256 == hashlib.sha256(content[offset:]).hexdigest()
    assert found.transfer_syntax_uid == EXPLICIT


@pytest.mark.parametrize("near", [b"DICM", b"1.2.840.10008.1.2.1\0", b"MONOCHROME2", b""])
def test_one_flipped_byte_is_another_file(spooled, near):
    """Wherever it matters: the prefix, the transfer syntax, an element, the last pixel."""
    before = bytes_found(spooled)
    content = bytearray(spooled.read_bytes())
    content[content.index(near) if near else -1] ^= 0x02
    spooled.write_bytes(content)
    assert bytes_found(spooled) != before


def test_a_file_that_is_gone_or_cut_is_another_file(spooled):
    """Nothing there, nothing in it, or half of it."""
    before = bytes_found(spooled)
    spooled.write_bytes(spooled.read_bytes()[:-100])
    assert bytes_found(spooled) not in (before, None)
    spooled.write_bytes(b"")
    assert bytes_found(spooled) is None
    spooled.unlink()
    assert bytes_found(spooled) is None


@pytest.mark.parametrize("found", [None, OTHER, BIG_ENDIAN])
@pytest.mark.parametrize("outcome", [result(0.1), unassessed(Reason.UNREADABLE)])
def test_no_outcome_rests_on_another_file(found, outcome):
    """Neither a score nor a reason nor a header of it is believed."""
    (image,) = judged([GOOD], [found], [outcome])
    assert (image.outcome.reasons, image.header) == ((Reason.INTEGRITY_FAILED,), None)
    assert image.outcome.model == MODEL


def test_views_that_were_judged_together_fall_together(tmp_path):
    """One of them is another file: the score of the others rests on it too."""
    images = judged([GOOD, GOOD], [OTHER, GOOD], [result(0.1), result(0.1)])
    assert [image.outcome.reasons for image in images] == [
        (Reason.INTEGRITY_FAILED,),
        (Reason.COMPANION_NOT_ASSESSED,),
    ]


def test_the_same_bytes_change_nothing(tmp_path):
    """And on a bench, where nobody was answered, nobody asks."""
    good, bench = judged([GOOD, None], [GOOD, OTHER], [result(0.1), result(0.2)])
    assert (good.outcome, bench.outcome) == (result(0.1), result(0.2))
    assert good.header == header()
