"""An exam's life: what completes it, and which revisions leave."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from runtime.exam_rules.exam_flag import Completion, Role
from runtime.exam_rules.state_machine import (
    EXAM_LIFE,
    Exam,
    ExamEvent,
    ExamRules,
    Phase,
    completion,
    image_received,
    outcome_recorded,
    revise,
    role_of,
    timeout_due_ms,
)
from runtime.image.header import PresentationIntent
from runtime.image.outcome import Flag
from tests.support.builders import header, image, result, unassessed

ALL = ("RCC", "LCC", "RMLO", "LMLO")
RULES = ExamRules(expected_views=ALL, idle_timeout_ms=60_000, exam_rule="max_view")
EXAM = Exam(study_instance_uid="1.2.3")


def four(outcome):
    """The four standard views with one outcome."""
    return [image(code, outcome, image_id=n) for n, code in enumerate(ALL)]


def test_the_table_has_every_event_in_every_phase():
    """No event can come to an exam for which the table has no answer."""
    assert set(EXAM_LIFE) == set(product(Phase, ExamEvent))


def test_expected_views_complete_an_exam_even_if_one_is_unreadable():
    """Four settled views finish the exam at once; the technologist need not wait to hear of it."""
    images = [*four(result(0.1))[:3], image("LMLO", unassessed(), image_id=9)]
    exam, flag = revise(EXAM, images, RULES, 5)
    assert (exam.phase, flag.completed_by) == (Phase.FINAL, Completion.EXPECTED_VIEWS)
    assert (flag.final, flag.flag) == (True, Flag.NOT_ASSESSED)


def test_an_image_at_the_worker_keeps_the_exam_open():
    """Nothing is final while an image waits, whoever says that the exam is over."""
    images = [*four(result(0.1)), image("RCC", None, image_id=9)]
    assert completion(replace(EXAM, closed_by=Completion.MPPS), images, RULES) is None


@pytest.mark.parametrize(
    ("exam", "images", "expected"),
    [
        (
            replace(EXAM, closed_by=Completion.EXAM_CLOSED, timed_out=True),
            four(result(0.1)),
            Completion.EXAM_CLOSED,
        ),
        (replace(EXAM, closed_by=Completion.MPPS), four(result(0.1)), Completion.MPPS),
        (replace(EXAM, timed_out=True), four(result(0.1)), Completion.EXPECTED_VIEWS),
        (replace(EXAM, timed_out=True), four(result(0.1))[:2], Completion.TIMEOUT),
        (EXAM, four(result(0.1))[:2], None),
    ],
)
def test_order_of_what_completes(exam, images, expected):
    """The unit's word first, then the expected views, then the clock."""
    assert completion(exam, images, RULES) == expected


def test_additional_views_do_not_settle_an_expected_one():
    """A magnification view of R CC does not stand for R CC."""
    images = [
        *four(result(0.1))[1:],
        image("RCC", unassessed(), role=Role.ADDITIONAL, image_id=9),
    ]
    assert completion(EXAM, images, RULES) is None


def test_a_late_view_reopens_a_final_exam_with_a_new_revision():
    """The technologist retakes one: the flag that was final is superseded by number."""
    exam, first = revise(EXAM, four(result(0.1)), RULES, 1)
    exam = image_received(exam, 2)
    assert exam.phase is Phase.COLLECTING
    exam, second = revise(
        outcome_recorded(exam),
        [*four(result(0.1)), image("RCC", result(0.9), image_id=9)],
        RULES,
        3,
    )
    assert (first.revision, second.revision) == (1, 2)
    assert (first.flag, second.flag, second.final) == (Flag.NONE, Flag.PRIORITY, True)


def test_the_time_out_counts_from_the_last_image():
    """Each image starts the clock again; a final exam has none."""
    exam = image_received(EXAM, 1_000)
    assert timeout_due_ms(exam, RULES) == 61_000
    assert timeout_due_ms(image_received(exam, 5_000), RULES) == 65_000
    assert timeout_due_ms(replace(exam, phase=Phase.FINAL), RULES) is None


@pytest.mark.parametrize(
    ("changes", "accepted", "role"),
    [
        ({}, True, Role.EXPECTED),
        ({"modifiers": ("399163009",)}, True, Role.ADDITIONAL),
        ({"tomosynthesis": True}, True, Role.ADDITIONAL),
        ({"quality_control": True}, True, Role.ADDITIONAL),
        ({"intent": PresentationIntent.FOR_PROCESSING}, False, Role.ADDITIONAL),
        ({"implant": True}, True, Role.EXPECTED),
        ({"laterality": None}, True, Role.ADDITIONAL),
    ],
)
def test_roles(changes, accepted, role):
    """Only an unmodified image of an expected view settles it."""
    assert role_of(header("RCC", **changes), ALL, intent_accepted=accepted) is role
