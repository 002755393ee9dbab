"""AUC with DeLong's interval, from counts: a million scores need no more memory than ten.

Scores are counted in fine bins of their logit. Two scores in one bin count as a tie; a bin is
0.0003 logits wide, which no operating point can tell apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOGIT_LIMIT = 20.0
BINS = 2**17
LOWEST, HIGHEST = 0, BINS + 1
"""Bins of their own for images that were not assessed."""
Z95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Auc:
    """Area under the ROC curve; None where one class is empty, no interval below two of each."""

    auc: float | None
    ci95: tuple[float, float] | None


class ScoreTally:
    """Counts of the scores of positive and negative images."""

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros((2, BINS + 2), dtype=np.int64)
        self.not_assessed = 0

    def add(self, *, positive: bool, score: float | None) -> None:
        """Count one image; `score` 0-1, or None where it was not assessed.

        A positive that was not assessed counts lowest, any other highest: refusing hard cases
        earns nothing.
        """
        if score is None:
            self.not_assessed += 1
            self._counts[int(positive), LOWEST if positive else HIGHEST] += 1
            return
        self._counts[int(positive), bin_of(score)] += 1

    @property
    def positives(self) -> int:
        """Positive images, assessed or not."""
        return int(self._counts[1].sum())

    @property
    def images(self) -> int:
        """All images, assessed or not."""
        return int(self._counts.sum())

    def auc(self) -> Auc:
        """Over all images: those not assessed count against the model."""
        return delong(self._counts[1], self._counts[0])

    def auc_assessed(self) -> Auc:
        """Over the images that were assessed."""
        return delong(self._counts[1, 1:-1], self._counts[0, 1:-1])

    def at_or_above(self, threshold: float) -> tuple[int, int]:
        """(positives, negatives) that were assessed and have a score of at least `threshold`."""
        first = bin_of(threshold)
        return int(self._counts[1, first:-1].sum()), int(self._counts[0, first:-1].sum())

    def assessed(self) -> tuple[int, int]:
        """(positives, negatives) that were assessed."""
        return int(self._counts[1, 1:-1].sum()), int(self._counts[0, 1:-1].sum())

    def span(self, *, positives: bool = True, negatives: bool = True) -> tuple[float, float]:
        """The lowest and the highest assessed score, to the width of a bin. One must be there."""
        counts = positives * self._counts[1, 1:-1] + negatives * self._counts[0, 1:-1]
        filled = np.flatnonzero(counts)
        return score_of_bin(int(filled[0]) + 1), score_of_bin(int(filled[-1]) + 1)

    def thresholds(self, steps: int = 20) -> list[float]:
        """Thresholds that leave 1/steps, 2/steps, ... of the assessed positives below them."""
        below = np.cumsum(self._counts[1, 1:-1])
        total = int(below[-1])
        if total == 0:
            return []
        wanted = [math.ceil(total * step / steps) for step in range(1, steps)]
        # The bin after the one that holds the last positive to stay below.
        # Few positives fill fewer steps, and none is told twice.
        bins = dict.fromkeys(int(np.searchsorted(below, count)) + 2 for count in wanted)
        return [score_of_bin(index) for index in bins]


def bin_of(score: float) -> int:
    """Bin 1..BINS of a score 0-1, monotonic."""
    if score <= 0.0 or score >= 1.0:
        return 1 if score <= 0.0 else BINS
    logit = math.log(score) - math.log1p(-score)
    share = (logit + LOGIT_LIMIT) / (2 * LOGIT_LIMIT)
    return 1 + min(max(int(share * BINS), 0), BINS - 1)


def score_of_bin(index: int) -> float:
    """The middle of bin `index` as a score."""
    logit = (index - 0.5) / BINS * 2 * LOGIT_LIMIT - LOGIT_LIMIT
    return 1.0 / (1.0 + math.exp(-logit))


def delong(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> Auc:
    """AUC and its 95 % interval (DeLong, Biometrics 1988;44:837) from counts by rising score.

    The interval is symmetric on the logit scale of the AUC, so that it stays within 0..1; at an
    AUC of exactly 0 or 1, where DeLong's variance is 0, it is one-sided by the rule of three.
    """
    m, n = int(positives.sum()), int(negatives.sum())
    if m == 0 or n == 0:
        return Auc(auc=None, ci95=None)
    # Placement of each positive among the negatives and of each negative among the positives.
    v10 = (np.cumsum(negatives) - 0.5 * negatives) / n
    v01 = 1.0 - (np.cumsum(positives) - 0.5 * positives) / m
    auc = float((positives * v10).sum() / m)
    if m < 2 or n < 2:
        return Auc(auc=auc, ci95=None)
    s10 = float((positives * (v10 - auc) ** 2).sum() / (m - 1))
    s01 = float((negatives * (v01 - auc) ** 2).sum() / (n - 1))
    error = math.sqrt(s10 / m + s01 / n)
    if error == 0.0 or auc in (0.0, 1.0):
        slack = 3.0 / min(m, n)
        low, high = max(0.0, auc - slack), min(1.0, auc + slack)
        return Auc(auc=auc, ci95=(low if auc > 0 else 0.0, high if auc < 1 else 1.0))
    logit = math.log(auc / (1.0 - auc))
    slack = Z95 * error / (auc * (1.0 - auc))
    return Auc(auc=auc, ci95=(_expit(logit - slack), _expit(logit + slack)))


def wilson(hits: int, trials: int) -> tuple[float, float] | None:
    """95 % interval of a share (Wilson 1927); None without trials."""
    if trials == 0:
        return None
    share = hits / trials
    weight = 1.0 + Z95**2 / trials
    centre = (share + Z95**2 / (2 * trials)) / weight
    slack = Z95 / weight * math.sqrt(share * (1 - share) / trials + Z95**2 / (4 * trials**2))
    return max(0.0, centre - slack), min(1.0, centre + slack)


def _expit(value: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * value))
