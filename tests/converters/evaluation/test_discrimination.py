"""AUC from counts: against the definition, and honest about what was not assessed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.evaluation.discrimination import ScoreTally, bin_of, score_of_bin, wilson


def tally_of(positives: list[float | None], negatives: list[float | None]) -> ScoreTally:
    """A tally of two lists of scores; None was not assessed."""
    tally = ScoreTally()
    for score in positives:
        tally.add(positive=True, score=score)
    for score in negatives:
        tally.add(positive=False, score=score)
    return tally


def auc_by_definition(positives: list[float], negatives: list[float]) -> float:
    """The share of pairs in which the positive scores higher; ties count half."""
    wins = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    return sum(wins) / len(wins)


TENTHS = st.integers(0, 10).map(lambda tenths: tenths / 10)


@given(st.lists(TENTHS, min_size=1, max_size=20), st.lists(TENTHS, min_size=1, max_size=20))
def test_auc_is_the_share_of_pairs_in_the_right_order(
    positives: list[float], negatives: list[float]
) -> None:
    """With ties counted half, for any scores."""
    auc = tally_of(positives, negatives).auc().auc
    assert auc == pytest.approx(auc_by_definition(positives, negatives))


def test_auc_of_many_scores_agrees_with_scikit_learn() -> None:
    """Binning of the scores costs less than 1e-5."""
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(3)
    labels = generator.random(5000) < 0.2
    scores = 1 / (1 + np.exp(-generator.normal(labels * 1.2, 1.0)))
    tally = ScoreTally()
    for label, score in zip(labels, scores, strict=True):
        tally.add(positive=bool(label), score=float(score))
    assert tally.auc().auc == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-5)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """In 400 draws of 60 + 60 scores, 95 % intervals hold the true AUC 91 to 98 % of the time."""
    generator = np.random.default_rng(4)
    truth = 0.5 * (1 + math.erf(1.0 / math.sqrt(2) / math.sqrt(2)))
    covered = 0
    for _ in range(400):
        positives = 1 / (1 + np.exp(-generator.normal(1.0, 1.0, 60)))
        negatives = 1 / (1 + np.exp(-generator.normal(0.0, 1.0, 60)))
        interval = tally_of(positives.tolist(), negatives.tolist()).auc().ci95
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert 0.91 <= covered / 400 <= 0.98


def test_refusing_hard_cases_earns_nothing() -> None:
    """A positive that was not assessed counts lowest, a negative highest."""
    tally = tally_of([0.9, None], [0.1, None])
    assert tally.auc().auc == pytest.approx(0.25)
    assert tally.auc_assessed().auc == 1.0
    assert tally.not_assessed == 2
    assert (tally.images, tally.positives) == (4, 2)


def test_an_empty_class_has_no_auc() -> None:
    """Nothing is claimed without positives or negatives."""
    assert tally_of([], [0.5]).auc().auc is None
    assert tally_of([0.5], []).auc().auc is None
    assert tally_of([0.9], [0.1]).auc().ci95 is None


def test_a_perfect_small_set_is_not_called_certain() -> None:
    """Ten against ten in perfect order leave room below 1."""
    auc = tally_of([0.9] * 10, [0.1] * 10).auc()
    assert auc.auc == 1.0
    assert auc.ci95 == (pytest.approx(0.7), 1.0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_bins_keep_the_order_of_scores(one: float, other: float) -> None:
    """A higher score never lies in a lower bin."""
    low, high = sorted((one, other))
    assert 1 <= bin_of(low) <= bin_of(high)


def test_an_operating_point_counts_scores_at_its_threshold() -> None:
    """At or above is priority, as the runtime judges."""
    tally = tally_of([0.5, 0.6, 0.4, None], [0.5, 0.1])
    assert tally.at_or_above(0.5) == (2, 1)
    assert tally.assessed() == (3, 2)


def test_threshold_table_reaches_from_many_to_few_positives() -> None:
    """Each threshold leaves its share of positives below it, and stands there once."""
    positives = [(i + 0.5) / 100 for i in range(100)]
    tally = tally_of(positives, [0.5])
    kept = [tally.at_or_above(threshold)[0] for threshold in tally.thresholds(steps=4)]
    assert kept == [75, 50, 25]
    assert len(tally_of([0.2, 0.4, 0.6], [0.5]).thresholds()) == 3
    assert score_of_bin(bin_of(0.3)) == pytest.approx(0.3, abs=1e-4)


def test_wilson_interval_of_a_known_share() -> None:
    """8 of 10: 0.490 to 0.943 (Newcombe 1998, method 3)."""
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) is None
