"""Images that come twice or too often: which of them stands, and what the exam says of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from runtime.exam_rules.exam_flag import Completion
from runtime.exams.intake_ports import Receipt
from runtime.image.header import ImageKind
from runtime.image.outcome import Flag, NotAssessed
from runtime.image.reasons import Reason
from tests.runtime.exams.test_exam_service import ALL, Bench
from tests.support.builders import forget_exams, result, unassessed

STUDY = "1.2.3"


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, max_images=8)
    yield bench
    bench.ledger.close()


def images(bench):
    return bench.ledger.transact(lambda tx: tx.exam_images(STUDY))


def path_of_next(bench):
    return bench.next_job().job.images[0].path


# --- other bytes under one UID -------------------------------------------------------------------


@pytest.mark.parametrize("reason", [Reason.UNDECODABLE, Reason.UNREADABLE])
def test_other_bytes_replace_an_image_that_could_not_be_decoded(bench, reason):
    """Sent again because it was unreadable: the second is judged, and the exam is revised."""
    for view in ALL[1:]:
        bench.receive(view)
        bench.judge_next(result(0.1))
    bench.receive("RCC", sha="1")
    before = bench.judge_next(unassessed(reason))
    assert (before.flag, before.reasons) == (Flag.NOT_ASSESSED, (reason,))
    again = bench.receive("RCC", sha="2")
    assert again.receipt is Receipt.STORED
    assert path_of_next(bench) == "/spool/RCC2.dcm"
    after = bench.judge_next(result(0.1))
    assert (after.flag, after.final, after.revision) == (Flag.NONE, True, before.revision + 1)
    assert len(after.images) == 4
    (event,) = bench.said("event")
    assert event["event"] == "image_conflict"
    assert "this one stands" in event["detail"]


def test_both_files_are_kept(bench):
    """What could not be decoded stays on record and in the spool."""
    bench.receive("RCC", sha="1")
    bench.judge_next(unassessed())
    bench.receive("RCC", sha="2")
    kept = bench.ledger.transact(lambda tx: tx.spooled_paths())
    assert kept == {"/spool/RCC1.dcm", "/spool/RCC2.dcm"}
    assert bench.receive("RCC", sha="1").receipt is Receipt.KNOWN


def test_a_copy_that_waited_is_tried_when_the_first_cannot_be_decoded(bench):
    """The second came before the worker had looked at the first."""
    bench.receive("RCC", sha="1")
    assert bench.receive("RCC", sha="2").receipt is Receipt.CONFLICT
    flag = bench.judge_next(unassessed())
    assert flag.final is False
    bench.compare_next()
    assert path_of_next(bench) == "/spool/RCC2.dcm"
    bench.judge_next(result(0.9))
    assert [image.outcome.score for image in images(bench)] == [0.9]


def test_two_files_that_cannot_be_decoded_do_not_replace_each_other_for_ever(bench):
    """Each is tried once."""
    bench.receive("RCC", sha="1")
    bench.receive("RCC", sha="2")
    bench.judge_next(unassessed())
    bench.compare_next()
    bench.judge_next(unassessed())
    assert bench.next_job() is None
    assert len(images(bench)) == 1


def test_the_third_replaces_the_second_that_stands(bench):
    """Again and again unreadable: the newest bytes get their chance, the exam has one image."""
    for sha in "123":
        assert bench.receive("RCC", sha=sha).receipt is Receipt.STORED
        outcome = unassessed() if sha < "3" else result(0.2)
        bench.judge_next(outcome)
    assert [image.outcome.score for image in images(bench)] == [0.2]
    assert bench.receive("RCC", sha="4").receipt is Receipt.CONFLICT


@pytest.mark.parametrize("reason", [Reason.IMPLANT, Reason.PROCESSING_FAILED, Reason.NO_BREAST])
def test_an_image_that_was_decoded_is_not_replaced(bench, reason):
    """Not assessed for another reason: a conflict, and the first stands."""
    bench.receive("RCC", sha="1")
    bench.judge_next(unassessed(reason))
    assert bench.receive("RCC", sha="2").receipt is Receipt.CONFLICT
    if reason is not Reason.PROCESSING_FAILED:  # poison is not decoded once more, to compare it
        bench.compare_next()
    assert bench.next_job() is None
    assert [said["event"] for said in bench.said("event")] == ["image_conflict"]
    assert len(images(bench)) == 1


def test_a_file_of_another_exam_replaces_nothing(bench):
    """One UID in two exams is a conflict, whatever became of the first."""
    bench.receive("RCC", sha="1")
    bench.judge_next(unassessed())
    assert bench.receive("RCC", sha="2", study="9.9").receipt is Receipt.CONFLICT
    assert len(images(bench)) == 1


def test_a_frame_stands_for_its_object_that_could_not_be_decoded(bench):
    """Twins, of which one is broken: the whole one is judged, and it is said."""
    bench.receive("RCC", sha="1", source="dicom")
    bench.judge_next(unassessed())
    assert bench.receive("RCC", sha="2", source="frames").receipt is Receipt.STORED
    assert bench.judge_next(result(0.2)).images[0].outcome.score == 0.2


def test_a_four_view_job_is_made_again_for_the_image_that_replaces(tmp_path):
    """Scope `exam`: the copy goes with the three others into a new job."""
    bench = Bench(tmp_path, "exam", "direct")
    for view in ALL:
        bench.receive(view)
    bench.judge_next(unassessed())
    bench.receive("RCC", sha="2")
    assert {image.slot for image in bench.next_job().job.images} == set(ALL)
    flag = bench.judge_next(result(0.7))
    assert (flag.flag, len(flag.images)) == (Flag.PRIORITY, 4)
    bench.ledger.close()


# --- the same pixels under one UID ---------------------------------------------------------------


def kinds(bench):
    return [said["event"] for said in bench.said("event")]


def final_exam(bench, score=0.1):
    for view in ALL:
        bench.receive(view)
        flag = bench.judge_next(result(score))
    return flag


def test_the_same_pixels_under_another_header_are_no_conflict(bench):
    """A corrected name, another encoding: recorded, and nothing is judged twice."""
    before = final_exam(bench)
    assert bench.receive("RCC", sha="2").receipt is Receipt.CONFLICT
    bench.compare_next(same=True)
    assert (kinds(bench), bench.next_job()) == (["header_changed"], None)
    assert bench.said("exam")[-1]["revision"] == before.revision
    kept = bench.ledger.transact(lambda tx: tx.spooled_paths())
    assert "/spool/RCC2.dcm" in kept


def test_what_a_judgement_rests_on_is_judged_again_under_the_newer_header(bench):
    """The side was corrected at the unit and the image sent again, as the page asks for."""
    for view in ALL[1:]:
        bench.receive(view)
        bench.judge_next(result(0.1))
    bench.receive("?CC", sop="1.2.3.9")
    before = bench.judge_next(unassessed(Reason.LATERALITY_MISSING))
    assert before.flag is Flag.NOT_ASSESSED
    bench.receive("RCC", sop="1.2.3.9", sha="2")
    bench.compare_next("laterality", same=True)
    assert path_of_next(bench) == "/spool/RCC2.dcm"
    after = bench.judge_next(result(0.1))
    assert (after.flag, after.final, len(after.images)) == (Flag.NONE, True, 4)
    (event,) = bench.said("event")
    assert (event["event"], "laterality" in event["detail"]) == ("header_changed", True)


def test_a_comparison_that_takes_workers_down_is_a_conflict(bench):
    """The copy is poison: the first image stands, judged as it was."""
    final_exam(bench, 0.9)
    bench.receive("RCC", sha="2")
    job_id = bench.next_job().job.job_id
    for _ in range(2):
        bench.exam_service.worker_died_of(job_id, Reason.PROCESSING_FAILED)
    assert (kinds(bench), bench.next_job()) == (["image_conflict"], None)
    assert [image.outcome.score for image in images(bench)] == [0.9] * 4


def test_a_copy_that_stands_by_now_is_not_compared(bench):
    """The first turned out to be undecodable before the comparison's turn came."""
    bench.receive("RCC", sha="1")
    bench.receive("RCC", sha="2")
    bench.judge_next(unassessed())
    bench.compare_next()
    assert kinds(bench) == ["image_conflict"]
    bench.judge_next(result(0.2))
    assert [image.outcome.score for image in images(bench)] == [0.2]


