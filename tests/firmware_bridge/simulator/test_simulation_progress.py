"""What a simulation says of its time, before and while it plays."""

from __future__ import annotations

import pytest

from firmware_bridge.simulator.progress import SAYS_EVERY_S, Drawing, Pace, Progress, duration


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def pace(**fields):
    return Pace(**({"units": 1, "exams": 4, "exams_per_hour": 12.0} | fields))


def test_a_clinics_pace_is_announced():
    """Four exams, twelve an hour: three whole ones, and the exposures of the last."""
    announced = pace().announcement()
    assert pace().least_s == 3 * 300 + 150
    assert "4 exams at 1 unit" in announced
    assert "18 min" in announced
    assert "first exam ends after 2 min" in announced
    assert "--exams-per-hour 0" in announced


def test_units_play_at_the_same_time():
    """More units take no longer."""
    assert pace(units=7).least_s == pace().least_s
    assert "each of 7 units" in pace(units=7).announcement()


def test_without_a_pace_nobody_promises_a_time():
    """As fast as the receiver takes them: who knows how fast that is."""
    announced = pace(exams_per_hour=0).announcement()
    assert announced == "4 exams at 1 unit, as fast as the receiver takes them"


def test_progress_is_said_now_and_then(clock):
    """Not for each image, and with what is left by the announced time."""
    said = []
    progress = Progress(pace(), say=said.append, clock_s=clock)
    progress.image()
    assert not said
    clock.now_s += 450
    progress.exam()
    progress.image()
    clock.now_s += SAYS_EVERY_S
    progress.image()
    assert said == [
        "1 of 4 exams, 1 images, about 10 min left",
        "1 of 4 exams, 3 images, about 10 min left",
    ]


def test_without_a_pace_the_exams_so_far_tell_what_is_left(clock):
    """Before the first one nothing does."""
    said = []
    progress = Progress(pace(exams_per_hour=0, units=2), say=said.append, clock_s=clock)
    clock.now_s += 20
    progress.image()
    clock.now_s += 20
    progress.exam()
    assert said == ["0 of 8 exams, 1 images", "1 of 8 exams, 1 images, about 5 min left"]


def test_overtime_is_no_negative_time(clock):
    """A receiver that is slower than the pace: nothing is promised any more."""
    said = []
    progress = Progress(pace(), say=said.append, clock_s=clock)
    clock.now_s += 10_000
    progress.exam()
    assert said == ["1 of 4 exams, 0 images"]


def test_a_long_drawing_says_how_far_it_is(clock):
    """Large phantoms take seconds each; small ones say nothing."""
    said = []
    drawing = Drawing(say=said.append, clock_s=clock)
    drawing.drawn(1, 16)
    clock.now_s += Drawing.SAYS_EVERY_S
    drawing.drawn(2, 16)
    drawing.drawn(3, 16)
    assert said == ["drawing phantoms: 2 of 16 images"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (119, "119 s"), (1050, "18 min"), (7199, "120 min"), (9000, "2.5 h")],
)
def test_durations_are_for_people(seconds, text):
    """No more digits than one plans with."""
    assert duration(seconds) == text
