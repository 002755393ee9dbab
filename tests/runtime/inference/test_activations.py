"""From raw outputs to scores: an activation over the right elements."""

from __future__ import annotations

import numpy as np
import pytest

from models.manifest import OutputPort
from runtime.inference.engine import EngineFaultError, scores_of
from tests.support.builders import manifest


def score(raw: list[object], **port: object) -> float:
    """Of one output."""
    output = OutputPort.model_validate({"tensor": "p", "score": "s", "suspicion": True} | port)
    of = manifest().model_copy(update={"outputs": (output,)})
    return scores_of(of, {"p": np.array(raw, np.float32)})["s"]


def sigmoid(logit: float) -> float:
    """Of two logits the softmax is the sigmoid of their difference."""
    return 1 / (1 + float(np.exp(-logit)))


TWO_HEADS = [[[4.0, 0.0], [0.0, 1.0]]]


@pytest.mark.parametrize(
    ("raw", "index", "axis", "expected"),
    [
        (TWO_HEADS, 3, None, sigmoid(1)),  # each head by itself, not 0.046 over all four
        (TWO_HEADS, 0, None, sigmoid(4)),
        (TWO_HEADS, 3, 1, sigmoid(1)),
        (TWO_HEADS, 0, 1, sigmoid(4)),
        ([[1.0, 3.0]], 1, None, sigmoid(2)),
        ([1.0, 3.0], 1, None, sigmoid(2)),
        ([[[[1.0]], [[3.0]]]], 1, None, sigmoid(2)),  # classes, then a map of one cell
        ([[7.0]], 0, None, 1.0),
    ],
)
def test_a_softmax_runs_over_one_dimension(
    raw: list[object], index: int, axis: int | None, expected: float
) -> None:
    """The last that has more than one element, or the one that the port names."""
    assert score(raw, index=index, axis=axis, activation="softmax") == pytest.approx(expected)


def test_a_dimension_that_is_not_there_is_told() -> None:
    """By the output's name."""
    with pytest.raises(EngineFaultError, match="output p: no dimension 5"):
        score(TWO_HEADS, axis=5, activation="softmax")


def test_a_logarithm_and_an_output_of_the_healthy() -> None:
    """NYU's networks end in a log-softmax; others say how likely a view is healthy."""
    raw: list[object] = [[float(np.log(0.2)), float(np.log(0.8))]]
    assert score(raw, index=1, activation="exp") == pytest.approx(0.8)
    assert score(raw, index=1, activation="exp", complement=True) == pytest.approx(0.2)
    assert score([[3.0]], activation="sigmoid", complement=True) == pytest.approx(sigmoid(-3.0))
    with pytest.raises(EngineFaultError, match="is not between 0 and 1"):
        score([[500.0]], activation="exp")


@pytest.mark.parametrize("logit", [-800.0, -2.0, 0.0, 800.0])
def test_a_sigmoid_of_any_logit_is_a_score(logit: float) -> None:
    """Without overflow."""
    with np.errstate(over="ignore"):
        assert score([[logit]], activation="sigmoid") == pytest.approx(sigmoid(logit))
