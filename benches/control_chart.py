"""`python -m benches.control_chart`: how often charts alarm falsely, how soon they find a rise.

Simulated units, each with baselines of its own that it learnt from its first 1,000 exams. False
alarms are those of both measures together, which have the same normal rate here: all tests, 60
exams a day. `new`: of a unit's very first month, in which it learns. The rise is that of the
priority rate to its double, from a chart at rest.

`--bound`: what is possible at all. With a baseline that is known exactly and the whole budget for
this one test: the lowest limit of the CUSUM at which no more than one false alarm begins a month,
and after how many exams it finds the doubling. Computed, not simulated.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
from dataclasses import asdict, dataclass

import numpy as np

from runtime.site.control_charts.chart_state import ChartState, Measure
from runtime.site.control_charts.cusum import HIGHEST_LIMIT, lattice, median_run_length
from tests.runtime.site.chart_simulation import (
    CLINIC_MONTH,
    alarms_in,
    charts,
    exams,
    exams_to_find,
    learnt,
)

GOAL_EXAMS = 200
GOAL_FALSE = 1.0
"""Of one unit and month, both measures together."""
BOUND_RATES = (0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.03, 0.05)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one normal rate gave. Intervals: 95 %."""

    rate: float
    units: int
    false_alarms: float
    false_alarms_between: tuple[float, float]
    false_alarms_of: dict[str, float]
    """By measure."""
    false_alarms_new: float
    """Of a unit's very first month: nothing is known, then a baseline of 200 exams."""
    exams_to_find: float
    exams_between: tuple[float, float]

    @property
    def verdict(self) -> str:
        """`met`, or `MISSED`; `open` where an interval reaches beyond its goal."""
        false = max(self.false_alarms, self.false_alarms_new)
        if false > GOAL_FALSE or self.exams_to_find > GOAL_EXAMS:
            return "MISSED"
        sure = self.false_alarms_between[1] <= GOAL_FALSE and self.exams_between[1] <= GOAL_EXAMS
        return "met" if sure else "open"


def run(rate: float, *, units: int, seed: int) -> Run:
    """Units of that normal rate (0-1): a month in control, then a doubled rate."""
    rng = random.Random(seed)
    false: dict[Measure, list[int]] = {}
    new = 0
    found: list[int] = []
    for measure, chart in charts().items():
        learned = [learnt(chart, rate, rng) for _ in range(units)]
        false[measure] = [alarms_in(chart, u, exams(rate, CLINIC_MONTH, rng)) for u in learned]
        new += sum(
            alarms_in(chart, ChartState(), exams(rate, CLINIC_MONTH, rng)) for _ in range(units)
        )
        if measure is Measure.PRIORITY:
            found = [exams_to_find(chart, unit, 2 * rate, rng) for unit in learned]
    together = [sum(of_unit) for of_unit in zip(*false.values(), strict=True)]
    error = statistics.stdev(together) / math.sqrt(units)
    mean = statistics.mean(together)
    return Run(
        rate=rate,
        units=units,
        false_alarms=round(mean, 2),
        false_alarms_between=(round(mean - 1.96 * error, 2), round(mean + 1.96 * error, 2)),
        false_alarms_of={m.value: round(statistics.mean(n), 2) for m, n in false.items()},
        false_alarms_new=round(new / units, 2),
        exams_to_find=statistics.median(found),
        exams_between=median_interval(found),
    )