def test_a_copy_is_compared_with_the_image_that_stands(bench):
    """The first fell, the second stands in for it: the third is compared with that one."""
    for sha in "123":
        bench.receive("RCC", sha=sha)
    bench.judge_next(unassessed())
    bench.compare_next()
    bench.compare_next()
    bench.judge_next(result(0.2))
    assert [image.path for image in bench.next_job().job.images] == [
        "/spool/RCC2.dcm",
        "/spool/RCC3.dcm",
    ]
    bench.compare_next(same=True)
    assert kinds(bench)[-1] == "header_changed"


def test_nothing_is_compared_with_a_file_that_retention_removed(bench):
    """What cannot be shown to be the same is a conflict, at once."""
    final_exam(bench)
    bench.ledger.transact(lambda tx: tx.file_removed(1))
    bench.receive("RCC", sha="2")
    assert (kinds(bench), bench.next_job()) == (["image_conflict"], None)


def test_a_comparison_is_no_judgement_of_a_view_that_waits(tmp_path):
    """Scope `exam`: a view that waits for companions, compared meanwhile, is settled at the end."""
    bench = Bench(tmp_path, "exam", "direct")
    bench.receive("RCC")
    bench.receive("RCC", sha="2")
    bench.compare_next(same=True)
    bench.notices.close_exam(STUDY, Completion.EXAM_CLOSED)
    last = bench.said("exam")[-1]
    assert last["final"]
    assert "companion_missing" in last["reasons"]
    bench.ledger.close()


