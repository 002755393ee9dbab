"""What the unit's firmware tells, and what it hears: the outbox, with the unit's own identity."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from runtime.dicom.patient_identity import PatientIdentity
from runtime.exam_rules.state_machine import Exam
from runtime.exams.intake_ports import ModalityEvent
from runtime.exams.modality_feed import LISTENERS_REMEMBERED, ModalityFeed
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import EventKind, Kind, StatusFacts
from tests.support.builders import exam_flag
from tests.support.unit_under_test import MESSAGE_FACTORY

STUDY = "1.2.3"
EXPIRY_S = 60


class Bench:
    """A feed on a real ledger, and a clock that is set by hand."""

    def __init__(self, ledger):
        self.now_ms = 1_000_000
        self.ledger = ledger
        self.reasons = ()
        self.message_factory = replace(MESSAGE_FACTORY, exam_expiry_s=EXPIRY_S)
        self.feed = self.restarted()

    def restarted(self):
        return ModalityFeed(
            ledger=self.ledger,
            message_factory=self.message_factory,
            status_provider=lambda: StatusFacts(reasons=self.reasons),
            clock_ms=lambda: self.now_ms,
        )

    def flag(self, study=STUDY, revision=1):
        flag = exam_flag(revision=revision, study_instance_uid=study)

        def work(tx):
            tx.save_exam(Exam(study_instance_uid=study, revision=revision), flag)
            return tx.enqueue(
                self.message_factory.exam_message(flag, at_ms=self.now_ms), self.now_ms
            )

        return self.ledger.transact(work)

    def heard(self, after=0, limit=10):
        sayings, _ = self.feed.after(after, limit)
        return [saying.seq for saying in sayings]


@pytest.fixture
def bench(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield Bench(ledger)


def test_an_event_is_a_row_of_the_outbox(bench):
    """With pseudonyms, as everything that leaves the unit."""
    bench.feed.tell(
        ModalityEvent(
            kind=EventKind.REPEAT,
            study_instance_uid=STUDY,
            sop_instance_uid="1.2.3.4",
            data={"reason": "motion"},
        )
    )
    (row,) = bench.ledger.waiting(10)
    said = json.loads(row.payload)
    assert (said["event"], said["data"]) == ("repeat", {"reason": "motion"})
    assert said["exam_key"] == MESSAGE_FACTORY.exam_key(STUDY)
    assert STUDY not in row.payload.decode()


def test_events_are_not_said_back(bench):
    """The firmware hears flags and outcomes, not what it told itself."""
    bench.feed.tell(ModalityEvent(kind=EventKind.FAULT))
    seq = bench.flag()
    assert bench.heard() == [seq]


def test_a_flag_comes_with_the_identity_that_the_firmware_gave(bench):
    """The Study Instance UID beside the fields of MQTT."""
    bench.flag()
    ((saying,), _) = bench.feed.after(0, 10)
    assert (saying.kind, saying.study_instance_uid) == (Kind.EXAM, STUDY)
    assert saying.fields["exam_key"] == MESSAGE_FACTORY.exam_key(STUDY)


def test_whose_flag_it_is_stands_in_the_ledger(bench):
    """Found by the key that was kept with the first image: no other exam is looked at for it."""
    bench.flag()
    key = json.loads(bench.ledger.waiting(1)[0].payload)["exam_key"]
    bench.ledger.transact(lambda tx: tx.exam_history.identify("1.2.99", key, PatientIdentity(), 0))
    bench.flag("1.2.99", revision=2)  # its own key is another one: only the ledger's row knows this
    sayings, _ = bench.feed.after(0, 10)
    assert sayings[0].study_instance_uid == "1.2.99"


def test_a_new_listener_hears_what_comes_from_now(bench):
    """Yesterday's exams are not the business of a firmware that was never here."""
    bench.flag("1.2.3.1")
    start = bench.feed.open_listener("SN-1")
    seq = bench.flag("1.2.3.2")
    assert bench.heard(start) == [seq]


def test_an_acknowledgement_is_a_note_in_the_ledger(bench):
    """After a restart of ours the listener goes on where it was; smaller numbers change nothing."""
    bench.feed.open_listener("SN-1")
    first, second = bench.flag("1.2.3.1"), bench.flag("1.2.3.2")
    bench.feed.acknowledge("SN-1", first)
    assert bench.restarted().open_listener("SN-1") == first
    bench.feed.acknowledge("SN-1", second)
    bench.feed.acknowledge("SN-1", first)
    assert bench.restarted().open_listener("SN-1") == second


def test_listeners_are_bounded(bench):
    """Of more serial numbers than a unit can have, the longest unheard is forgotten."""
    first = bench.feed.open_listener("SN-0")
    bench.flag()
    for number in range(1, LISTENERS_REMEMBERED + 1):
        bench.now_ms += 1
        bench.feed.open_listener(f"SN-{number}")
    bench.now_ms += 1
    assert bench.feed.open_listener("SN-0") > first, "it begins anew"
    assert bench.feed.open_listener(f"SN-{LISTENERS_REMEMBERED}") == 1


def test_a_stale_flag_is_not_said(bench):
    """Neither one that expired, nor one that a later revision replaced."""
    bench.flag("1.2.3.1")
    bench.now_ms += EXPIRY_S * 1000 + 1
    bench.flag("1.2.3.2", revision=1)
    current = bench.flag("1.2.3.2", revision=2)
    assert bench.heard() == [current]


def test_a_forgotten_exam_holds_nothing_up(bench):
    """Retention took the exam, its row is still there: what is behind it is said."""
    ghost = exam_flag(study_instance_uid="1.2.3.9")
    for _ in range(3):
        bench.ledger.add_event(
            bench.message_factory.exam_message(ghost, at_ms=bench.now_ms), bench.now_ms
        )
    seq = bench.flag()
    sayings, looked_at = bench.feed.after(0, 1)
    assert not sayings
    assert bench.heard(looked_at) == [seq]


def test_the_status_is_that_of_mqtt(bench):
    """Online, or degraded with the reasons."""
    assert bench.feed.status()[1]["state"] == "online"
    bench.reasons = ("disk_low",)
    facts, said = bench.feed.status()
    assert facts.reasons == ("disk_low",)
    assert (said["state"], said["reasons"]) == ("degraded", ["disk_low"])