def median_interval(values: list[int]) -> tuple[float, float]:
    """Between which the median lies (95 %): exact, by the order of the values.

    Source: H. A. David, H. N. Nagaraja: PackageRequest Statistics, 3rd edition, section 7.1.
    """
    count = len(values)
    ordered = sorted(values)
    below, beyond = 0.0, 0
    for beyond in range(count // 2):
        below += math.comb(count, beyond) / 2**count
        if below > 0.025:
            break
    return (ordered[max(0, beyond - 1)], ordered[min(count - 1, count - beyond)])


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The best that a CUSUM can do at one normal rate, with a baseline that is known."""

    rate: float
    limit: int
    false_alarms: float
    exams_to_find: int

    @property
    def verdict(self) -> str:
        """Whether any setting of the chart could meet both goals."""
        return "possible" if self.exams_to_find <= GOAL_EXAMS else "IMPOSSIBLE"


def bound(rate: float) -> Bound:
    """At that normal rate (0-1): the lowest limit with one false alarm a month at most."""
    steps = lattice(rate, 2 * rate)
    low, high = steps.rise, 2 * HIGHEST_LIMIT
    while high - low > 1:
        middle = (low + high) // 2
        if false_alarms_begun(rate, middle) <= GOAL_FALSE:
            high = middle
        else:
            low = middle
    return Bound(
        rate=rate,
        limit=high,
        false_alarms=round(false_alarms_begun(rate, high), 2),
        exams_to_find=median_run_length(steps, high, 2 * rate),
    )


def false_alarms_begun(rate: float, limit: int) -> float:
    """Expected in a month's exams; an alarm is held at the limit and ends at zero, as in charts."""
    steps = lattice(rate, 2 * rate)
    values = np.arange(limit + 1)
    up, down = np.minimum(values + steps.rise, limit), np.maximum(values - steps.fall, 0)
    armed, held = np.zeros(limit + 1), np.zeros(limit + 1)
    armed[0] = 1.0
    begun = 0.0
    for _ in range(CLINIC_MONTH):
        next_armed, next_held = np.zeros(limit + 1), np.zeros(limit + 1)
        for here, following in ((armed, next_armed), (held, next_held)):
            np.add.at(following, up, here * rate)
            np.add.at(following, down, here * (1.0 - rate))
        begun += next_armed[limit]
        next_held[limit] += next_armed[limit]
        next_armed[0] += next_held[0]
        next_armed[limit] = next_held[0] = 0.0
        armed, held = next_armed, next_held
    return begun


def _print_row(one: Run | Bound, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(one) | {"verdict": one.verdict}), flush=True)
        return
    if isinstance(one, Bound):
        print(f"| {one.rate:.2%} | {one.false_alarms:.2f} | {one.exams_to_find} | {one.verdict} |")
        return
    (fewest, most), (soonest, latest) = one.false_alarms_between, one.exams_between
    of = one.false_alarms_of
    print(
        f"| {one.rate:.0%} | {one.units} | {of[Measure.PRIORITY]:.2f}"
        f" | {of[Measure.NOT_ASSESSED]:.2f} | {one.false_alarms:.2f} ({fewest:.2f}-{most:.2f})"
        f" | {one.false_alarms_new:.2f} | {one.exams_to_find:g} ({soonest:g}-{latest:g})"
        f" | {one.verdict} |",
        flush=True,
    )


def main() -> int:
    """Prints a row for each rate; 1 if one of them missed a goal (`--bound`: 0)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+")
    parser.add_argument("--units", type=int, default=400, help="of each rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--bound", action="store_true", help="what is possible at all")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    if arguments.units < 2:
        parser.error("--units: two at least")
    if not arguments.json:
        print(_BOUND_HEAD if arguments.bound else _RUN_HEAD)
    missed = False
    if arguments.bound:
        for rate in arguments.rates or BOUND_RATES:
            _print_row(bound(rate), as_json=arguments.json)
        return 0
    for rate in arguments.rates or (0.02, 0.03, 0.05, 0.07, 0.1, 0.2):
        one = run(rate, units=arguments.units, seed=arguments.seed)
        missed |= one.verdict == "MISSED"
        _print_row(one, as_json=arguments.json)
    return int(missed)


_RUN_HEAD = (
    "| normal rate | units | false alarms a unit and month: priority | not assessed"
    " | together (95 %) | new | exams to find (95 %) | goals |\n|---|---|---|---|---|---|---|---|"
)
_BOUND_HEAD = (
    "| normal rate | false alarms a unit and month | exams to find | both goals |\n"
    "|---|---|---|---|"
)


if __name__ == "__main__":
    sys.exit(main())
