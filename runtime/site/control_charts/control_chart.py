"""Control charts of a unit's rates: learns what is normal, then says when it is no more. Pure.

Three tests for each measure, all on final exams, each exam once:

- a CUSUM for a doubled rate and one for a halved one: they look at every exam (`cusum`);
- a p-chart of blocks of 50 exams against exact 3-sigma limits (`binomial`): a sudden jump.

Phase I and phase II are kept apart (D. C. Montgomery, Introduction to Statistical Quality Control,
ch. 5 and 7): the baseline is the unit's own first 200, later its first 1,000 exams, helped by what
its package was measured to give, and then stands still. An estimated baseline makes more false
alarms than a known one (W. A. Jensen et al., Journal of Quality Technology 38 (2006) 349-364): that
of 1,000 exams is in the budget (`chart_rules`), for that of 200 the CUSUMs are built half a
standard error more (or less) than was estimated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.site.control_charts.binomial import tail_limits
from runtime.site.control_charts.chart_state import ChartState
from runtime.site.control_charts.cusum import Cusum, designed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.site.control_charts.chart_rules import ChartRules

LOWEST_RATE = 0.01
"""Rarer things are watched as if they were so frequent: a chart for less would sleep for months."""
HIGHEST_RATE = 0.9
HIGHEST_TO_RISE = 0.45
"""Above it a rate cannot double, and the lattice has no steps for less; the p-chart remains."""
GRID = 1.05
"""Charts are built for rates 5 % apart: a thousand units share some eighty."""
CAUTION_WHILE_LEARNING = 0.5
"""Standard errors. By simulation charts of 200 exams alarm falsely 1.3 times a month without it."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a package was measured to give: a rate (0-1), worth as many exams of the unit's own.

    A package's set is no screening population: it counts little beside the unit's own exams.
    """

    rate: float
    exams: int = 100


@dataclass(frozen=True, kw_only=True)
class ChartedExam:
    """An exam as the charts see it. `happened_ms`: ms since the epoch, UTC."""

    flagged: bool
    happened_ms: int


class ControlChart:
    """Steps charts forward. Holds no unit's state; designs are kept and shared between units."""

    def __init__(self, rules: ChartRules) -> None:
        self._rules = rules
        self._designs: dict[tuple[int, bool], Cusum] = {}

    def stepped(
        self, state: ChartState, exams: Iterable[ChartedExam], expected: Expectation | None
    ) -> ChartState:
        """The chart after these exams, in their order."""
        work = state.model_dump()
        if work["baseline_rate"] is None and expected is not None:
            work["baseline_rate"] = expected.rate
        for exam in exams:
            self._step(work, exam, expected)
        return ChartState(**work)

    def _step(self, work: dict[str, Any], exam: ChartedExam, expected: Expectation | None) -> None:
        rules = self._rules
        work["exams"] += 1
        alarmed = work["up_alarm"] or work["down_alarm"] or work["block_alarm"]
        if work["baseline_exams"] < rules.learn_fully and not alarmed:
            work["baseline_exams"] += 1
            work["baseline_count"] += exam.flagged
            if work["baseline_exams"] in (rules.learn_first, rules.learn_fully):
                work |= _LEARNT
                work["baseline_rate"] = _rate(
                    work["baseline_count"], work["baseline_exams"], expected
                )
        if work["baseline_exams"] < rules.learn_first:
            return
        self._accumulate(work, exam, "up")
        if rules.watch_fall:
            self._accumulate(work, exam, "down")
        self._block(work, exam)

    def _accumulate(self, work: dict[str, Any], exam: ChartedExam, side: str) -> None:
        learnt = min(work["baseline_exams"], self._rules.learn_fully)
        if side == "up" and work["baseline_rate"] > HIGHEST_TO_RISE:
            return
        cusum = self.cusum(work["baseline_rate"], learnt, upward=side == "up")
        value = cusum.steps.step(work[side], flagged=exam.flagged)
        if value == 0:
            work[side] = 0
            work |= {f"{side}_since_ms": None, f"{side}_count": 0, f"{side}_exams": 0}
            work[f"{side}_alarm"] = False
            return
        if work[side] == 0:
            work[f"{side}_since_ms"] = exam.happened_ms
        work[f"{side}_count"] += exam.flagged
        work[f"{side}_exams"] += 1
        # Held at its limit: the alarm ends when the exams since then have spoken against it.
        work[side] = min(value, cusum.limit)
        work[f"{side}_alarm"] = work[f"{side}_alarm"] or value >= cusum.limit

    def _block(self, work: dict[str, Any], exam: ChartedExam) -> None:
        if work["block_exams"] == 0:
            work["block_since_ms"] = exam.happened_ms
        work["block_exams"] += 1
        work["block_count"] += exam.flagged
        if work["block_exams"] < self._rules.block:
            return
        low, high = tail_limits(work["baseline_rate"], work["block_exams"])
        count = work["block_count"]
        outside = count > high or (self._rules.watch_fall and count < low)
        work |= {"block_alarm": outside, "last_block_count": count}
        work["last_block_ms"] = work["block_since_ms"]
        work |= {"block_count": 0, "block_exams": 0}

    def cusum(self, rate: float, learnt_exams: int, *, upward: bool) -> Cusum:
        """The CUSUM for a baseline of that rate that was learnt from so many exams."""
        built_for = rate
        if learnt_exams < self._rules.learn_fully:
            error = math.sqrt(rate * (1.0 - rate) / max(1, learnt_exams))
            built_for += CAUTION_WHILE_LEARNING * (error if upward else -error)
        highest = HIGHEST_TO_RISE if upward else HIGHEST_RATE
        built_for = min(max(built_for, LOWEST_RATE), highest)
        rung = round(math.log(built_for) / math.log(GRID))
        key = (rung, upward)
        if key not in self._designs:
            goal = self._rules.rise_goal if upward else self._rules.fall_goal
            normal = min(max(GRID**rung, LOWEST_RATE), highest)
            changed = min(2.0 * normal, (1.0 + normal) / 2.0) if upward else normal / 2.0
            self._designs[key] = designed(normal, changed, goal)
        return self._designs[key]


_LEARNT = {
    "up": 0,
    "up_since_ms": None,
    "up_count": 0,
    "up_exams": 0,
    "down": 0,
    "down_since_ms": None,
    "down_count": 0,
    "down_exams": 0,
    "block_count": 0,
    "block_exams": 0,
}


def _rate(count: int, exams: int, expected: Expectation | None) -> float:
    """The rate of `count` of `exams`; never 0 or 1, which no limits could be drawn around."""
    if expected is None:
        return (count + 0.5) / (exams + 1.0)
    return (count + 0.5 + expected.rate * expected.exams) / (exams + 1.0 + expected.exams)
