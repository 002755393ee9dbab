"""Units that are charted, simulated: for tests and for `python -m benches.control_chart`."""

from __future__ import annotations

from runtime.site.control_charts.chart_rules import RULES, ChartRules
from runtime.site.control_charts.chart_state import ChartState
from runtime.site.control_charts.control_chart import ChartedExam, ControlChart

CLINIC_MONTH = 60 * 22
"""Exams of a busy unit in a month."""
MOST_EXAMS = 2_000
FULLY = ChartRules().learn_fully


def charts() -> dict:
    """The charts of a service, one for each measure."""
    return {measure: ControlChart(rules) for measure, rules in RULES.items()}


def exams(rate, count, rng) -> list[ChartedExam]:
    """Independent exams of that rate."""
    return [ChartedExam(flagged=rng.random() < rate, happened_ms=n) for n in range(count)]


def learnt(chart, rate, rng) -> ChartState:
    """A chart that has learnt from a thousand exams, in control; its statistics begin anew."""
    state = ChartState()
    while state.baseline_exams < FULLY:
        # In control: exams that came while a false alarm stood were not learnt from.
        state = chart.stepped(state, exams(rate, FULLY - state.baseline_exams, rng), None)
    return state.model_copy(
        update={"up_alarm": False, "down_alarm": False, "block_alarm": False, "up": 0, "down": 0}
    )


def alarms_in(chart, state, given) -> int:
    """How many alarms begin while these exams come."""
    begun = 0
    # Ten at a time: an alarm stands for longer than that.
    for at in range(0, len(given), 10):
        following = chart.stepped(state, given[at : at + 10], None)
        for name in ("up_alarm", "down_alarm", "block_alarm"):
            begun += getattr(following, name) and not getattr(state, name)
        state = following
    return begun


def exams_to_find(chart, state, rate, rng) -> int:
    """Exams until a rise is told; `MOST_EXAMS` if it is not."""
    for count in range(5, MOST_EXAMS, 5):
        state = chart.stepped(state, exams(rate, 5, rng), None)
        if state.up_alarm or state.block_alarm:
            return count
    return MOST_EXAMS
