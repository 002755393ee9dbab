"""Bad input and bad luck at a running unit: a clear answer, and the next exam unharmed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.sender.storage_scu import Outcome, StorageScu, outgoing
from tests.end_to_end.conftest import STORESCU, dcmtk_send, wait_for_final
from tests.end_to_end.poisoned_worker import CRASH_ROWS, HANG_ROWS
from tests.support.exams import write_exam
from tests.support.synthetic import mammogram_dataset, write
from tests.support.units import ROOT
from tests.support.waiting import CHILD_S, wait_until

FAULTY_UNIT = ("-m", "tests.end_to_end.unit_with_faults")


def send_one(unit, path):
    """One file; what the unit answered."""
    file = outgoing(path)
    if file.__class__.__name__ == "SentFile":
        return file
    with StorageScu(Destination.parse(unit.address), [file]) as sender:
        return sender.send(file)


def view_reasons(subscriber, unit, sop_uid):
    """The reasons of the view message about an image; None if there is none yet."""
    key = unit.message_factory().image_key(sop_uid)
    for record in subscriber.once().values():
        if "/view/" in record.topic and record.body["image_key"] == key:
            return record.body["reasons"]
    return None


def truncated(path):
    """The last third of the file is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


# what | options of mammogram_dataset | the reasons it must give ([]: judged)
STORED = {
    "1x1": ({"pixels": np.ones((1, 1), np.uint16)}, ["too_small"]),
    "8 bit": ({"bits_stored": 8, "window": (128, 256)}, []),
    "10 bit": ({"bits_stored": 10}, []),
    "12 bit": ({"bits_stored": 12}, []),
    "14 bit": ({"bits_stored": 14}, []),
    "16 bit": ({"bits_stored": 16}, []),
    "signed": ({"signed": True, "window": (0, 4096)}, []),
    "MONOCHROME1": ({"monochrome1": True}, []),
    "no window": ({"window": None}, []),
    "absurd window": ({"window": ("nan", 0)}, []),
    "implant": ({"implant": True}, ["implant"]),
    "magnification": ({"modifiers": ("magnification",)}, ["unsupported_modifier"]),
    "partial": ({"partial": True}, ["partial_view"]),
    "tomosynthesis": ({"tomosynthesis": True}, ["tomosynthesis_volume"]),
    "For Processing": ({"intent": "FOR PROCESSING", "window": None}, ["for_processing"]),
    "quality control": ({"quality_control": True}, ["quality_control"]),
    "blank": ({"pixels": np.zeros((600, 500), np.uint16)}, ["no_breast"]),
}


def test_odd_images_get_their_reason_and_the_next_exam_is_unharmed(story):
    """Each odd image ends in a view message with its reason, or judged; then a normal exam is."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600).start().wait_listening()
    subscriber = story.subscriber()
    sent = {}
    for number, (what, (options, _)) in enumerate(STORED.items()):
        ds = mammogram_dataset(seed=100 + number, rows=600, columns=500, **options)
        path = write(ds, story.folder / f"odd{number}.dcm")
        sent[what] = ds.SOPInstanceUID
        assert send_one(unit, path).outcome is Outcome.STORED, what
    ds = mammogram_dataset(seed=200, rows=600, columns=500)
    cut = write(ds, story.folder / "cut.dcm")
    truncated(cut)
    (unit.folder / "inbox" / "cut.dcm").write_bytes(cut.read_bytes())
    sent["truncated"] = ds.SOPInstanceUID
    expected = {what: reasons for what, (_, reasons) in STORED.items()}
    expected["truncated"] = ["undecodable"]
    wait_until(
        lambda: all(view_reasons(subscriber, unit, uid) is not None for uid in sent.values()),
        "a view message for each",
    )
    given = {what: view_reasons(subscriber, unit, uid) for what, uid in sent.items()}
    assert {k: v[:1] for k, v in given.items()} == {k: v[:1] for k, v in expected.items()}
    exam = write_exam(story.folder / "exam", 1)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    assert wait_for_final(subscriber, exam.study_uid, unit)["flag"] == "none"


def test_what_is_no_mammogram_is_refused_with_the_right_status(story):
    """A CT gets no context; a chest film's Secondary Capture is refused (0x0122) and reported."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    ct = mammogram_dataset(seed=1)
    ct.SOPClassUID = ct.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    mg = write(mammogram_dataset(seed=5), story.folder / "mg.dcm")
    files = [outgoing(write(ct, story.folder / "ct.dcm")), outgoing(mg)]
    with StorageScu(Destination.parse(unit.address), files) as sender:
        outcomes = [sender.send(file).outcome for file in files]
    assert outcomes == [Outcome.REFUSED, Outcome.STORED]
    chest = mammogram_dataset(seed=2, film=True)
    chest.Modality, chest.BodyPartExamined = "CR", "CHEST"
    answer = send_one(unit, write(chest, story.folder / "chest.dcm"))
    assert answer.outcome is Outcome.REFUSED
    assert answer.status == 0x0122
    wait_until(
        lambda: any(r.body["event"] == "image_refused" for r in subscriber.topics("event")),
        "an image_refused event",
    )


