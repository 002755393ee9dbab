"""`python -m tests.bench.control_chart`: how often charts alarm falsely, how soon they find a rise.

Simulated units, each with a baseline that it learnt from its own first 1,000 exams.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from dataclasses import asdict, dataclass

from runtime.site.control_chart import ChartRules, ControlChart
from tests.runtime.site.chart_simulation import (
    CLINIC_MONTH,
    alarms_in,
    exams,
    exams_to_find,
    learnt,
)

GOAL_EXAMS = 200
GOAL_FALSE = 0.5
"""Of one unit and month, for one measure: two are charted."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one normal rate gave."""

    rate: float
    units: int
    false_alarms: float
    exams_to_find: float

    @property
    def met(self) -> bool:
        """Whether both goals are."""
        return self.false_alarms <= GOAL_FALSE and self.exams_to_find <= GOAL_EXAMS


def run(rate: float, *, units: int, seed: int) -> Run:
    """Units of that normal rate (0-1): a month in control, then a doubled rate."""
    rng = random.Random(seed)
    chart = ControlChart(ChartRules())
    learned = [learnt(chart, rate, rng) for _ in range(units)]
    false = sum(alarms_in(chart, unit, exams(rate, CLINIC_MONTH, rng)) for unit in learned)
    found = [exams_to_find(chart, unit, 2 * rate, rng) for unit in learned]
    return Run(
        rate=rate,
        units=units,
        false_alarms=round(false / units, 2),
        exams_to_find=statistics.median(found),
    )


def main() -> int:
    """Prints a row for each rate; 1 if one of them missed a goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.02, 0.03, 0.05, 0.07, 0.12, 0.2]
    )
    parser.add_argument("--units", type=int, default=60, help="of each rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    if not arguments.json:
        print("| normal rate | units | false alarms a unit and month | exams to find | goals |")
        print("|---|---|---|---|---|")
    missed = 0
    for rate in arguments.rates:
        one = run(rate, units=arguments.units, seed=arguments.seed)
        missed |= not one.met
        if arguments.json:
            print(json.dumps(asdict(one) | {"met": one.met}), flush=True)
        else:
            print(
                f"| {one.rate:.0%} | {one.units} | {one.false_alarms:.2f}"
                f" | {one.exams_to_find:g} | {'met' if one.met else 'MISSED'} |",
                flush=True,
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
