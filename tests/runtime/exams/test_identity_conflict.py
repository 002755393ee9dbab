"""Two patients in one exam: no flag, said at once, until the exam is one patient's."""

from __future__ import annotations

import pytest

from runtime.dicom.patient_identity import PatientFacts, PatientIdentity
from runtime.exam_rules.exam_flag import Completion
from runtime.image.outcome import Flag
from tests.runtime.exams.test_exam_service import ALL, Bench
from tests.support.builders import forget_exams, result

STUDY = "1.2.3"
JANE = PatientFacts(patient_id="pid-jane", name="doe^jane", birth_date="19610203")
JOAN = PatientFacts(patient_id="pid-joan", name="doe^joan", birth_date="19620304")


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.ledger.close()


def send(bench, *patients, score=0.9, **more):
    """The four views, each of its patient, judged."""
    for view, patient in zip(ALL, patients, strict=True):
        bench.receive(view, patient=patient, **more)
        if bench.next_job() is not None:
            bench.judge_next(result(score))


def events(bench):
    return [said for said in bench.said("event") if said["event"] == "identity_conflict"]


def test_an_exam_of_one_patient_is_as_it_was(bench):
    """Images that say nothing of their patient contradict nobody."""
    send(bench, JANE, JANE, PatientFacts(), JANE)
    assert (bench.said("exam")[-1]["flag"], events(bench)) == ("priority", [])


@pytest.mark.parametrize("stranger", range(4))
def test_an_exam_of_two_patients_has_no_flag(bench, stranger):
    """Whichever view is the other's, and though every view is judged: priority, none, no score."""
    patients = [JANE] * 4
    patients[stranger] = JOAN
    send(bench, *patients)
    last = bench.said("exam")[-1]
    assert (last["flag"], last["score"]) == ("not_assessed", None)
    assert (last["reasons"], last["final"]) == (["identity_conflict"], True)
    assert [view["outcome"] for view in last["views"]] == ["judged"] * 4
    (event,) = events(bench)
    assert event["exam_key"] == last["exam_key"]


def test_it_is_said_before_the_stranger_is_judged(bench):
    """A final priority is not left standing for the time that the worker takes."""
    send(bench, JANE, JANE, JANE, JANE)
    assert bench.said("exam")[-1]["flag"] == "priority"
    bench.receive("RCC", sop="1.2.3.99", patient=JOAN)
    last = bench.said("exam")[-1]
    assert (last["flag"], last["final"]) == ("not_assessed", False)
    assert last["reasons"][0] == "identity_conflict"


def test_no_more_than_keyed_hashes_are_kept(bench, tmp_path):
    """Neither message nor ledger holds what was compared."""
    send(bench, JANE, JOAN, JANE, JANE)
    said = str(bench.said())
    bench.ledger.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in ("pid-jane", "doe^jane", "19610203", "doe", "jane"):
        assert secret not in said
        assert secret.encode() not in kept
    bench.ledger = Bench(tmp_path).ledger


def test_the_wrong_image_rejected_and_retaken_ends_it(bench):
    """The unit takes the stranger's image back, and sends the right one."""
    send(bench, JANE, JANE, JANE, JOAN)
    bench.notices.reject_image(STUDY, str(bench.sop("LMLO")), retake_uid="1.2.3.99")
    bench.receive("LMLO", sop="1.2.3.99", patient=JANE)
    bench.judge_next(result(0.9))
    assert bench.said("exam")[-1]["flag"] == "priority"


def test_a_frame_and_its_object_must_agree(bench):
    """One image by two ways, of two patients: the unit and its workstation are at odds."""
    for view in ALL:
        bench.receive(view, source="frames", patient=JANE)
        bench.judge_next(result(0.9))
    bench.receive("RCC", sha="2", source="dicom", patient=JANE)
    assert bench.said("exam")[-1]["flag"] == "priority"
    bench.receive("LCC", sha="2", source="dicom", patient=JOAN)
    assert bench.said("exam")[-1]["reasons"] == ["identity_conflict"]
    bench.receive("LCC", sha="3", source="dicom", patient=JANE)
    assert bench.said("exam")[-1]["flag"] == "priority"


