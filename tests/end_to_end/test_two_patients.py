"""The same images again at a running unit, and images of two patients: said without a name."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pydicom import dcmread

from tests.conftest import skip_or_fail
from tests.end_to_end.conftest import STORESCU, dcmtk_send, exam_messages, wait_for_final
from tests.end_to_end.test_frames import events
from tests.support.exams import BRIGHT, write_exam
from tests.support.waiting import CHILD_S, wait_until

DCMCJPEG = Path("/usr/bin/dcmcjpeg")
JANE = {"PatientID": "PID-JANE-7", "PatientName": "Secretname^Jane", "PatientBirthDate": "19610203"}
JOAN = JANE | {"PatientID": "PID-JOAN-8", "PatientName": "Secretname^Joan"}


def of_patient(path, patient):
    """The file with that patient in its header."""
    ds = dcmread(path)
    for keyword, value in patient.items():
        setattr(ds, keyword, value)
    ds.save_as(path)
    return path


def compress(path, target):
    """JPEG Lossless, by dcmtk; the UID stays."""
    if not DCMCJPEG.exists():
        skip_or_fail(f"{DCMCJPEG} (Debian's dcmtk) is not installed")
    subprocess.run([DCMCJPEG, "+e1", path, target], check=True, timeout=CHILD_S)


def test_one_view_of_another_patient_takes_the_flag(story):
    """Four bright views, one of them another woman's: not assessed, one event, nobody's name."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 41, light=BRIGHT)
    for view, path in exam.files.items():
        of_patient(path, JOAN if view == "LMLO" else JANE)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    final = wait_for_final(subscriber, exam.study_uid, unit, images=4)
    assert (final["flag"], final["score"]) == ("not_assessed", None)
    assert final["reasons"] == ["identity_conflict"]
    wait_until(lambda: events(subscriber, "identity_conflict"), "the event")
    (event,) = events(subscriber, "identity_conflict")
    assert event["exam_key"] == final["exam_key"]
    assert exam_messages(subscriber, exam.study_uid, unit)[-1].body == final
    heard = b"\n".join(record.payload for record in subscriber.seen())
    kept = b"".join(path.read_bytes() for path in (unit.folder / "data").glob("ledger.db*"))
    for secret in (*JANE.values(), *JOAN.values(), "secretname", "pid-jane"):
        assert secret.encode() not in heard
        assert secret.encode() not in kept
        assert secret not in unit.log


def test_the_exam_sent_again_under_one_patient_clears_it(story):
    """The unit corrects the patient and sends the same images again: the flag comes."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 42, light=BRIGHT)
    for view, path in exam.files.items():
        of_patient(path, JOAN if view == "LMLO" else JANE)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    wrong = wait_for_final(subscriber, exam.study_uid, unit, images=4)
    assert wrong["reasons"] == ["identity_conflict"]
    corrected = [of_patient(path, JANE) for path in exam.files.values()]
    dcmtk_send(STORESCU, unit, corrected)

    def last():
        return exam_messages(subscriber, exam.study_uid, unit)[-1].body

    wait_until(lambda: last()["revision"] > wrong["revision"], "the next revision")
    assert (last()["flag"], last()["final"], last()["reasons"]) == ("priority", True, [])
    assert len(events(subscriber, "header_changed")) == 1
    assert events(subscriber, "image_conflict") == []


def test_an_image_in_another_transfer_syntax_is_no_conflict(story):
    """By real codecs of dcmtk; another picture under the same UID stays one."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    exam = write_exam(story.folder / "exam", 43, light=BRIGHT)
    dcmtk_send(STORESCU, unit, list(exam.files.values()))
    final = wait_for_final(subscriber, exam.study_uid, unit, images=4)
    recoded = story.folder / "jpeg.dcm"
    compress(exam.files["RCC"], recoded)
    dcmtk_send(STORESCU, unit, [recoded], "-xs")
    wait_until(lambda: events(subscriber, "header_changed"), "the comparison")
    other = dcmread(exam.files["LCC"])
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(exam.files["LCC"])
    dcmtk_send(STORESCU, unit, [exam.files["LCC"]])
    wait_until(lambda: events(subscriber, "image_conflict"), "the conflict")
    (conflict,) = events(subscriber, "image_conflict")
    key = unit.message_factory().image_key(other.SOPInstanceUID)
    assert conflict["image_key"] == key
    assert exam_messages(subscriber, exam.study_uid, unit)[-1].body == final
