"""What the unit says about its own exams: retakes, narrowed views, performed procedure steps."""

from __future__ import annotations

import pytest

from runtime.exam_rules.exam_flag import Completion
from runtime.exam_rules.procedure_step import StepAnswer, StepBegun, StepEnded, StepState
from runtime.image.outcome import Flag
from tests.runtime.exams.test_exam_service import ALL, Bench
from tests.support.builders import forget_exams, result

STUDY = "1.2.3"
FIRST, RETAKE, THIRD = "1.2.3.501", "1.2.3.502", "1.2.3.503"


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.ledger.close()


def take(bench, view, score, **named):
    """One exposure, received and judged."""
    bench.receive(view, **named)
    return bench.judge_next(result(score))


def others(bench, score=0.1):
    """The three views beside R CC."""
    for view in ALL[1:]:
        take(bench, view, score)


def begun(step="9.1", **changes):
    facts = {"step_uid": step, "study_instance_uid": STUDY, "mammography": True}
    return StepBegun(**(facts | changes))


def ended(step="9.1", state=StepState.COMPLETED, **more):
    return StepEnded(step_uid=step, state=state, **more)


def test_a_rejected_image_is_superseded_by_its_retake(bench):
    """High and rejected, low and retaken: `none`, and the first image stays on record."""
    take(bench, "RCC", 0.9, sop=FIRST)
    others(bench)
    bench.notices.reject_image(STUDY, FIRST, detail="motion")
    flag = take(bench, "RCC", 0.1, sop=RETAKE)
    assert (flag.flag, flag.final, flag.score) == (Flag.NONE, True, 0.1)
    entries = {view["image_key"]: view for view in bench.said("exam")[-1]["views"]}
    assert len(entries) == 5
    (superseded,) = (view for view in entries.values() if view["role"] == "superseded")
    assert superseded["score"] == 0.9
    assert entries[superseded["superseded_by"]]["score"] == 0.1
    repeat = bench.said("event")[-1]
    assert (repeat["event"], repeat["detail"]) == ("repeat", "motion")
    assert repeat["image_key"] == superseded["image_key"]


def test_two_images_of_one_view_without_a_rejection_both_count(bench):
    """A mosaic, or a unit that does not say: the higher score stands."""
    take(bench, "RCC", 0.9, sop=FIRST)
    others(bench)
    flag = take(bench, "RCC", 0.1, sop=RETAKE)
    assert (flag.flag, flag.score) == (Flag.PRIORITY, 0.9)


def test_a_rejection_that_comes_after_the_retake_revises_the_flag(bench):
    """The note may come last: the final flag is replaced by a later revision at once."""
    take(bench, "RCC", 0.9, sop=FIRST)
    others(bench)
    before = take(bench, "RCC", 0.1, sop=RETAKE)
    assert bench.notices.reject_image(STUDY, FIRST) is True
    after = bench.said("exam")[-1]
    assert (before.flag, after["flag"], after["final"]) == (Flag.PRIORITY, "none", True)
    assert after["revision"] == before.revision + 1
    assert bench.said("view")[-1]["superseded_by"] is not None


def test_a_rejection_that_outruns_its_image_is_remembered(bench):
    """The unit rejects before it sends: nothing is lost."""
    bench.notices.reject_image(STUDY, FIRST)
    take(bench, "RCC", 0.9, sop=FIRST)
    others(bench)
    assert take(bench, "RCC", 0.1, sop=RETAKE).flag is Flag.NONE


def test_a_rejected_image_without_a_retake_cannot_make_an_exam_none(bench):
    """Rejected and never retaken: not assessed, never silently normal."""
    take(bench, "RCC", 0.1, sop=FIRST)
    others(bench)
    bench.notices.reject_image(STUDY, FIRST)
    flag = bench.said("exam")[-1]
    assert (flag["flag"], flag["final"], flag["missing_views"]) == ("not_assessed", False, ["rcc"])
    bench.now_ms += 60_000
    bench.exam_service.time_out_idle()
    last = bench.said("exam")[-1]
    assert (last["flag"], last["completed_by"]) == ("not_assessed", "timeout")


def test_a_rejected_image_raises_the_flag_until_its_retake_is_here(bench):
    """What looked suspicious stays so while there is nothing better to look at."""
    take(bench, "RCC", 0.9, sop=FIRST)
    others(bench)
    bench.notices.reject_image(STUDY, FIRST)
    assert bench.said("exam")[-1]["flag"] == "priority"