# --- the same bytes again, and their own file is lost ---------------------------------------------


def test_the_same_image_again_is_judged_where_its_file_was_another(bench):
    """The disk failed, it was said; the sender tries again, and the exam gets its flag."""
    for view in ALL[1:]:
        bench.receive(view)
        bench.judge_next(result(0.1))
    bench.receive("RCC")
    before = bench.judge_next(unassessed(Reason.INTEGRITY_FAILED))
    assert (before.flag, before.reasons) == (Flag.NOT_ASSESSED, (Reason.INTEGRITY_FAILED,))
    (event,) = bench.said("event")
    assert (event["event"], "send the image again" in event["detail"]) == ("integrity_failed", True)
    again = bench.receive("RCC", path="/spool/again.dcm")
    assert (again.receipt, again.instead_of) == (Receipt.STORED, "/spool/RCC1.dcm")
    assert path_of_next(bench) == "/spool/again.dcm"
    after = bench.judge_next(result(0.9))
    assert (after.flag, after.final, len(after.images)) == (Flag.PRIORITY, True, 4)


@pytest.mark.parametrize("kept", [None, b"hal"], ids=["gone", "cut"])
def test_the_same_image_again_stands_in_for_a_file_that_is_gone_or_cut(bench, tmp_path, kept):
    """It waits for the worker still: the new file is the one that is judged."""
    spooled = tmp_path / "a.dcm"
    spooled.write_bytes(b"whole")
    bench.receive("RCC", path=str(spooled), size_bytes=5)
    assert bench.receive("RCC", path="/b.dcm", size_bytes=5).receipt is Receipt.KNOWN
    spooled.unlink() if kept is None else spooled.write_bytes(kept)
    again = bench.receive("RCC", path="/b.dcm", size_bytes=5)
    assert (again.receipt, again.instead_of) == (Receipt.STORED, str(spooled))
    assert path_of_next(bench) == "/b.dcm"
    bench.judge_next(result(0.2))
    assert [image.outcome.score for image in images(bench)] == [0.2]


@pytest.mark.parametrize("reason", [Reason.UNREADABLE, Reason.PROCESSING_FAILED])
def test_what_failed_for_want_of_its_file_is_tried_with_a_whole_one(bench, tmp_path, reason):
    """As older versions said it, or after a cut that took workers down; not while it is whole."""
    spooled = tmp_path / "a.dcm"
    spooled.write_bytes(b"whole")
    bench.receive("RCC", path=str(spooled), size_bytes=5)
    bench.judge_next(unassessed(reason))
    assert bench.receive("RCC", path="/b.dcm", size_bytes=5).receipt is Receipt.KNOWN
    spooled.write_bytes(b"wh")
    assert bench.receive("RCC", path="/b.dcm", size_bytes=5).receipt is Receipt.STORED
    assert path_of_next(bench) == "/b.dcm"


@pytest.mark.parametrize("outcome", [result(0.1), unassessed(Reason.NO_BREAST)])
def test_an_image_that_was_judged_needs_its_file_no_more(bench, outcome):
    """Known, though nothing is left of it in the spool."""
    bench.receive("RCC")
    bench.judge_next(outcome)
    assert bench.receive("RCC").receipt is Receipt.KNOWN
    assert bench.next_job() is None


def test_a_twin_is_judged_where_the_first_file_was_lost(bench):
    """The unit's own object of a frame whose file is another by now."""
    bench.receive("RCC", sha="1", source="frames")
    bench.receive("RCC", sha="2", source="dicom")
    bench.judge_next(unassessed(Reason.INTEGRITY_FAILED))
    assert path_of_next(bench) == "/spool/RCC2.dcm"


# --- too many images -----------------------------------------------------------------------------


