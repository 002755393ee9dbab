"""The Bernoulli CUSUM: has a unit's rate changed? Looks at every exam. Pure.

M. R. Reynolds, Z. G. Stoumbos: A CUSUM chart for monitoring a proportion when inspecting
continuously. Journal of Quality Technology 31 (1999) 87-108. The statistic adds what each exam
says for the changed rate against the normal one, and never falls below zero. The log-likelihood
steps are rounded to a lattice (m-1 up, 1 down, or the reverse), so that the run length is a Markov
chain whose mean and median are computed, not simulated (D. Brook, D. A. Evans: An approach to the
probability distribution of cusum run length. Biometrika 59 (1972) 539-549). One of the two steps is
always 1, so that the mean follows value by value, without solving equations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

HIGHEST_LIMIT = 600
"""No chart of a rate of one in a hundred or more needs a higher one."""
Probabilities = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """The steps of a CUSUM. `rise` is added after an exam that speaks for the change.

    `upward`: the change is to more; then such an exam is one with the flag.
    """

    upward: bool
    rise: int
    fall: int

    def step(self, value: int, *, flagged: bool) -> int:
        """The statistic after the next exam."""
        speaks_for = flagged == self.upward
        return max(0, value + (self.rise if speaks_for else -self.fall))


def lattice(normal: float, changed: float) -> Lattice:
    """The steps that tell `changed` from `normal` (rates between 0 and 1, exclusive).

    Raises:
        ValueError: the rates are equal, or none.
    """
    if not (0.0 < normal < 1.0 and 0.0 < changed < 1.0) or normal == changed:
        raise ValueError(f"two different rates between 0 and 1, not {normal} and {changed}")
    for_flag = abs(math.log(changed / normal))
    for_none = abs(math.log((1.0 - changed) / (1.0 - normal)))
    m = max(2, round((for_flag + for_none) / for_none))
    if changed > normal:
        return Lattice(upward=True, rise=m - 1, fall=1)
    return Lattice(upward=False, rise=1, fall=m - 1)


def _advanced(here: Probabilities, steps: Lattice, rate: float) -> Probabilities:
    """P(state) after one more exam, without those that reached the limit; states 0 … limit-1."""
    limit = len(here)
    chance_up = rate if steps.upward else 1.0 - rate
    following = np.zeros(limit)
    fell = here * (1.0 - chance_up)
    landing = max(0, limit - steps.fall)
    following[:landing] += fell[limit - landing :]
    following[0] += fell[: limit - landing].sum()
    following[steps.rise :] += here[: max(0, limit - steps.rise)] * chance_up
    return following


def _from_zero(limit: int) -> Probabilities:
    here = np.zeros(limit)
    here[0] = 1.0
    return here


def mean_run_length(steps: Lattice, limit: int, rate: float) -> float:
    """Exams until the statistic reaches `limit` from zero, on average, at that rate (0-1).

    Raises:
        ValueError: a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"a limit of 1 or more, not {limit}")
    if steps.rise == 1:
        return _mean_by_single_rises(steps.fall, limit, rate if steps.upward else 1.0 - rate)
    return _mean_by_single_falls(steps.rise, limit, rate if steps.upward else 1.0 - rate)


def _mean_by_single_rises(fall: int, limit: int, chance_up: float) -> float:
    """Steps up are 1: from each value the next higher one is reached before any beyond it.

    `climbed[v]`: mean exams from 0 to v. One exam takes v up, or down to v - fall, from where the
    way to v + 1 is climbed again.
    """
    climbed = [0.0]
    for value in range(limit):
        again = climbed[value] - climbed[max(0, value - fall)]
        climbed.append(climbed[value] + (1.0 + (1.0 - chance_up) * again) / chance_up)
        if climbed[-1] == math.inf:
            break
    return climbed[-1]


def _mean_by_single_falls(rise: int, limit: int, chance_up: float) -> float:
    """Steps down are 1: mean(v) = `own[v]` + (1 - `lost[v]`) * mean(v - 1), from the limit down.

    `lost` is the chance to reach the limit before v - 1; it is kept instead of its complement,
    which is 1 to many digits where false alarms are rare.
    """
    own, lost = [0.0] * limit, [1.0] * limit
    for value in range(limit - 1, -1, -1):
        exams, reached = 0.0, 0.0  # from value + rise back down to this value
        if value + rise >= limit:
            reached = 1.0
        else:
            for above in range(value + 1, value + rise + 1):
                exams = own[above] + (1.0 - lost[above]) * exams
                reached += lost[above] - reached * lost[above]
        if value == 0:
            return (1.0 + chance_up * exams) / (chance_up * reached) if reached else math.inf
        stays = 1.0 - chance_up * (1.0 - reached)
        own[value] = (1.0 + chance_up * exams) / stays
        lost[value] = chance_up * reached / stays
    raise AssertionError("a limit of 1 or more ends at zero")


def median_run_length(steps: Lattice, limit: int, rate: float, *, most: int = 10_000) -> int:
    """Exams after which half of all charts have reached `limit` from zero; `most` + 1 if later."""
    here = _from_zero(limit)
    for exams in range(1, most + 1):
        here = _advanced(here, steps, rate)
        if here.sum() <= 0.5:
            return exams
    return most + 1


@dataclass(frozen=True, kw_only=True)
class Cusum:
    """A chart: its steps and the limit at which it alarms."""

    steps: Lattice
    limit: int


@dataclass(frozen=True, kw_only=True)
class CusumGoal:
    """What a chart is made for.

    The limit is the highest that still finds the change within `find_within` exams (median), but
    never so low that a false alarm comes before `least_to_false_alarm` exams on average: where
    both cannot be had, the change is found later. It is no higher than a false alarm in
    `enough_to_false_alarm` exams asks for.
    """

    find_within: int = 120
    least_to_false_alarm: float = 1_700.0
    enough_to_false_alarm: float = 100_000.0


def designed(normal: float, changed: float, goal: CusumGoal) -> Cusum:
    """The chart for a change from `normal` to `changed` (rates between 0 and 1, exclusive)."""
    steps = lattice(normal, changed)

    def false_alarms_rarer_than(exams: float, limit: int) -> bool:
        return mean_run_length(steps, limit, normal) >= exams

    def found_too_late(limit: int) -> bool:
        within = median_run_length(steps, limit, changed, most=goal.find_within)
        return within > goal.find_within

    least = _first(lambda limit: false_alarms_rarer_than(goal.least_to_false_alarm, limit))
    found = _first(found_too_late) - 1
    if found <= least:
        return Cusum(steps=steps, limit=least)
    enough = _first(lambda limit: false_alarms_rarer_than(goal.enough_to_false_alarm, limit))
    return Cusum(steps=steps, limit=min(found, enough))


def _first(holds: Callable[[int], bool]) -> int:
    """The smallest limit for which something holds that then holds for all above it."""
    high = 8
    while high < HIGHEST_LIMIT and not holds(high):
        high *= 2
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
