"""A disk that does not keep what was answered with success: it is noticed, said, and mended."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from pydicom import dcmread

from tests.end_to_end.conftest import STORESCU, dcmtk_send, exam_messages, wait_for_final
from tests.end_to_end.test_frames import FRAMES_TOML, events
from tests.firmware_bridge.firmware import Firmware, wait_socket
from tests.support.exams import BRIGHT, write_exam
from tests.support.waiting import wait_until


@contextmanager
def stopped_worker(unit):
    """Nothing is judged meanwhile."""
    unit.wait_log("worker ready")
    worker = unit.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def darken(path):
    """The same header, a third of the light."""
    ds = dcmread(path)
    ds.PixelData = (ds.pixel_array // 3).astype(np.uint16).tobytes()
    ds.save_as(path)


def cut(path):
    """The last third is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def by_dicom(unit, exam):
    dcmtk_send(STORESCU, unit, list(exam.files.values()))


def by_folder(unit, exam):
    for file in exam.files.values():
        part = unit.folder / "inbox" / f"{file.name}.part"
        shutil.copy(file, part)
        part.rename(part.with_suffix(""))
    wait_until(
        lambda: not list((unit.folder / "inbox").glob("*.dcm")), "the folder's files to be taken"
    )


def by_frames(unit, exam):
    wait_socket(unit.folder / "frames.sock")
    with Firmware(unit.folder / "frames.sock") as firmware:
        firmware.begin("frames", study=exam.study_uid)
        for view, file in exam.files.items():
            answer = firmware.send_frame(
                dcmread(file).pixel_array,
                study=exam.study_uid,
                sop=str(dcmread(file).SOPInstanceUID),
                laterality=view[0],
                view=view[1:],
            )
            assert answer["type"] == "accepted"


@pytest.mark.parametrize("send", [by_dicom, by_folder, by_frames])
@pytest.mark.parametrize("damage", [darken, cut, os.unlink])
def test_a_spooled_file_that_changed_is_noticed_and_sending_again_mends_it(story, send, damage):
    """A bright exam is never `none`: one view is not assessed, loudly, until it came again."""
    story.broker.start()
    unit = story.unit(more_toml=FRAMES_TOML).start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 31, light=BRIGHT, views=("RCC", "LCC"))
    with stopped_worker(unit):
        send(unit, exam)
        spooled = sorted((unit.folder / "data" / "spool").glob("*.dcm"))
        assert len(spooled) == 2
        for path in spooled:
            damage(path)

    def told():
        said = exam_messages(subscriber, exam.study_uid, unit)
        return [view["reasons"] for view in said[-1].body["views"]] if said else []

    wait_until(lambda: told() == [["integrity_failed"]] * 2, "two images that are not assessed")
    assert exam_messages(subscriber, exam.study_uid, unit)[-1].body["flag"] == "not_assessed"
    assert len(events(subscriber, "integrity_failed")) == 2

    send(unit, exam)
    rest = write_exam(story.folder / "rest", 31, light=BRIGHT, views=("RMLO", "LMLO"))
    dcmtk_send(STORESCU, unit, list(rest.files.values()))
    final = wait_for_final(subscriber, exam.study_uid, unit, images=4)
    assert final["flag"] == "priority"
    assert [view["outcome"] for view in final["views"]] == ["judged"] * 4
    assert len(events(subscriber, "integrity_failed")) == 2
    files = set((unit.folder / "data" / "spool").glob("*.dcm"))
    assert len(files) == 4
    assert not files & set(spooled)
