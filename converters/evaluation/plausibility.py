"""Is it a model at all? What labelled images say of scores, and what is likely behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.evaluation.discrimination import ScoreTally
    from models.manifest import OperatingPoint

EQUAL = 1e-4
"""Scores that differ by no more are one score."""
TWICE = (0.4999, 0.7312)
"""What a sigmoid makes of a probability: sigmoid(0) to sigmoid(1)."""
MIDDLE = (0.4, 0.6)
CHANCE = 0.5
FEWEST = 5
"""Of fewer images nothing is doubted: they may be of one kind."""


@dataclass(frozen=True, kw_only=True)
class Doubts:
    """What speaks against scores as those of a model; a sentence each."""

    certain: tuple[str, ...] = ()
    """It is none, or its output is read wrongly."""
    open: tuple[str, ...] = ()
    """It may be none."""


def doubts_about(tally: ScoreTally, points: Sequence[OperatingPoint]) -> Doubts:
    """What the scores of labelled images give reason to doubt."""
    if sum(tally.assessed()) < FEWEST:
        return Doubts()
    low, high = tally.span()
    if high - low <= EQUAL:
        why = (
            "a softmax over one value or the wrong axis, or logits so large that a sigmoid is 1"
            if low > 1 - EQUAL
            else "its weights, its input or its activation are not what it was trained with"
        )
        return Doubts(certain=(f"every image gets the score {low:.4f}: {why}",))
    certain, unsure = _about_ranks(tally)
    if TWICE[0] <= low and high <= TWICE[1]:
        unsure.append(
            f"all scores lie between {low:.3f} and {high:.3f}, where a sigmoid of a probability"
            ' lies: is the activation in the graph already? then activation = "none"'
        )
    elif MIDDLE[0] <= low and high <= MIDDLE[1]:
        unsure.append(
            f"all scores lie between {low:.3f} and {high:.3f}: a softmax or a sigmoid of"
            " probabilities, or a network that was not trained"
        )
    unsure += _about_points(tally, points)
    return Doubts(certain=tuple(certain), open=tuple(unsure))


def _about_ranks(tally: ScoreTally) -> tuple[list[str], list[str]]:
    """What the AUC says: (certain, open)."""
    auc = tally.auc_assessed()
    if auc.auc is None or auc.ci95 is None:
        return [], []
    low, high = auc.ci95
    told = f"AUC {auc.auc:.3f} ({low:.3f} to {high:.3f})"
    if high < CHANCE:
        why = "labels or the output's `index` the wrong way round, or an inverted image"
        return [f"{told} is worse than chance: {why}"], []
    if low <= CHANCE:
        return [], [f"{told} cannot be told from chance, 0.5"]
    return [], []


def _about_points(tally: ScoreTally, points: Sequence[OperatingPoint]) -> list[str]:
    """Operating points at which one class is never got right."""
    positives, negatives = tally.assessed()
    found = []
    for point in points:
        hits, alarms = tally.at_or_above(point.threshold)
        told = f"point {point.name}: at {point.threshold:.3f}"
        if positives and hits == 0:
            _, highest = tally.span(negatives=False)
            found.append(
                f"{told} none of {positives} positives is flagged: their scores reach {highest:.3f}"
            )
        elif negatives and alarms == negatives:
            lowest, _ = tally.span(positives=False)
            found.append(
                f"{told} all of {negatives} negatives are flagged: their scores begin at"
                f" {lowest:.3f}"
            )
    return found