def fill(bench, count, outcome):
    """So many images of the four views in turn, each judged."""
    for number in range(count):
        bench.receive(ALL[number % 4], sop=f"1.2.3.{number + 10}")
        if bench.next_job() is not None:
            bench.judge_next(outcome)


def test_beyond_the_limit_images_are_kept_and_not_judged(bench):
    """Eight are judged; the ninth and tenth are on record, in the spool, and said once."""
    fill(bench, 10, result(0.1))
    assert len(images(bench)) == 8
    assert bench.ledger.transact(lambda tx: tx.arrivals.surplus(STUDY)) == 2
    assert bench.ledger.transact(lambda tx: tx.jobs_open()) == 0
    (event,) = bench.said("event")
    assert event["event"] == "too_many_images"
    assert "8" in event["detail"]


def test_an_exam_with_images_that_nobody_looked_at_is_not_none(bench):
    """All expected views are low: `not_assessed`, with the reason and how many it omits."""
    fill(bench, 8, result(0.1))
    assert bench.said("exam")[-1]["flag"] == "none"
    fill(bench, 9, result(0.1))
    last = bench.said("exam")[-1]
    assert (last["flag"], last["reasons"]) == ("not_assessed", ["too_many_images"])
    assert (last["final"], last["views_omitted"]) == (True, 1)


def test_a_priority_stays_one_beyond_the_limit(bench):
    """More images take no flag back."""
    fill(bench, 9, result(0.9))
    last = bench.said("exam")[-1]
    assert (last["flag"], last["views_omitted"]) == ("priority", 1)


def test_what_comes_beyond_the_limit_costs_no_revision(bench):
    """One revision says it; however many follow are a row each."""
    fill(bench, 9, result(0.1))
    revisions = len(bench.said("exam"))
    fill(bench, 24, result(0.1))
    assert len(bench.said("exam")) == revisions


def test_an_exam_beyond_its_limit_is_closed_and_forgotten_as_any_other(bench):
    """The unit's word ends it; retention takes rows and files."""
    fill(bench, 10, result(0.1))
    bench.notices.close_exam(STUDY, Completion.EXAM_CLOSED)
    assert json.loads(bench.ledger.waiting(1000)[-1].payload)["final"] is True
    bench.now_ms += 1
    assert len(bench.ledger.transact(lambda tx: tx.spooled_before(bench.now_ms))) == 10
    assert bench.ledger.transact(forget_exams, bench.now_ms) == 1
    assert bench.ledger.transact(lambda tx: tx.arrivals.surplus(STUDY)) == 0


def test_conflicting_copies_do_not_count_towards_the_limit(bench):
    """The same image with ever other bytes fills no exam."""
    bench.receive("RCC", sha="0")
    bench.judge_next(result(0.1))
    for sha in "123456789abc":
        assert bench.receive("RCC", sha=sha).receipt is Receipt.CONFLICT
        bench.compare_next()
    assert bench.receive("LCC").receipt is Receipt.STORED
    assert isinstance(bench.judge_next(unassessed()).images[1].outcome, NotAssessed)


def test_an_unknown_term_of_image_type_is_an_event_that_names_it_once_in_an_exam(bench):
    """The term alone: so that the site can ask the vendor, and release it."""
    unknown = {"kind": ImageKind.OTHER, "kind_detail": "Image Type value 3 PHOTON_COUNTED"}
    for view in ("RCC", "LCC"):
        bench.receive(view, **unknown, image_terms=("PHOTON_COUNTED",))
    bench.receive("RMLO", **unknown, image_terms=("WIDE_ANGLE",))
    bench.receive("LMLO", **(unknown | {"kind_detail": "Image Type value 3 TOMO"}))
    events = bench.said("event")
    assert [event["event"] for event in events] == ["unknown_image_type"] * 2
    assert [event["data"] for event in events] == [
        {"terms": "PHOTON_COUNTED"},
        {"terms": "WIDE_ANGLE"},
    ]
    assert events[0]["detail"] == "Image Type value 3 PHOTON_COUNTED"
    assert "1.2.3" not in str(events)


def test_a_term_that_is_released_is_no_event(tmp_path):
    """`accept_image_types` of the package or of the unit's settings."""
    released = Bench(tmp_path)
    active = released.registration._active
    accepting = replace(active, manifest=active.manifest.accepting(("PHOTON_COUNTED",)))
    released.registration._active = accepting
    released.receive("RCC", kind=ImageKind.OTHER, image_terms=("PHOTON_COUNTED",))
    assert released.said("event") == []
    released.ledger.close()
