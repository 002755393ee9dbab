"""How long a simulation will take, and how far it is: lines for whoever waits."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SAYS_EVERY_S = 10.0
MINUTE_S, HOUR_S = 60, 3600


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many exams, and how fast. `exams_per_hour` 0: as fast as they are taken."""

    units: int
    exams: int
    """Of each unit."""
    exams_per_hour: float

    @property
    def exam_s(self) -> float:
        """From one exam's beginning to the next one's at one unit; 0: no waiting."""
        return HOUR_S / self.exams_per_hour if self.exams_per_hour > 0 else 0.0

    @property
    def exposing_s(self) -> float:
        """Exposures fill the first half of an exam's time; the rest is the next patient's."""
        return self.exam_s / 2

    @property
    def least_s(self) -> float:
        """The waiting alone: all exams but the last take their whole time, that its exposures'."""
        return self.exam_s * (self.exams - 1) + self.exposing_s

    def announcement(self) -> str:
        """What is going to happen, and for how long."""
        where = "1 unit" if self.units == 1 else f"each of {self.units} units"
        what = f"{self.exams} {'exam' if self.exams == 1 else 'exams'} at {where}"
        if not self.exam_s:
            return f"{what}, as fast as the receiver takes them"
        return (
            f"{what}, {self.exams_per_hour:g} an hour: about "
            f"{duration(self.least_s)}, the first exam ends after {duration(self.exposing_s)} "
            "(--exams-per-hour 0: as fast as the receiver takes them)"
        )


class Progress:
    """Says how far a simulation is, at most every `SAYS_EVERY_S`; any thread may call it.

    Args:
        pace: what was announced.
        say: where to.
        clock_s: monotonic.
    """

    def __init__(
        self, pace: Pace, *, say: Callable[[str], None], clock_s: Callable[[], float]
    ) -> None:
        self._pace = pace
        self._say = say
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._began_s = self._said_s = clock_s()
        self._exams = self._images = 0

    def image(self) -> None:
        """An image has its answer."""
        with self._lock:
            self._images += 1
            self._say_now_and_then()

    def exam(self) -> None:
        """An exam has ended."""
        with self._lock:
            self._exams += 1
            self._say_now_and_then()

    def _say_now_and_then(self) -> None:
        now_s = self._clock_s()
        if now_s - self._said_s < SAYS_EVERY_S:
            return
        self._said_s = now_s
        total = self._pace.units * self._pace.exams
        left = self._left(now_s - self._began_s, total)
        self._say(f"{self._exams} of {total} exams, {self._images} images{left}")

    def _left(self, gone_s: float, total: int) -> str:
        """By the pace where there is one, else by what the exams so far took."""
        if self._pace.exam_s:
            left_s = self._pace.least_s - gone_s
        elif self._exams:
            left_s = gone_s / self._exams * (total - self._exams)
        else:
            return ""
        return f", about {duration(left_s)} left" if left_s > 0 else ""


class Drawing:
    """Says how far the drawing of phantoms is, at most every two seconds."""

    SAYS_EVERY_S = 2.0

    def __init__(self, *, say: Callable[[str], None], clock_s: Callable[[], float]) -> None:
        self._say = say
        self._clock_s = clock_s
        self._said_s = clock_s()

    def drawn(self, number: int, of: int) -> None:
        """So many images are ready."""
        if self._clock_s() - self._said_s >= self.SAYS_EVERY_S:
            self._said_s = self._clock_s()
            self._say(f"drawing phantoms: {number} of {of} images")


def duration(seconds: float) -> str:
    """For people: seconds below two minutes, minutes below two hours.

    >>> duration(1050)
    '18 min'
    """
    if seconds < 2 * MINUTE_S:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 2 * HOUR_S:
        return f"{seconds / MINUTE_S:.0f} min"
    return f"{seconds / HOUR_S:.1f} h"