def test_copies_of_another_exam_and_surplus_images_do_not_count(tmp_path):
    """They are not of the exam."""
    bench = Bench(tmp_path, max_images=4)
    send(bench, JANE, JANE, JANE, JANE)
    bench.receive("RCC", sha="2", study="9.9", patient=JOAN)
    bench.receive("RCC", sop="1.2.3.99", patient=JOAN)
    assert events(bench) == []
    bench.ledger.close()


def test_what_was_compared_goes_with_the_exam(bench):
    """Retention takes the hashes too."""
    send(bench, JANE, JANE, JANE, JOAN)
    bench.notices.close_exam(STUDY, Completion.EXAM_CLOSED)
    bench.now_ms += 1
    assert bench.ledger.transact(forget_exams, bench.now_ms) == 1
    assert not bench.ledger.transact(lambda tx: tx.patients.are_two(STUDY))
    assert not bench.ledger.transact(lambda tx: tx.patients.has_word(1))


def test_a_new_word_about_the_patient_is_what_the_page_shows(bench):
    """The same object again is the newest word; what is missing in it is kept."""
    shown = PatientIdentity(initials="D.J.", accession_number="A1")
    bench.receive("RCC", patient=JANE, identity=shown)
    assert bench.judge_next(result(0.9)).flag is Flag.PRIORITY
    bench.receive("LCC", patient=JANE, identity=PatientIdentity(initials="X.X."))
    bench.receive("RCC", patient=JANE, identity=shown)
    assert bench.ledger.transact(lambda tx: tx.exam_history.identity(STUDY)) == shown


def test_the_exam_sent_again_under_one_patient_clears_it(bench):
    """Corrected at the unit, the same images: the next revision has the flag."""
    send(bench, JANE, JANE, JOAN, JOAN)
    wrong = bench.said("exam")[-1]
    for view in ("RMLO", "LMLO"):
        bench.receive(view, sha="2", patient=JANE, identity=PatientIdentity(initials="D.J."))
        assert bench.said("exam")[-1]["revision"] == wrong["revision"]
        bench.compare_next(same=True)
    right = bench.said("exam")[-1]
    assert (right["flag"], right["final"]) == ("priority", True)
    assert right["revision"] == wrong["revision"] + 1
    assert len(events(bench)) == 1
    assert bench.ledger.transact(lambda tx: tx.exam_history.identity(STUDY)).initials == "D.J."


def test_the_first_writing_sent_once_more_is_the_last_word_again(bench):
    """Changed by mistake, and changed back: the bytes are known, what they say holds."""
    send(bench, JANE, JANE, JANE, JANE)
    bench.receive("RCC", sha="2", patient=JOAN)
    bench.compare_next(same=True)
    assert bench.said("exam")[-1]["reasons"] == ["identity_conflict"]
    bench.receive("RCC", patient=JANE)
    assert bench.said("exam")[-1]["flag"] == "priority"


@pytest.mark.parametrize("row", ["of no patient", "none"])
def test_an_image_that_was_taken_in_without_its_patient_has_one_when_it_comes_again(bench, row):
    """A row of an older version has no keys, or there is none: the same bytes bring them."""
    send(bench, JANE, JANE, JANE, PatientFacts())
    if row == "none":
        bench.ledger.transact(
            lambda tx: tx._connection.execute("DELETE FROM image_patients WHERE image_id = 4")
        )
    assert bench.said("exam")[-1]["flag"] == "priority"
    bench.receive("LMLO", patient=JOAN)
    assert bench.said("exam")[-1]["reasons"] == ["identity_conflict"]


def test_other_pixels_under_a_known_uid_have_no_say(bench):
    """A conflict is another image: whose it is does not change the exam's patient."""
    send(bench, JANE, JANE, JANE, JANE)
    bench.receive("RCC", sha="2", patient=JOAN)
    bench.compare_next()
    bench.receive("RCC", sha="2", patient=JOAN)
    assert (bench.said("exam")[-1]["flag"], events(bench)) == ("priority", [])