def test_an_80_megapixel_image_is_not_assessed(story):
    """Too many pixels are named, not allocated."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600).start().wait_listening()
    subscriber = story.subscriber()
    ds = mammogram_dataset(pixels=np.zeros((10000, 8000), np.uint16), seed=3)
    ds.ImagerPixelSpacing = [0.03, 0.03]  # of a breast's size, so that only the pixels are too many
    assert send_one(unit, write(ds, story.folder / "huge.dcm")).outcome is Outcome.STORED
    wait_until(lambda: view_reasons(subscriber, unit, ds.SOPInstanceUID), "its view message")
    assert view_reasons(subscriber, unit, ds.SOPInstanceUID) == ["too_large"]


@pytest.mark.parametrize("rows", [CRASH_ROWS, HANG_ROWS], ids=["crash", "hang"])
def test_an_image_that_takes_the_worker_down_is_not_assessed(story, rows):
    """A codestream that crashes or hangs the decoder: processing_failed, the next exam unharmed."""
    story.broker.start()
    unit = story.unit(command=FAULTY_UNIT, job_timeout_s=2, idle_timeout_s=3600)
    unit.start("--poisoned").wait_listening()
    subscriber = story.subscriber()
    poison = mammogram_dataset(rows=rows, columns=500, seed=4)
    assert send_one(unit, write(poison, story.folder / "p.dcm")).outcome is Outcome.STORED
    exam = write_exam(story.folder / "exam", 2)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    assert wait_for_final(subscriber, exam.study_uid, unit)["flag"] == "none"
    assert view_reasons(subscriber, unit, poison.SOPInstanceUID) == ["processing_failed"]
    restarts = [r for r in subscriber.topics("event") if r.body["event"] == "worker_restarted"]
    assert len(restarts) == 2


def test_without_a_broker_the_backlog_comes_in_order_when_it_does(story):
    """The service runs without a broker; then status first, the backlog in order, nothing lost."""
    unit = story.unit().start().wait_listening()
    exam = write_exam(story.folder / "exam", 3)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    unit.wait_log("worker ready")
    story.broker.start()
    subscriber = story.subscriber()
    wait_for_final(subscriber, exam.study_uid, unit)
    numbers = [seq for seq, _ in subscriber.numbered()]
    assert numbers == sorted(numbers)
    assert subscriber.gaps(max(numbers), first=min(numbers)) == []


def test_below_the_disk_reserve_images_are_refused_and_status_says_degraded(story):
    """Out of resources goes back to the sender; the unit says degraded and keeps publishing."""
    story.broker.start()
    unit = story.unit(reserve_mb=10**9).start().wait_listening()
    subscriber = story.subscriber()
    wait_until(lambda: "degraded" in subscriber.statuses(), "degraded")
    wait_until(lambda: subscriber.topics("status")[-1].body["reasons"] == ["disk_low"], "disk_low")
    exam = write_exam(story.folder / "exam", 4)
    answer = send_one(unit, exam.files["RCC"])
    assert (answer.outcome, answer.status) == (Outcome.REFUSED, 0xA700)
    assert any(r.body["event"] == "disk_low" for r in subscriber.topics("event"))


def test_settings_with_five_faults_give_five_messages_and_exit_code_2(story):
    """Every fault is printed with its key; nothing is started."""
    unit = story.unit()
    text = unit.config.read_text()
    for right, wrong in [
        ('unit = "mammo-1"', 'unit = "_site"'),
        ("reserve_mb = 0", "reserve_mb = -5"),
        ('precision = "fp32"', 'precision = "int4"'),
        ("idle_timeout_s = 30", "idle_timeout = 30"),
        ('devices = ["CPU"]', 'devices = ["TPU"]'),
    ]:
        assert right in text
        text = text.replace(right, wrong)
    unit.config.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", "run", "--config", str(unit.config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("mammoedge:")]
    assert len(lines) == 5, done.stderr
