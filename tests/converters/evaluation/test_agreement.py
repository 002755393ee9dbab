"""How far a model is from its source: paired AUCs, flips, non-inferiority."""

from __future__ import annotations

import numpy as np
import pytest

from converters.evaluation.agreement import Case, agreement_of, paired_delong
from converters.evaluation.proof import Margin
from converters.evaluation.verification import Verification
from models.manifest import OperatingPoint, ProofVerdict

POINT = OperatingPoint(name="balanced", threshold=0.5)


def cases_of(positive: np.ndarray, source: np.ndarray, ours: np.ndarray) -> list[Case]:
    """One case for each pair of scores."""
    return [
        Case(
            key=f"{number:04d}",
            positive=bool(label),
            scores={"source": float(one), "int8": float(other)},
        )
        for number, (label, one, other) in enumerate(zip(positive, source, ours, strict=True))
    ]


def correlated(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores, and the same scores with noise."""
    draw = np.random.default_rng(seed)
    positive = draw.random(n) < 0.3
    source = 1 / (1 + np.exp(-(draw.normal(size=n) + 1.2 * positive)))
    return positive, source, np.clip(source + draw.normal(0, 0.05, n), 0, 1)


def test_aucs_are_those_of_scikit_learn() -> None:
    """Both of the pair, ties included."""
    metrics = pytest.importorskip("sklearn.metrics")
    positive, source, ours = correlated(1)
    ours = np.round(ours, 1)
    found = paired_delong(positive, source, ours)
    assert found.reference == pytest.approx(metrics.roc_auc_score(positive, source))
    assert found.candidate == pytest.approx(metrics.roc_auc_score(positive, ours))


def test_the_interval_is_that_of_a_bootstrap() -> None:
    """800 paired resamples within the classes give the same width to a tenth."""
    metrics = pytest.importorskip("sklearn.metrics")
    positive, source, ours = correlated(2)
    found = paired_delong(positive, source, ours)
    draw = np.random.default_rng(3)
    groups = np.flatnonzero(positive), np.flatnonzero(~positive)
    differences = []
    for _ in range(800):
        at = np.concatenate([draw.choice(group, group.size) for group in groups])
        differences.append(
            metrics.roc_auc_score(positive[at], ours[at])
            - metrics.roc_auc_score(positive[at], source[at])
        )
    width = 2 * 1.96 * np.std(differences)
    assert found.ci95[1] - found.ci95[0] == pytest.approx(width, rel=0.1)
    assert found.ci95[0] < np.mean(differences) < found.ci95[1]


def test_flips_are_counted_at_the_threshold_and_named() -> None:
    """A score that crosses the threshold in either direction changes the flag."""
    positive = np.array([True, False, True])
    agreement = agreement_of(
        cases_of(positive, np.array([0.6, 0.4, 0.5]), np.array([0.4, 0.5, 0.9])), "int8", [POINT]
    )
    assert agreement.flips == {"balanced": ("0000", "0001")}
    assert agreement.largest_score_difference == pytest.approx(0.4)


def test_few_images_show_no_non_inferiority() -> None:
    """Identical scores of eight images prove nothing about 0.01."""
    positive = np.array([True, False] * 4)
    scores = np.linspace(0, 1, 8)
    cases = cases_of(positive, scores, scores)
    agreement = agreement_of(cases, "int8", [POINT])
    assert agreement.auc is None
    (one,) = Margin().judgements(Verification(cases=tuple(cases), agreements=(agreement,)))
    assert one.verdict is ProofVerdict.NOT_PROVED
    assert "4 positives and 4 others" in one.because[0]


def test_the_margin_is_held_against_the_intervals_lower_end() -> None:
    """A loss within the margin is not enough if the interval reaches beyond it."""
    positive, source, ours = correlated(4)
    cases = cases_of(positive, source, ours)
    agreement = agreement_of(cases, "int8", [POINT])
    verification = Verification(cases=tuple(cases), agreements=(agreement,))
    assert agreement.auc is not None
    low = agreement.auc.ci95[0]
    assert low < 0
    (unproved,) = Margin(allowed=-low / 2).judgements(verification)
    assert unproved.verdict is ProofVerdict.NOT_PROVED
    assert f"--accept-loss {-low:.4f}" in unproved.because[0]
    margin = Margin(allowed=-low / 2, accepted_loss=-low * 1.01)
    (proved,) = margin.judgements(verification)
    assert proved.verdict is ProofVerdict.PROVED
    parity = margin.parity(agreement, "CPU", proved, [POINT])
    assert parity.accepted_auc_loss == -low * 1.01
    assert parity.auc_difference_ci95 == agreement.auc.ci95


def test_a_certain_loss_of_auc_is_refused() -> None:
    """The whole interval lies below the margin."""
    positive, source, _ = correlated(5)
    drawn = np.random.default_rng(6).random(positive.size)
    cases = cases_of(positive, source, drawn)
    agreement = agreement_of(cases, "int8", [])
    (one,) = Margin().judgements(Verification(cases=tuple(cases), agreements=(agreement,)))
    assert one.verdict is ProofVerdict.FAIL
    assert "may lose more than 0.01" in one.refused[0]
