"""Drift: a day's outcomes against the model's reference histogram."""

from __future__ import annotations

import pytest

from models.histogram import ScoreHistogram
from runtime.drift.score_drift import day_before, drift_figures, population_stability_index
from runtime.image.outcome import Flag
from runtime.image.reasons import Reason
from tests.support.builders import result, unassessed

REFERENCE = ScoreHistogram(score="suspicion", counts=(50, 30, 15, 5), images=100)


def test_equal_shares_have_no_drift():
    """Twice as many images in the same shares: the index is 0."""
    assert population_stability_index((50, 30, 15, 5), (100, 60, 30, 10)) == pytest.approx(0)


def test_the_index_is_the_one_of_the_book():
    """A worked example: shares 0.5/0.5 against 0.8/0.2."""
    # (0.8-0.5) ln(0.8/0.5) + (0.2-0.5) ln(0.2/0.5) = 0.14100 + 0.27489
    assert population_stability_index((1, 1), (8, 2)) == pytest.approx(0.41589, abs=1e-5)


def test_a_shifted_day_is_seen_and_an_empty_bin_has_a_finite_index():
    """All scores high where most were low: far above 0.25."""
    figures = drift_figures([result(0.99)] * 60, [Flag.PRIORITY] * 15, REFERENCE)
    assert figures.histogram == (0, 0, 0, 60)
    assert 0.25 < figures.psi < 20
    assert figures.priority_rate == 1


def test_few_images_give_no_index():
    """Below 50 judged images chance would speak."""
    figures = drift_figures([result(0.1)] * 49, [], REFERENCE)
    assert (figures.images, figures.psi, figures.priority_rate) == (49, None, None)


def test_what_was_not_assessed_is_counted_by_reason():
    """An image with two reasons counts under both, and in no bin."""
    outcomes = [unassessed(Reason.IMPLANT, Reason.PARTIAL_VIEW), unassessed(Reason.IMPLANT)]
    figures = drift_figures([*outcomes, result(0.1), result(0.2)], [Flag.NONE], REFERENCE)
    assert figures.not_assessed_rate == {Reason.IMPLANT: 0.5, Reason.PARTIAL_VIEW: 0.25}
    assert sum(figures.histogram) == 2


def test_the_day_before_ends_at_midnight_utc():
    """2026-01-02T00:00:00.001Z belongs to a day whose day before is January 1st, whole."""
    day = day_before(1_767_312_000_001)
    assert (day.name, day.start_ms, day.end_ms) == (
        "2026-01-01",
        1_767_225_600_000,
        1_767_312_000_000,
    )
