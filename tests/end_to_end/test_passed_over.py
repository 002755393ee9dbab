"""What travels with mammograms and is no image: passed over by name, and nobody is alarmed."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from pydicom.uid import (
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    HangingProtocolStorage,
    XRayRadiationDoseSRStorage,
)

from tests.end_to_end.conftest import STORESCU, dcmtk_send, mammoedge, wait_for_final
from tests.end_to_end.test_frames import events
from tests.runtime.dicom.test_other_objects import directory_of, other_object
from tests.support.exams import write_exam
from tests.support.waiting import wait_until

NAMES = {
    GrayscaleSoftcopyPresentationStateStorage: "Grayscale Softcopy Presentation State",
    EncapsulatedPDFStorage: "Encapsulated PDF",
    XRayRadiationDoseSRStorage: "X-Ray Radiation Dose SR",
}


@pytest.fixture
def medium(tmp_path):
    """An exam as it lies on a medium: four views, a directory, and three objects beside them."""
    folder = tmp_path / "medium"
    exam = write_exam(folder, 51)
    images = {view: path.rename(folder / view) for view, path in exam.files.items()}
    directory_of(folder)
    others = []
    for number, sop_class in enumerate(NAMES):
        path = other_object(tmp_path, sop_class)
        others.append(path.rename(folder / f"OTHER{number}"))
    return exam.study_uid, folder, list(images.values()), others


def test_over_the_wire_each_is_named_and_the_exam_is_unharmed(story, medium):
    """By dcmtk, in one association with the views: a warning with the name, no event."""
    study_uid, _folder, images, others = medium
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    said = dcmtk_send(STORESCU, unit, [*others, *images], "-R", "--no-halt", "-d")
    answers = re.findall(r"DIMSE Status +: (0x[0-9a-f]{4})", said)
    assert answers == ["0xb006"] * 3 + ["0x0000"] * 4
    for name in NAMES.values():
        assert f"passed over: {name}" in said
        unit.wait_log(f"passed over: {name}")
    assert wait_for_final(subscriber, study_uid, unit, images=4)["flag"] == "none"
    assert events(subscriber, "image_refused") == []
    assert len(list((unit.folder / "data" / "spool").glob("*.dcm"))) == 4


def test_a_class_that_is_not_stored_alone_gets_no_context(story, tmp_path, medium):
    """Hanging protocols have a service of their own; the others of the association are stored."""
    study_uid, _folder, images, _others = medium
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    hanging = other_object(tmp_path, HangingProtocolStorage)
    dcmtk_send(STORESCU, unit, [*images, hanging], "-R", "--no-halt")
    assert wait_for_final(subscriber, study_uid, unit, images=4)["flag"] == "none"
    assert events(subscriber, "image_refused") == []


def test_in_a_folder_each_leaves_with_its_name_beside_it(story, medium):
    """The views are taken; directory and others lie in `passed_over`, nothing in `refused`."""
    study_uid, folder, _images, others = medium
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    inbox = unit.folder / "inbox"
    shutil.copytree(folder, inbox / "medium")
    assert wait_for_final(subscriber, study_uid, unit, images=4)["flag"] == "none"
    wait_until(lambda: not list((inbox / "medium").iterdir()), "an empty folder")
    passed_over = inbox / "passed_over"
    names = dict(zip((path.name for path in others), NAMES.values(), strict=True))
    for file, name in (names | {"DICOMDIR": "DICOMDIR"}).items():
        reason = passed_over / f"{file}.reason.txt"
        wait_until(reason.exists, f"the name of {file}")
        assert reason.read_text() == f"passed over: {name}\n"
        assert (passed_over / file).exists()
    assert list((inbox / "refused").iterdir()) == []
    assert events(subscriber, "image_refused") == []


def test_judge_says_what_it_passes_over(medium, packages):
    """A line each, without flag or reason; the views are judged; exit code 0."""
    _study, folder, images, others = medium
    files = [folder / "DICOMDIR", *others, *images]
    options = ("--package", packages["view"], "--precision", "fp32")
    done = mammoedge("judge", "--json", *options, *files)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["outcome"] for line in lines] == ["passed_over"] * 4 + ["judged"] * 4
    assert [line["detail"] for line in lines[:4]] == ["DICOMDIR", *NAMES.values()]
    assert {line["flag"] for line in lines[:4]} == {None}
    text = mammoedge("judge", *options, *files).stdout
    assert f"passed over: Encapsulated PDF  {others[1]}\n" in text


def test_send_leaves_them_where_they_are(story, medium):
    """Not sent, not counted as missing: exit code 0; alone they need no peer."""
    study_uid, folder, _images, others = medium
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    done = mammoedge("send", folder, "--to", unit.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 stored, 4 passed over" in done.stdout
    assert f"passed over: DICOMDIR  {folder / 'DICOMDIR'}" in done.stdout
    assert wait_for_final(subscriber, study_uid, unit, images=4)["flag"] == "none"
    alone = mammoedge("send", others[0], "--to", "NOBODY@127.0.0.1:1")
    assert (alone.returncode, "0 of 0 stored, 1 passed over" in alone.stdout) == (0, True)
