"""Units that are charted, simulated: for tests and for `python -m tests.bench.control_chart`."""

from __future__ import annotations

from runtime.site.chart_state import ChartState
from runtime.site.control_chart import ChartedExam

CLINIC_MONTH = 60 * 22
"""Exams of a busy unit in a month."""


def exams(rate, count, rng) -> list[ChartedExam]:
    """Independent exams of that rate."""
    return [ChartedExam(flagged=rng.random() < rate, happened_ms=n) for n in range(count)]


def learnt(chart, rate, rng) -> ChartState:
    """A chart after its first thousand exams, in control."""
    state = chart.stepped(ChartState(), exams(rate, 1000, rng), None)
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
    """Exams until a rise is told."""
    for count in range(5, 2000, 5):
        state = chart.stepped(state, exams(rate, 5, rng), None)
        if state.up_alarm or state.block_alarm:
            return count
    return 2000