def test_a_retake_of_a_retake_stands_for_both(bench):
    """Rejected twice: the third image is the one that counts."""
    take(bench, "RCC", 0.9, sop=FIRST)
    bench.notices.reject_image(STUDY, FIRST)
    take(bench, "RCC", 0.8, sop=RETAKE)
    bench.notices.reject_image(STUDY, RETAKE)
    others(bench)
    flag = take(bench, "RCC", 0.1, sop=THIRD)
    assert (flag.flag, flag.score) == (Flag.NONE, 0.1)


def test_a_named_retake_is_the_one_that_counts(bench):
    """The unit says which image replaces which: another later one of the view does not."""
    take(bench, "RCC", 0.9, sop=FIRST)
    bench.notices.reject_image(STUDY, FIRST, retake_uid=THIRD)
    others(bench)
    assert take(bench, "RCC", 0.1, sop=RETAKE).flag is Flag.PRIORITY
    assert take(bench, "RCC", 0.2, sop=THIRD).flag is Flag.NONE


def test_the_same_rejection_again_says_nothing_new(bench):
    """A unit that repeats itself makes one event and one revision."""
    take(bench, "RCC", 0.9, sop=FIRST)
    assert bench.notices.reject_image(STUDY, FIRST) is True
    said = len(bench.said())
    assert bench.notices.reject_image(STUDY, FIRST) is False
    assert len(bench.said()) == said


def test_a_rejection_survives_a_restart(tmp_path):
    """What the unit said is in the ledger, not in memory."""
    bench = Bench(tmp_path)
    take(bench, "RCC", 0.9, sop=FIRST)
    bench.notices.reject_image(STUDY, FIRST)
    bench.ledger.close()
    again = Bench(tmp_path)
    others(again)
    assert take(again, "RCC", 0.1, sop=RETAKE).flag is Flag.NONE
    again.ledger.close()


def test_a_one_sided_exam_is_complete_with_its_own_views(bench):
    """After a mastectomy the unit takes two views: both low is `none`, not "views missing"."""
    bench.notices.narrow_views(STUDY, ("LCC", "LMLO"))
    take(bench, "LCC", 0.1)
    flag = take(bench, "LMLO", 0.1)
    assert (flag.flag, flag.final, flag.completed_by) == (
        Flag.NONE,
        True,
        Completion.EXPECTED_VIEWS,
    )


def test_a_view_beyond_the_narrowed_ones_still_counts(bench):
    """A right view after all, and suspicious: the flag says so."""
    bench.notices.narrow_views(STUDY, ("LCC", "LMLO"))
    for view in ("LCC", "LMLO"):
        take(bench, view, 0.1)
    assert take(bench, "RCC", 0.9).flag is Flag.PRIORITY


@pytest.mark.parametrize("views", [(), ("LML",)])
def test_no_word_narrows_an_exam_to_nothing(bench, views):
    """An exam of which nothing is expected would be `none` with nothing judged."""
    bench.notices.narrow_views(STUDY, views)
    flag = take(bench, "LCC", 0.1)
    assert (flag.flag, len(flag.missing_views)) == (Flag.NOT_ASSESSED, 3)


@pytest.mark.parametrize("state", [StepState.COMPLETED, StepState.DISCONTINUED])
def test_the_end_of_the_procedure_step_closes_the_exam(bench, state):
    """COMPLETED or DISCONTINUED after two views: final at once, the others are named."""
    notices = bench.notices
    assert notices.begin_step(begun()) is StepAnswer.TAKEN
    for view in ALL[:2]:
        take(bench, view, 0.1)
    assert notices.end_step(ended(state=state)) is StepAnswer.TAKEN
    flag = bench.said("exam")[-1]
    assert (flag["final"], flag["completed_by"]) == (True, "mpps")
    assert flag["missing_views"] == ["rmlo", "lmlo"]


