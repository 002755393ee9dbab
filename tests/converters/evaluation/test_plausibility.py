"""What is no model is told as such, with what is likely behind it."""

from __future__ import annotations

import numpy as np
import pytest

from converters.evaluation.discrimination import ScoreTally
from converters.evaluation.plausibility import Doubts, doubts_about
from models.manifest import OperatingPoint

POINTS = [OperatingPoint(name="balanced", threshold=0.5)]
LOGITS = np.random.default_rng(3).normal(np.repeat([1.5, -1.5], 40), 1.0)
"""Of 40 positives, then 40 negatives."""


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """0 to 1."""
    return 1 / (1 + np.exp(-logits))


def doubts(scores: np.ndarray) -> Doubts:
    """About scores of 40 positives, then 40 negatives."""
    tally = ScoreTally()
    for number, score in enumerate(scores):
        tally.add(positive=number < 40, score=float(score))
    return doubts_about(tally, POINTS)


def test_a_model_gives_no_reason_to_doubt() -> None:
    """Scores on both sides of the point, an AUC far from chance."""
    assert doubts(sigmoid(LOGITS)) == Doubts()


@pytest.mark.parametrize(
    ("scores", "telling"),
    [
        (np.full(80, 0.119), "every image gets the score 0.1190: its weights"),
        (np.ones(80), "every image gets the score 1.0000: a softmax over one value"),
        (sigmoid(-LOGITS), "is worse than chance: labels or the output's `index`"),
    ],
)
def test_what_is_certainly_no_model_is_refused(scores: np.ndarray, telling: str) -> None:
    """A constant; one that is the wrong way round."""
    (told,) = doubts(scores).certain
    assert telling in told


@pytest.mark.parametrize(
    ("scores", "telling"),
    [
        (sigmoid(sigmoid(LOGITS)), "where a sigmoid of a probability lies"),
        (0.5 + 0.05 * np.tanh(LOGITS), "a softmax or a sigmoid of probabilities"),
        (sigmoid(LOGITS - 12), "none of 40 positives is flagged: their scores reach 0.00"),
        (sigmoid(LOGITS + 12), "all of 40 negatives are flagged: their scores begin at"),
        (sigmoid(np.random.default_rng(1).normal(size=80)), "cannot be told from chance"),
    ],
)
def test_what_may_be_no_model_is_told(scores: np.ndarray, telling: str) -> None:
    """Twice activated, never leaving the middle, one class never right, no better than chance."""
    found = doubts(scores)
    assert not found.certain
    assert any(telling in told for told in found.open), found.open
