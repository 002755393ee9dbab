"""Prediction -> view result; views -> exam flag. Pure rules that come from the clinic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.exam_rules.exam_flag import ExamImage, Role
from runtime.image.outcome import Execution, Flag, ModelRef, NotAssessed, ViewResult
from runtime.image.reasons import Reason, Remark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.manifest import Triage
    from runtime.image.header import Laterality
    from runtime.image.prediction import Prediction


def suspicion(prediction: Prediction, triage: Triage, laterality: Laterality | None) -> float:
    """The suspicion score (0-1) for an image of that breast.

    A model with one suspicion output for each breast gives the image its own breast's score.
    """
    return max(
        prediction.scores[output.score]
        for output in triage.suspicion
        if output.laterality is None or output.laterality == laterality
    )


def judge(
    prediction: Prediction,
    triage: Triage,
    model: ModelRef,
    laterality: Laterality | None,
    remarks: tuple[Remark, ...] = (),
) -> ViewResult:
    """The result for one judged image: at or above the operating point's threshold is priority.

    Nothing but a package of the role triage has a `Triage`: no other can get a flag.
    """
    score = suspicion(prediction, triage, laterality)
    return ViewResult(
        score=score,
        flag=Flag.PRIORITY if score >= model.threshold else Flag.NONE,
        model=model,
        execution=prediction.execution,
        scores=prediction.scores,
        remarks=remarks,
    )


@dataclass(frozen=True, kw_only=True)
class ExamVerdict:
    """What the images of an exam come to."""

    flag: Flag
    score: float | None
    reasons: tuple[Reason, ...]
    missing_views: tuple[str, ...]
    model: ModelRef | None
    execution: Execution | None


def exam_score(images: Iterable[tuple[str, float]], rule: str) -> float | None:
    """The exam's suspicion from (view code, score) pairs, by the manifest's `exam_rule`.

    Two images of one view count with the higher score (mosaic views).
    """
    by_view: dict[str, float] = {}
    for view_code, score in images:
        by_view[view_code] = max(score, by_view.get(view_code, 0.0))
    if not by_view:
        return None
    if rule == "mean_of_views_then_max_of_breasts":
        breasts: dict[str, list[float]] = {}
        for view_code, score in by_view.items():
            breasts.setdefault(view_code[0], []).append(score)
        return max(sum(scores) / len(scores) for scores in breasts.values())
    return max(by_view.values())


def judge_exam(
    images: Sequence[ExamImage],
    expected_views: Sequence[str],
    rule: str,
    *,
    complete: bool,
    surplus: bool = False,
    two_patients: bool = False,
) -> ExamVerdict:
    """The truth table of the clinic rules (architecture, rule 1).

    `priority` if the judged images cross the threshold; otherwise `none` only if every expected
    view has a judged image; otherwise `not_assessed`, with the reasons. While the exam is not
    complete, an open view is a reason (`awaiting_views`), not a fault. An exam with images beyond
    its limit (`surplus`) is never `none`: nobody looked at those. Images of `two_patients` have no
    flag together, whatever each of them shows.
    """
    counted = [image for image in images if image.role is not Role.SUPERSEDED]
    judged = [(image, image.outcome) for image in counted if isinstance(image.outcome, ViewResult)]
    seen = {image.view_code for image, _ in judged if not image.rejected}
    missing = tuple(view for view in expected_views if view not in seen)
    newest = max(judged, key=lambda pair: pair[0].image_id, default=None)
    model = newest[1].model if newest else None
    execution = newest[1].execution if newest else None
    score = exam_score(((image.view_code, result.score) for image, result in judged), rule)
    reasons: tuple[Reason, ...] = ()
    if two_patients:
        flag, score = Flag.NOT_ASSESSED, None
        reasons = (Reason.IDENTITY_CONFLICT, *_why_not(counted, missing, complete=complete))
    elif _crosses([result for _, result in judged], score, rule):
        flag = Flag.PRIORITY
    elif not missing and not surplus:
        flag = Flag.NONE
    else:
        flag = Flag.NOT_ASSESSED
        reasons = _why_not(counted, missing, complete=complete)
        reasons += (Reason.TOO_MANY_IMAGES,) if surplus else ()
    return ExamVerdict(
        flag=flag,
        score=score,
        reasons=reasons,
        missing_views=missing,
        model=model,
        execution=execution,
    )


def _crosses(results: Sequence[ViewResult], score: float | None, rule: str) -> bool:
    """Whether the judged images cross the threshold.

    Each image was compared with the threshold of the model that judged it. Only the mean of a
    breast's views is compared here; by the lowest threshold if the model changed between views,
    so that a change of model never takes a `priority` back.
    """
    if rule == "mean_of_views_then_max_of_breasts":
        return score is not None and score >= min(result.model.threshold for result in results)
    return any(result.flag is Flag.PRIORITY for result in results)


def _why_not(
    images: Sequence[ExamImage], missing: tuple[str, ...], *, complete: bool
) -> tuple[Reason, ...]:
    """The reasons of the images that would have shown a missing view, in order of arrival."""
    reasons: dict[Reason, None] = {}
    explained: set[str] = set()
    for image in images:
        outcome = image.outcome
        if not isinstance(outcome, NotAssessed):
            continue
        if image.view_code in missing or "?" in image.view_code:
            explained.add(image.view_code)
            reasons.update(dict.fromkeys(outcome.reasons))
    if any(view not in explained for view in missing):
        reasons[Reason.VIEW_NOT_RECEIVED if complete else Reason.AWAITING_VIEWS] = None
    return tuple(reasons)