def test_an_exam_waits_for_the_images_that_its_step_lists(bench):
    """MPPS travels faster than pixels: no final flag before the last listed image is judged."""
    notices = bench.notices
    notices.begin_step(begun(views=("LCC", "LMLO")))
    take(bench, "LCC", 0.1, sop=FIRST)
    notices.end_step(ended(images=(FIRST, RETAKE, THIRD)))
    assert bench.said("exam")[-1]["final"] is False
    take(bench, "LCC", 0.1, sop=RETAKE)
    assert bench.said("exam")[-1]["final"] is False
    flag = take(bench, "LMLO", 0.9, sop=THIRD)
    assert (flag.final, flag.completed_by, flag.flag) == (True, Completion.MPPS, Flag.PRIORITY)


def test_listed_images_that_never_come_do_not_hold_the_flag_for_ever(bench):
    """The idle time-out ends an exam whose images were announced and not sent."""
    bench.notices.begin_step(begun())
    take(bench, "LCC", 0.1, sop=FIRST)
    bench.notices.end_step(ended(images=(FIRST, RETAKE)))
    bench.now_ms += 60_000
    bench.exam_service.time_out_idle()
    flag = bench.said("exam")[-1]
    assert (flag["final"], flag["completed_by"]) == (True, "timeout")


def test_exam_closed_is_stronger_than_what_a_step_lists(bench):
    """The firmware's own word ends an exam whose step listed an image that never came."""
    bench.notices.begin_step(begun())
    take(bench, "LCC", 0.1, sop=FIRST)
    bench.notices.end_step(ended(images=(FIRST, RETAKE)))
    flag = bench.notices.close_exam(STUDY, Completion.EXAM_CLOSED)
    assert (flag.final, flag.completed_by) == (True, Completion.EXAM_CLOSED)


def test_an_exam_of_two_steps_is_closed_by_the_later_end(bench):
    """Screening, then an additional step in the same study: one end does not close the other."""
    notices = bench.notices
    notices.begin_step(begun("9.1"))
    notices.begin_step(begun("9.2"))
    take(bench, "LCC", 0.1)
    notices.end_step(ended("9.1"))
    assert bench.said("exam")[-1]["final"] is False
    notices.end_step(ended("9.2"))
    assert bench.said("exam")[-1]["completed_by"] == "mpps"


def test_a_step_of_another_modality_closes_nothing(bench):
    """Ultrasound in the same study is acknowledged, and says nothing about the mammograms."""
    notices = bench.notices
    notices.begin_step(begun(mammography=False, views=("LCC",)))
    take(bench, "LCC", 0.1)
    assert notices.end_step(ended()) is StepAnswer.TAKEN
    flag = bench.said("exam")[-1]
    assert (flag["final"], len(flag["missing_views"])) == (False, 3)


def test_steps_are_known_once_and_end_once(bench):
    """Twice begun, never begun, ended again: each is said."""
    notices = bench.notices
    assert notices.end_step(ended()) is StepAnswer.UNKNOWN
    assert notices.begin_step(begun()) is StepAnswer.TAKEN
    assert notices.begin_step(begun()) is StepAnswer.DUPLICATE
    assert notices.end_step(ended()) is StepAnswer.TAKEN
    assert notices.end_step(ended(state=StepState.DISCONTINUED)) is StepAnswer.ENDED


def test_a_view_after_the_end_reopens_with_a_new_revision(bench):
    """A late view: the final flag is superseded by number, and final again."""
    notices = bench.notices
    notices.begin_step(begun(views=("LCC", "LMLO")))
    for view in ("LCC", "LMLO"):
        take(bench, view, 0.1)
    notices.end_step(ended())
    first = bench.said("exam")[-1]
    second = take(bench, "LCC", 0.9, sop=THIRD)
    assert (first["flag"], first["final"]) == ("none", True)
    assert (second.flag, second.final) == (Flag.PRIORITY, True)
    assert second.revision > first["revision"]


def test_what_the_unit_said_is_forgotten_with_its_exam(bench):
    """Retention takes the unit's words with the records of the exam."""
    notices = bench.notices
    notices.begin_step(begun(views=ALL))
    notices.reject_image(STUDY, RETAKE)
    for view in ALL:
        take(bench, view, 0.1)
    notices.end_step(ended(images=(FIRST,)))
    later = bench.now_ms + 1
    bench.ledger.transact(forget_exams, later)
    assert bench.ledger.transact(
        lambda tx: (
            tx.notices.step("9.1"),
            tx.notices.rejections(STUDY),
            tx.notices.narrowed_views(STUDY),
            tx.notices.images_missing(STUDY),
        )
    ) == (None, {}, (), False)
