"""Figures: area under the ROC curve with intervals, operating points, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ValidatedPoint:
    """A threshold on the suspicion (0..1), and what it gives; positive is score >= threshold."""

    name: str
    threshold: float
    sensitivity: Interval
    specificity: Interval


def area_under_curve(scores: Scores, labels: Labels) -> float:
    """Probability that a positive scores higher than a negative, ties counting half."""
    if not labels.any() or labels.all():
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle_ranks = np.cumsum(counts) - (counts - 1) / 2
    positives = int(labels.sum())
    rank_sum = float(middle_ranks[inverse][labels].sum())
    pairs = positives * (len(labels) - positives)
    return (rank_sum - positives * (positives + 1) / 2) / pairs


def bootstrap_auc(
    scores: Scores, labels: Labels, patients: Sequence[str], *, seed: int, rounds: int = 1000
) -> Interval:
    """AUC with an interval from resampling patients, since images of one patient are alike."""
    generator = np.random.default_rng(seed)
    names, index = np.unique(np.array(patients), return_inverse=True)
    members = [np.flatnonzero(index == number) for number in range(len(names))]
    areas = []
    for _ in range(rounds):
        drawn = generator.integers(len(names), size=len(names))
        chosen = np.concatenate([members[number] for number in drawn])
        areas.append(area_under_curve(scores[chosen], labels[chosen]))
    low, high = np.nanquantile(areas, (0.025, 0.975))
    return Interval(value=area_under_curve(scores, labels), low=float(low), high=float(high))


def wilson(hits: int, total: int) -> Interval:
    """Wilson's score interval of a share (E. B. Wilson, 1927)."""
    if total == 0:
        return Interval(value=float("nan"), low=0.0, high=1.0)
    z = 1.959964
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    low, high = max(0.0, float(centre - half)), min(1.0, float(centre + half))
    return Interval(value=share, low=low, high=high)


def point_at(name: str, threshold: float, scores: Scores, labels: Labels) -> ValidatedPoint:
    """What a threshold gives on these images."""
    flagged = scores >= threshold
    positives, negatives = int(labels.sum()), int((~labels).sum())
    return ValidatedPoint(
        name=name,
        threshold=threshold,
        sensitivity=wilson(int((flagged & labels).sum()), positives),
        specificity=wilson(int((~flagged & ~labels).sum()), negatives),
    )


def operating_points(
    scores: Scores,
    labels: Labels,
    groups: Sequence[str],
    *,
    high_sensitivity: float,
    high_specificity: float,
) -> list[ValidatedPoint]:
    """Three points: sensitivity at least as asked, Youden's best, specificity at least as asked.

    One threshold serves all groups (techniques), and the group with the most views must not choose
    it alone: the outer points hold for the mean of the groups, each counting the same, and the
    balanced one is best where it is worst, in the group with the lower Youden index.
    Thresholds lie in the middle between two scores; the figures are those of all images.
    """
    ordered = np.unique(scores)
    thresholds = np.append((ordered[1:] + ordered[:-1]) / 2, ordered[-1] + 1e-6)
    members = [np.array(groups) == name for name in sorted(set(groups))]
    sensitivities, specificities = (
        np.stack([_shares(scores[m & wanted], thresholds, above=above) for m in members])
        for wanted, above in ((labels, True), (~labels, False))
    )
    sensitivity, specificity = sensitivities.mean(axis=0), specificities.mean(axis=0)
    youden = (sensitivities + specificities).min(axis=0)
    sensitive = np.flatnonzero(sensitivity >= high_sensitivity)
    specific = np.flatnonzero(specificity >= high_specificity)
    chosen = {
        "high_sensitivity": sensitive[-1] if len(sensitive) else 0,
        "balanced": int(np.argmax(youden)),
        "high_specificity": specific[0] if len(specific) else -1,
    }
    return [
        point_at(name, float(thresholds[index]), scores, labels) for name, index in chosen.items()
    ]


def _shares(scores: Scores, thresholds: Scores, *, above: bool) -> Scores:
    """Share of `scores` at or above each threshold, or below it; 0.5 where there are none."""
    if not len(scores):
        return np.full(len(thresholds), 0.5)
    below = np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)
    return np.asarray(1 - below if above else below)


def fit_platt(
    logits: Scores, labels: Labels, is_view: Labels, *, steps: int = 50
) -> tuple[float, float, float]:
    """Slope, offset and offset of views that make a logit a probability (Platt, 1999).

    The probability is sigmoid(slope * logit + offset + view_offset * is_view). Newton's method on
    the log loss with Platt's smoothed targets. Without views their offset is 0.
    """
    positives, negatives = labels.sum(), (~labels).sum()
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack([logits, np.ones_like(logits), is_view.astype(np.float64)], axis=1)
    weights = np.array([1.0, 0.0, 0.0])
    for _ in range(steps):
        probability = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (probability - targets)
        curvature = design.T @ (design * (probability * (1 - probability))[:, None])
        weights = weights - np.linalg.solve(curvature + 1e-6 * np.eye(3), gradient)
    return float(weights[0]), float(weights[1]), float(weights[2])


def brier(probabilities: Scores, labels: Labels) -> float:
    """Mean squared distance of the probabilities from what was so (0 is best)."""
    return float(np.mean((probabilities - labels) ** 2))
