"""How charts learn and what they are built for: the budget of false alarms. Pure.

Of a unit and month (60 exams a day, 22 days) both measures together may alarm falsely once, while
a doubled priority rate shall be found within 200 exams at the median. So nearly all of the budget
is the priority rate's rise. Its share by simulation, baselines learnt from 1,000 exams, at the
rates of 2 and 3 % that need most of it (`python -m benches.control_chart`):

| test | false alarms a unit and month |
|---|---|
| priority, risen (CUSUM) | 0.7 |
| priority, fallen (CUSUM) | 0.1 |
| not assessed, risen (CUSUM) | 0.1 |
| blocks of 50, both measures | 0.1 |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from runtime.site.control_charts.chart_state import Measure
from runtime.site.control_charts.cusum import CusumGoal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class ChartRules:
    """How charts of one measure learn, and what they are built for. Those of the priority rate."""

    learn_first: int = 200
    learn_fully: int = 1_000
    block: int = 50
    rise_goal: CusumGoal = field(default_factory=CusumGoal)
    fall_goal: CusumGoal = field(
        default_factory=lambda: CusumGoal(find_within=180, least_to_false_alarm=30_000.0)
    )
    """A fall takes longer to find: fewer flags say less. It may."""
    watch_fall: bool = True
    """Whether a halved rate alarms too."""


RULES: Mapping[Measure, ChartRules] = MappingProxyType(
    {
        Measure.PRIORITY: ChartRules(),
        # Images that cannot be assessed are told with each exam: nobody depends on the chart.
        Measure.NOT_ASSESSED: ChartRules(
            rise_goal=CusumGoal(find_within=180, least_to_false_alarm=20_000.0), watch_fall=False
        ),
    }
)
