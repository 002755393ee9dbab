"""The truth table of the clinic rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.exam_rules.exam_flag import Role
from runtime.exam_rules.triage_rules import exam_score, judge_exam
from runtime.image.outcome import Flag
from runtime.image.reasons import Reason
from tests.support.builders import MODEL, image, result, unassessed

ALL = ("RCC", "LCC", "RMLO", "LMLO")
LOW, HIGH = 0.1, 0.9


def views(**outcomes):
    """An image for each named view; `None` stands for one that waits for the worker."""
    return [image(code, outcome, image_id=n) for n, (code, outcome) in enumerate(outcomes.items())]


FOUR_LOW = {code: result(LOW) for code in ALL}

# what | images | complete | flag | reasons | missing
TABLE = [
    ("four low views", views(**FOUR_LOW), True, Flag.NONE, (), ()),
    ("one high of four", views(**(FOUR_LOW | {"LCC": result(HIGH)})), True, Flag.PRIORITY, (), ()),
    (
        "exactly at the threshold",
        views(**(FOUR_LOW | {"LCC": result(0.5)})),
        True,
        Flag.PRIORITY,
        (),
        (),
    ),
    (
        "one unreadable of four, the rest low",
        views(**(FOUR_LOW | {"RMLO": unassessed(Reason.UNDECODABLE)})),
        True,
        Flag.NOT_ASSESSED,
        (Reason.UNDECODABLE,),
        ("RMLO",),
    ),
    (
        "one unreadable of four, another high",
        views(**(FOUR_LOW | {"RMLO": unassessed(), "LCC": result(HIGH)})),
        True,
        Flag.PRIORITY,
        (),
        ("RMLO",),
    ),
    (
        "three low, one never came",
        views(RCC=result(LOW), LCC=result(LOW), RMLO=result(LOW)),
        True,
        Flag.NOT_ASSESSED,
        (Reason.VIEW_NOT_RECEIVED,),
        ("LMLO",),
    ),
    (
        "three low, one may still come",
        views(RCC=result(LOW), LCC=result(LOW), RMLO=result(LOW)),
        False,
        Flag.NOT_ASSESSED,
        (Reason.AWAITING_VIEWS,),
        ("LMLO",),
    ),
    (
        "one high, three may still come",
        views(RCC=result(HIGH)),
        False,
        Flag.PRIORITY,
        (),
        ("LCC", "RMLO", "LMLO"),
    ),
    ("nothing at all", [], True, Flag.NOT_ASSESSED, (Reason.VIEW_NOT_RECEIVED,), ALL),
    (
        "four low and an unassessed magnification view beside them",
        [
            *views(**FOUR_LOW),
            image(
                "RCC",
                unassessed(Reason.UNSUPPORTED_MODIFIER),
                role=Role.ADDITIONAL,
                image_id=9,
            ),
        ],
        True,
        Flag.NONE,
        (),
        (),
    ),
    (
        "a view that came only For Processing",
        [
            *views(RCC=result(LOW), LCC=result(LOW), RMLO=result(LOW)),
            image("LMLO", unassessed(Reason.FOR_PROCESSING), role=Role.ADDITIONAL, image_id=9),
        ],
        True,
        Flag.NOT_ASSESSED,
        (Reason.FOR_PROCESSING,),
        ("LMLO",),
    ),
    (
        "a judged twin stands in for an unreadable image of the same view",
        [*views(**FOUR_LOW), image("RCC", unassessed(), image_id=9)],
        True,
        Flag.NONE,
        (),
        (),
    ),
    (
        "mosaic: the higher of two images of one view counts",
        [*views(**FOUR_LOW), image("RCC", result(HIGH), image_id=9)],
        True,
        Flag.PRIORITY,
        (),
        (),
    ),
    (
        "a rejected and retaken image does not count",
        [
            *views(**FOUR_LOW),
            image("RCC", result(HIGH), role=Role.SUPERSEDED, image_id=9, superseded_by=0),
        ],
        True,
        Flag.NONE,
        (),
        (),
    ),
    (
        "a high additional view is priority",
        [*views(**FOUR_LOW), image("RML", result(HIGH), role=Role.ADDITIONAL, image_id=9)],
        True,
        Flag.PRIORITY,
        (),
        (),
    ),
    (
        "an implant exam",
        views(**dict.fromkeys(ALL, unassessed(Reason.IMPLANT))),
        True,
        Flag.NOT_ASSESSED,
        (Reason.IMPLANT,),
        ALL,
    ),
    (
        "laterality unknown explains the view that is missing",
        [
            *views(RCC=result(LOW), RMLO=result(LOW), LMLO=result(LOW)),
            image("?CC", unassessed(Reason.LATERALITY_MISSING), role=Role.ADDITIONAL, image_id=9),
        ],
        True,
        Flag.NOT_ASSESSED,
        (Reason.LATERALITY_MISSING, Reason.VIEW_NOT_RECEIVED),
        ("LCC",),
    ),
]


@pytest.mark.parametrize(
    ("images", "complete", "flag", "reasons", "missing"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_truth_table(images, complete, flag, reasons, missing):
    """Each row of the clinic's rules gives its flag, its reasons and its missing views."""
    verdict = judge_exam(images, ALL, "max_view", complete=complete)
    assert (verdict.flag, verdict.reasons, verdict.missing_views) == (flag, reasons, missing)


def test_a_change_of_model_takes_no_priority_back():
    """A low late view, judged by a model with a higher threshold, changes nothing."""
    older = replace(MODEL, threshold=0.3, version="0.9.0")
    high = replace(result(0.4), flag=Flag.PRIORITY, model=older)
    images = views(**(FOUR_LOW | {"RCC": high}))
    for rule in ("max_view", "mean_of_views_then_max_of_breasts"):
        rows = images if rule == "max_view" else [*images[:2], image("RMLO", high, image_id=7)]
        verdict = judge_exam(rows, ALL, rule, complete=True)
        assert verdict.flag is Flag.PRIORITY, rule


def test_no_unjudged_exam_is_ever_none():
    """Whatever is not judged, the flag is not `none`: silence never means normal."""
    for row in TABLE:
        verdict = judge_exam(row[1], ALL, "max_view", complete=row[2])
        if verdict.missing_views:
            assert verdict.flag is not Flag.NONE, row[0]


@pytest.mark.parametrize(
    ("rule", "scores", "expected"),
    [
        ("max_view", [("RCC", 0.2), ("LCC", 0.7)], 0.7),
        ("mean_of_views_then_max_of_breasts", [("RCC", 0.2), ("RMLO", 0.6), ("LCC", 0.3)], 0.4),
        ("mean_of_views_then_max_of_breasts", [("RCC", 0.2), ("RCC", 0.6), ("RMLO", 0.2)], 0.4),
        ("direct", [("RCC", 0.3), ("LCC", 0.3)], 0.3),
        ("max_view", [], None),
    ],
)
def test_exam_rules(rule, scores, expected):
    """View scores become the exam's score by the rule; doubles count once, the higher."""
    score = exam_score(scores, rule)
    assert score == (None if expected is None else pytest.approx(expected))
