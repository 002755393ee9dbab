"""A package on labelled images, through the runtime's own preparation and engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from converters.evaluation.discrimination import Auc, ScoreTally, wilson
from converters.evaluation.inference_on_labelled import LabelledInference
from converters.labelled.lesions import PeakTally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from converters.labelled.reading_options import EvaluationOptions
    from converters.labelled.scored_subject import ScoredSubject
    from models.manifest import Manifest, OperatingPoint
    from runtime.image.prediction import Engine

PACKAGE = "package"
MAXIMUM_SUBGROUPS = 64
"""Of all columns together: beyond, the column with the most values (a date, a path) makes none."""


@dataclass(frozen=True, kw_only=True)
class AtPoint:
    """What an operating point gave, over the assessed images."""

    point: OperatingPoint
    sensitivity: float | None
    sensitivity_ci95: tuple[float, float] | None
    specificity: float | None
    specificity_ci95: tuple[float, float] | None


@dataclass(kw_only=True)
class Evaluation:
    """The tally of an evaluation, grown image by image; its size does not depend on theirs."""

    overall: ScoreTally = field(default_factory=ScoreTally)
    peaks: PeakTally
    by: dict[str, ScoreTally] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    """Not-assessed images by the first reason's code."""
    too_many: set[str] = field(default_factory=set)
    """Columns left out, with all that they had, because they have too many values."""
    _values: dict[str, list[str]] = field(default_factory=dict, init=False)
    """The subgroups of each column so far."""

    def add(self, subject: ScoredSubject, score: float | None, reason: str = "") -> None:
        """Count one subject; `score` None and a reason's code where it was not assessed."""
        self.overall.add(positive=subject.positive, score=score)
        if score is None:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        for level, group in enumerate(subject.subgroups, start=1):
            # Names of folders have no column: those of one level stand in one.
            column = group.partition("=")[0] if "=" in group else f"folder {level}"
            if self._counts(column, group):
                self.by[group].add(positive=subject.positive, score=score)

    def _counts(self, column: str, group: str) -> bool:
        """Whether the column makes subgroups still; a new one of its may be one too many."""
        if column in self.too_many:
            return False
        if group not in self.by:
            self.by[group] = ScoreTally()
            self._values.setdefault(column, []).append(group)
        if len(self.by) > MAXIMUM_SUBGROUPS:
            most = max(self._values, key=lambda name: len(self._values[name]))
            self.too_many.add(most)
            for value in self._values.pop(most):
                del self.by[value]
        return group in self.by

    def at(self, point: OperatingPoint) -> AtPoint:
        """Sensitivity and specificity of an operating point with Wilson's intervals."""
        return at_point(self.overall, point)

    def auc(self) -> Auc:
        """Over all images, those not assessed counted against the package."""
        return self.overall.auc()


def at_point(tally: ScoreTally, point: OperatingPoint) -> AtPoint:
    """What the assessed images of `tally` give at `point`, with Wilson's intervals."""
    hits, alarms = tally.at_or_above(point.threshold)
    positives, negatives = tally.assessed()
    spared = negatives - alarms
    return AtPoint(
        point=point,
        sensitivity=hits / positives if positives else None,
        sensitivity_ci95=wilson(hits, positives),
        specificity=spared / negatives if negatives else None,
        specificity_ci95=wilson(spared, negatives),
    )


def evaluate(
    manifest: Manifest,
    engine: Engine,
    subjects: Iterable[ScoredSubject],
    options: EvaluationOptions,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Judge every subject: an image by itself, or the views of a breast or an exam together.

    Raises:
        EngineFaultError: the engine failed.
    """
    evaluation = Evaluation(peaks=PeakTally(points=manifest.operating_points))
    labelled_inference = LabelledInference(manifest, {PACKAGE: engine}, options, locates=True)
    for number, subject in enumerate(subjects, start=1):
        answer = labelled_inference.answer(subject)
        score = answer.scores.get(PACKAGE)
        evaluation.add(subject, score, answer.reason)
        if score is not None and answer.peak_in_lesion is not None:
            evaluation.peaks.add(score, hit=answer.peak_in_lesion)
        progress(number)
    return evaluation
