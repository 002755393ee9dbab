"""Figures are right on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from converters.training.reporting.validation import (
    area_under_curve,
    bootstrap_auc,
    fit_platt,
    operating_points,
    wilson,
)


def test_area_counts_ties_half() -> None:
    """Of four pairs three are right and one is a tie: 0.875."""
    scores = np.array([0.9, 0.4, 0.4, 0.1])
    labels = np.array([True, False, True, False])
    assert area_under_curve(scores, labels) == pytest.approx(0.875)
    assert np.isnan(area_under_curve(scores, np.zeros(4, dtype=bool)))


def test_interval_holds_the_value() -> None:
    """The bootstrap's interval lies around the area."""
    generator = np.random.default_rng(0)
    labels = generator.random(200) < 0.4
    scores = labels + generator.standard_normal(200)
    patients = [str(index // 2) for index in range(200)]
    area = bootstrap_auc(scores, labels, patients, seed=0, rounds=200)
    assert area.low < area.value < area.high


def test_operating_points_reach_what_was_asked() -> None:
    """The outer points keep the asked sensitivity and specificity."""
    generator = np.random.default_rng(1)
    labels = generator.random(500) < 0.3
    scores = labels + generator.standard_normal(500)
    sensitive, balanced, specific = operating_points(
        scores, labels, ["film"] * 500, high_sensitivity=0.9, high_specificity=0.9
    )
    assert sensitive.sensitivity.value >= 0.9
    assert specific.specificity.value >= 0.9
    assert sensitive.threshold <= balanced.threshold <= specific.threshold


def test_a_threshold_serves_the_smaller_group_too() -> None:
    """Of 400 film and 40 digital views whose scores lie lower, digital counts as much as film."""
    generator = np.random.default_rng(2)
    labels = generator.random(440) < 0.4
    groups = ["film"] * 400 + ["digital"] * 40
    shift = np.where(np.array(groups) == "film", 0.0, -2.0)
    scores = 2 * labels + generator.standard_normal(440) + shift
    digital = np.array(groups) == "digital"

    def digital_sensitivity(names: list[str]) -> float:
        sensitive = operating_points(
            scores, labels, names, high_sensitivity=0.9, high_specificity=0.9
        )[0]
        return float((scores[digital & labels] >= sensitive.threshold).mean())

    assert digital_sensitivity(groups) >= 0.8
    assert digital_sensitivity(["all"] * 440) < 0.8


def test_platt_finds_the_slope_that_made_the_labels() -> None:
    """Labels drawn from sigmoid(2x - 1) give back about 2 and -1."""
    generator = np.random.default_rng(2)
    logits = generator.standard_normal(20000)
    labels = generator.random(20000) < 1 / (1 + np.exp(1 - 2 * logits))
    is_view = np.zeros(20000, dtype=bool)
    assert fit_platt(logits, labels, is_view) == pytest.approx((2.0, -1.0, 0.0), abs=0.1)


def test_wilson_of_none_and_all_is_open_on_one_side() -> None:
    """No hit of ten may still be a share of 28 %."""
    assert wilson(0, 10).high == pytest.approx(0.2775, abs=1e-3)
    assert wilson(10, 10).low == pytest.approx(0.7225, abs=1e-3)
