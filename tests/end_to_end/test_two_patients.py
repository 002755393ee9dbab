"""An exam of two patients at a running unit: no flag, said without a name."""

from __future__ import annotations

from pydicom import dcmread

from tests.end_to_end.conftest import STORESCU, dcmtk_send, exam_messages, wait_for_final
from tests.end_to_end.test_frames import events
from tests.support.exams import BRIGHT, write_exam
from tests.support.waiting import wait_until

JANE = {"PatientID": "PID-JANE-7", "PatientName": "Secretname^Jane", "PatientBirthDate": "19610203"}
JOAN = JANE | {"PatientID": "PID-JOAN-8", "PatientName": "Secretname^Joan"}


def of_patient(path, patient):
    """The file with that patient in its header."""
    ds = dcmread(path)
    for keyword, value in patient.items():
        setattr(ds, keyword, value)
    ds.save_as(path)
    return path


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
