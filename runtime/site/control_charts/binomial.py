"""Exact binomial limits: what chance alone does to a count. Pure."""

from __future__ import annotations

import math

THREE_SIGMA_TAIL = 0.00135
"""What a p-chart leaves outside on each side (Montgomery, Statistical Quality Control, ch. 7)."""


def tail_limits(rate: float, exams: int, tail: float = THREE_SIGMA_TAIL) -> tuple[int, int]:
    """The counts between which chance keeps `exams` exams of that rate, but for `tail` each side.

    Exact, because the normal approximation of a p-chart puts its lower limit below zero and its
    upper one too low where few exams have the flag. A count below the first or above the second
    is outside.

    Raises:
        ValueError: a rate outside 0-1, or fewer than no exams.
    """
    if not 0.0 <= rate <= 1.0 or exams < 0:
        raise ValueError(f"a rate from 0 to 1 and a number of exams, not {rate} and {exams}")
    if rate in (0.0, 1.0):
        return (0, 0) if rate == 0.0 else (exams, exams)
    low, high = 0, exams
    below = 0.0
    for count in range(exams + 1):
        below += probability(count, exams, rate)
        if below > tail:
            low = count
            break
    above = 0.0
    for count in range(exams, -1, -1):
        above += probability(count, exams, rate)
        if above > tail:
            high = count
            break
    return low, high


def probability(count: int, exams: int, rate: float) -> float:
    """P(count of `exams` have the flag), for a rate between 0 and 1 (exclusive)."""
    log_ways = math.lgamma(exams + 1) - math.lgamma(count + 1) - math.lgamma(exams - count + 1)
    return math.exp(log_ways + count * math.log(rate) + (exams - count) * math.log1p(-rate))
