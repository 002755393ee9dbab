"""A backup of a unit at work, and the day on which it is needed."""

from __future__ import annotations

import shutil
import threading

from tests.end_to_end.conftest import mammoedge, wait_for_final
from tests.end_to_end.test_ledger_faults import events, reasons, stored
from tests.support.exams import write_exam
from tests.support.waiting import joined, wait_until


def final_heard(subscriber, exam, unit):
    """Whether its final flag was heard, by whatever number."""
    topic = f"exam/{unit.message_factory().exam_key(exam.study_uid)}"
    return any(record.topic == topic and record.body["final"] for record in subscriber.seen())


def test_a_backup_is_made_while_exams_come_and_a_new_disk_goes_on_from_it(story):
    """Each exam has its flag; what the backup does not know is taken in again from the spool."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600).start().wait_listening()
    subscriber = story.subscriber()
    exams = [write_exam(story.folder / f"exam{n}", n) for n in range(1, 6)]
    stored(unit, exams[0])
    sending = threading.Thread(target=lambda: [stored(unit, exam) for exam in exams[1:4]])
    sending.start()
    made = mammoedge("backup", story.folder / "backup", "--config", unit.config)
    assert made.returncode == 0, made.stderr
    joined(sending, "the exams are sent")
    for exam in exams[:4]:
        wait_for_final(subscriber, exam.study_uid, unit, images=4)
    refused = mammoedge("restore", story.folder / "backup", "--config", unit.config)
    assert refused.returncode == 2
    assert "another mammoedge works here" in refused.stderr
    before = subscriber.topics("status")[-1].body["ledger_id"]
    unit.stop()
    for lost in (unit.folder / "data").glob("ledger.*"):
        lost.unlink()
    restored = mammoedge("restore", story.folder / "backup", "--config", unit.config)
    assert restored.returncode == 0, restored.stderr
    unit.start().wait_listening()
    wait_until(lambda: "ledger_rolled_back" in reasons(subscriber), "a new epoch")
    assert subscriber.topics("status")[-1].body["ledger_id"] != before
    stored(unit, exams[4])
    wait_until(lambda: final_heard(subscriber, exams[4], unit), "a flag under a number of before")
    wait_until(lambda: "ledger_rolled_back" in events(subscriber), "the event")
    known = [stored(unit, exam) for exam in exams[:4]]  # the sender may say all of it again
    assert len(known) == 4
    assert len(list((unit.folder / "data" / "spool").glob("*.dcm"))) == 20
    shutil.rmtree(story.folder / "backup")
