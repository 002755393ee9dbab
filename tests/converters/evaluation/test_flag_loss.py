"""The rule on changed flags: against SciPy, against simulated noise, and on a real case."""

from __future__ import annotations

import numpy as np
import pytest

from converters.evaluation.agreement import Case, agreement_of
from converters.evaluation.flag_loss import FEWEST_POSITIVES, PairedFlags
from converters.evaluation.proof import Judgement, Margin
from converters.evaluation.verification import Verification
from models.manifest import OperatingPoint, ProofVerdict

SIMULATED = 400
Scores = np.ndarray


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (3, 0), (9, 0), (7, 2), (40, 31), (2, 8)])
def test_the_chance_is_that_of_the_exact_binomial_test(lost: int, won: int) -> None:
    """McNemar's: of the images that differ, half would go either way."""
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(lost, lost + won, 0.5, "greater").pvalue if lost + won else 1.0
    assert PairedFlags(images=100, lost=lost, won=won).chance == pytest.approx(expected)


@pytest.mark.parametrize(
    ("images", "lost", "won", "refused", "doubtful"),
    [
        (10, 9, 0, True, True),  # nine of ten cancers
        (100, 6, 0, True, True),  # six net of a hundred, by chance once in 64 times
        (100, 5, 0, False, False),  # five of a hundred are permitted
        (20, 3, 0, False, True),  # more than two, but by chance once in eight times
        (1000, 30, 8, True, True),  # within 5 %, and no chance
        (1000, 40, 36, False, False),
        (59, 0, 0, False, False),
    ],
)
def test_losses_are_refused_where_they_are_no_chance(
    images: int, lost: int, won: int, *, refused: bool, doubtful: bool
) -> None:
    """What may be chance is doubtful: it proves nothing either way."""
    flags = PairedFlags(images=images, lost=lost, won=won)
    assert (flags.refused(2), flags.doubtful) == (refused, doubtful)


def test_none_lost_of_fewer_than_59_does_not_exclude_one_in_twenty() -> None:
    """Where the number comes from."""
    assert 0.95**FEWEST_POSITIVES < 0.05 < 0.95 ** (FEWEST_POSITIVES - 1)


def judged(positive: Scores, source: Scores, ours: Scores, thresholds: list[float]) -> Judgement:
    """The verdict on scores of logit scale."""

    def share(logit: float) -> float:
        return float(1 / (1 + np.exp(-logit)))

    points = [
        OperatingPoint(name=f"p{number}", threshold=share(threshold))
        for number, threshold in enumerate(thresholds)
    ]
    cases = [
        Case(
            key=f"{number:05d}",
            positive=bool(label),
            scores={"source": share(one), "int8": share(other)},
        )
        for number, (label, one, other) in enumerate(zip(positive, source, ours, strict=True))
    ]
    agreement = agreement_of(cases, "int8", points)
    (judgement,) = Margin().judgements(Verification(cases=tuple(cases), agreements=(agreement,)))
    return judgement


@pytest.mark.parametrize("positives", [12, 40, FEWEST_POSITIVES, 120, 300])
def test_noise_is_refused_in_less_than_one_of_a_hundred_cases(positives: int) -> None:
    """0.1 standard deviations on every score, three operating points, as many negatives."""
    draw = np.random.default_rng(positives)
    positive = np.repeat([True, False], positives)
    verdicts = []
    for _ in range(SIMULATED):
        source = draw.normal(1.5 * positive, 1.0)
        ours = source + draw.normal(0, 0.1, source.size)
        verdicts.append(judged(positive, source, ours, [-0.14, 0.75, 1.28]).verdict)
    refused = verdicts.count(ProofVerdict.FAIL)
    assert refused < 0.01 * SIMULATED, refused
    if positives < FEWEST_POSITIVES:
        assert ProofVerdict.PROVED not in verdicts


def test_the_case_of_nine_of_ten_cancers_lost_is_refused() -> None:
    """Sensitivity 1.000 in FP16 and 0.100 in INT8 on 10 of 22 views, an AUC that hardly moves."""
    positive = np.repeat([True, False], [10, 12])
    source = np.concatenate([np.linspace(0.2, 2.0, 10), np.linspace(-3.0, -0.3, 12)])
    ours = source - 1.9
    judgement = judged(positive, source, ours, [0.0])
    assert judgement.verdict is ProofVerdict.FAIL
    assert "9 of 10 positives lose the flag that the source gives" in judgement.refused[0]


def test_identical_scores_of_59_positives_are_a_proof_and_of_58_are_none() -> None:
    """`pass` means proved."""
    for positives, verdict in ((59, ProofVerdict.PROVED), (58, ProofVerdict.NOT_PROVED)):
        positive = np.repeat([True, False], positives)
        source = np.random.default_rng(1).normal(2.0 * positive, 1.0)
        assert judged(positive, source, source, [1.0]).verdict is verdict
