"""How far a converted model is from its source, on the same labelled images. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.evaluation.discrimination import Z95
from converters.evaluation.flag_loss import PairedFlags

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from converters.labelled.scored_subject import ScoredSubject
    from models.manifest import OperatingPoint

SOURCE = "source"
"""Name of the source model among the precisions."""
MINIMUM_OF_EACH_CLASS = 10
"""Fewer positives or negatives say nothing about a margin of 0.01: DeLong's interval is
asymptotic, and of identical scores it is empty at any size."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One labelled image, breast or exam, asked of the source model and of every precision."""

    key: str
    """The first half of the files' SHA-256: file names may carry an identity."""
    positive: bool
    scores: dict[str, float]
    """`source` and precision -> suspicion; empty where the image was not assessed."""
    reason: str = ""
    """Why it was not assessed."""
    subject: ScoredSubject | None = None
    """Its images, whose names are never in a report or a package; None for scores alone."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of its images."""
        return self.subject.paths if self.subject is not None else ()


@dataclass(frozen=True, kw_only=True)
class AucDifference:
    """Candidate's AUC less the reference's, with its 95 % interval."""

    reference: float
    candidate: float
    ci95: tuple[float, float]

    @property
    def difference(self) -> float:
        """Below 0 where the candidate is worse."""
        return self.candidate - self.reference


@dataclass(frozen=True, kw_only=True)
class PointAgreement:
    """One operating point: the flags of a precision against the source's, image by image."""

    positives: PairedFlags
    negatives: PairedFlags
    flipped: tuple[str, ...]
    """Keys of the images whose flag is not the source's."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One precision against the source model."""

    precision: str
    images: int
    positives: int
    largest_score_difference: float
    p99_score_difference: float
    """Of a hundred images one is further apart."""
    mean_score_difference: float
    brier: tuple[float, float]
    """Mean squared distance of score and truth (Brier 1950): the source's, this precision's."""
    points: dict[str, PointAgreement]
    """By operating point."""
    auc: AucDifference | None
    """None where there are fewer than `MINIMUM_OF_EACH_CLASS` of either class."""

    @property
    def flips(self) -> dict[str, tuple[str, ...]]:
        """Operating point -> keys of the images whose flag is not the source's."""
        return {name: point.flipped for name, point in self.points.items()}

    def non_inferior(self, margin: float) -> bool:
        """The lower end of the AUC difference's interval lies above -margin."""
        return self.auc is not None and self.auc.ci95[0] > -margin

    def inferior(self, margin: float) -> bool:
        """The whole interval lies below -margin."""
        return self.auc is not None and self.auc.ci95[1] < -margin


def agreement_of(
    cases: Sequence[Case], precision: str, points: Sequence[OperatingPoint]
) -> Agreement:
    """What the assessed `cases` say of `precision`."""
    assessed = [case for case in cases if case.scores]
    ours = np.array([case.scores[precision] for case in assessed])
    theirs = np.array([case.scores[SOURCE] for case in assessed])
    positive = np.array([case.positive for case in assessed], dtype=bool)
    apart = np.abs(ours - theirs)
    enough = min(positive.sum(), (~positive).sum()) >= MINIMUM_OF_EACH_CLASS
    return Agreement(
        precision=precision,
        images=len(assessed),
        positives=int(positive.sum()),
        largest_score_difference=float(apart.max(initial=0.0)),
        p99_score_difference=float(np.percentile(apart, 99)) if assessed else 0.0,
        mean_score_difference=float(apart.mean()) if assessed else 0.0,
        brier=(_brier(theirs, positive), _brier(ours, positive)),
        points={
            point.name: _at(point, [case.key for case in assessed], theirs, ours, positive)
            for point in points
        },
        auc=paired_delong(positive, theirs, ours) if enough else None,
    )


def _at(
    point: OperatingPoint,
    keys: Sequence[str],
    theirs: NDArray[np.float64],
    ours: NDArray[np.float64],
    positive: NDArray[np.bool_],
) -> PointAgreement:
    before, after = theirs >= point.threshold, ours >= point.threshold
    gone, new = before & ~after, after & ~before
    return PointAgreement(
        positives=PairedFlags(
            images=int(positive.sum()),
            lost=int((gone & positive).sum()),
            won=int((new & positive).sum()),
        ),
        negatives=PairedFlags(
            images=int((~positive).sum()),
            lost=int((new & ~positive).sum()),
            won=int((gone & ~positive).sum()),
        ),
        flipped=tuple(key for key, flips in zip(keys, gone | new, strict=True) if flips),
    )


def _brier(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    return float(np.mean((scores - positive) ** 2)) if scores.size else 0.0


def paired_delong(
    positive: NDArray[np.bool_], reference: NDArray[np.float64], candidate: NDArray[np.float64]
) -> AucDifference:
    """Difference of two AUCs on the same images (DeLong, Biometrics 1988;44:837).

    Args:
        positive: of each image; two or more of either class.
        reference: scores of the model that is held to be right.
        candidate: scores of the model to be judged.
    """
    spread = [_placements(positive, scores) for scores in (reference, candidate)]
    aucs = [float(of_positives.mean()) for of_positives, _ in spread]
    (v10_a, v01_a), (v10_b, v01_b) = spread
    variance = float(
        np.var(v10_b - v10_a, ddof=1) / v10_a.size + np.var(v01_b - v01_a, ddof=1) / v01_a.size
    )
    slack = Z95 * math.sqrt(variance)
    difference = aucs[1] - aucs[0]
    return AucDifference(
        reference=aucs[0],
        candidate=aucs[1],
        ci95=(difference - slack, difference + slack),
    )


def _placements(
    positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of negatives below each positive, and of positives above each negative; ties half."""
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    v10 = (
        np.searchsorted(below, scores[positive], "left")
        + np.searchsorted(below, scores[positive], "right")
    ) / (2 * below.size)
    v01 = 1 - (
        np.searchsorted(above, scores[~positive], "left")
        + np.searchsorted(above, scores[~positive], "right")
    ) / (2 * above.size)
    return v10, v01
