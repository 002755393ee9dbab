"""Charts: false alarms as rare as stated, changes found as soon as stated; by simulation."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from benches.control_chart import bound, median_interval, run
from runtime.site.control_charts.binomial import probability, tail_limits
from runtime.site.control_charts.chart_rules import ChartRules
from runtime.site.control_charts.chart_state import ChartState
from runtime.site.control_charts.control_chart import ChartedExam, ControlChart, Expectation
from runtime.site.control_charts.cusum import (
    CusumGoal,
    designed,
    lattice,
    mean_run_length,
    median_run_length,
)
from tests.runtime.site.chart_simulation import exams, learnt


@pytest.mark.parametrize("rate", [0.05, 0.10])
def test_at_most_one_false_alarm_a_unit_and_month_and_a_doubled_rate_within_200(rate):
    """Baselines are estimated, as in the field; all tests of both measures together."""
    measured = run(rate, units=40, seed=11)
    assert measured.false_alarms <= 1
    assert measured.false_alarms_new <= 1
    assert measured.exams_to_find <= 200


def test_rates_so_rare_that_no_chart_could_meet_both_goals_are_told():
    """Computed with a known baseline: at 1 % there is a chart, at half of that there is none."""
    assert bound(0.01).verdict == "possible"
    assert bound(0.005).verdict == "IMPOSSIBLE"
    assert bound(0.005).false_alarms <= 1 < bound(0.005).exams_to_find / 200


def test_the_median_lies_in_its_interval():
    """By the order of the values: of 100 the 40th to the 61st (David and Nagaraja, table)."""
    assert median_interval(list(range(1, 101))) == (40, 61)


def test_an_alarm_ends_when_the_rate_is_normal_again():
    """It is held while the evidence stands, and says since when the change is."""
    rng = random.Random(5)
    chart = ControlChart(ChartRules())
    state = chart.stepped(learnt(chart, 0.1, rng), exams(0.3, 300, rng), None)
    assert state.up_alarm
    assert state.up_since_ms < 100
    assert state.up_count / state.up_exams == pytest.approx(0.3, abs=0.06)
    baseline = state.baseline_rate
    state = chart.stepped(state, exams(0.1, 1500, rng), None)
    assert not state.up_alarm
    assert state.baseline_rate == baseline


def test_a_rate_that_falls_to_nothing_alarms():
    """A model that flags nobody any more is no good news."""
    rng = random.Random(6)
    chart = ControlChart(ChartRules())
    state = chart.stepped(learnt(chart, 0.1, rng), exams(0.0, 200, rng), None)
    assert state.down_alarm


def test_before_two_hundred_exams_nothing_alarms_and_a_package_gives_the_limits():
    """What is not known yet is not judged; the picture has limits from the operating point."""
    chart = ControlChart(ChartRules())
    many = [ChartedExam(flagged=True, happened_ms=n) for n in range(199)]
    state = chart.stepped(ChartState(), many, Expectation(rate=0.12))
    assert state.baseline_rate == 0.12
    assert (state.up_alarm, state.down_alarm, state.block_alarm) == (False, False, False)


@pytest.mark.parametrize("rate", [0.0, 0.004, 0.5, 1.0])
def test_rates_at_the_ends_are_charted_without_an_alarm(rate):
    """Nobody, hardly anybody, every second, everybody: limits exist, nothing fails."""
    chart = ControlChart(ChartRules())
    state = chart.stepped(ChartState(), exams(rate, 1200, random.Random(2)), None)
    assert not state.up_alarm
    assert not state.block_alarm


@pytest.mark.parametrize("changed", [0.2, 0.05])
def test_computed_run_lengths_are_those_of_simulated_charts(changed):
    """The Markov chain against the chart itself; steps up of one and steps down of one."""
    cusum = designed(0.1, changed, CusumGoal())
    rng = random.Random(3)

    def run_length() -> int:
        value, count = 0, 0
        while value < cusum.limit:
            value = cusum.steps.step(value, flagged=rng.random() < changed)
            count += 1
        return count

    simulated = [run_length() for _ in range(2000)]
    assert statistics.median(simulated) == pytest.approx(
        median_run_length(cusum.steps, cusum.limit, changed), rel=0.06
    )
    assert statistics.mean(simulated) == pytest.approx(
        mean_run_length(cusum.steps, cusum.limit, changed), rel=0.06
    )


def test_a_false_alarm_so_rare_that_it_never_comes_has_an_endless_run_length():
    """Beyond what a number can hold there is no fault, and no wrong figure."""
    assert mean_run_length(lattice(0.4, 0.7), 5000, 0.001) == math.inf
    assert mean_run_length(lattice(0.9, 0.45), 5000, 0.9) == math.inf


def test_steps_follow_the_likelihood_ratio():
    """The weight of a flag against that of none, rounded to whole steps."""
    up = lattice(0.1, 0.2)
    assert (up.rise, up.fall) == (6, 1)
    down = lattice(0.1, 0.05)
    assert (down.rise, down.fall) == (1, 13)


@pytest.mark.parametrize(("rate", "count"), [(0.1, 50), (0.02, 30), (0.5, 10), (0.9, 40)])
def test_limits_leave_the_stated_tails_outside(rate, count):
    """Exact: one count further in would leave out too much, one further out nothing needed."""
    low, high = tail_limits(rate, count)
    below = sum(probability(n, count, rate) for n in range(low))
    above = sum(probability(n, count, rate) for n in range(high + 1, count + 1))
    assert below <= 0.00135
    assert above <= 0.00135
    assert below + probability(low, count, rate) > 0.00135
    assert above + probability(high, count, rate) > 0.00135
