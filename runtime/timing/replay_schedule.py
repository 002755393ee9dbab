"""When what is missing is asked for and given up: one rule for books and terminal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

LONGEST_JUMP = 1_000_000
"""A number further ahead of all that is known was not given by the unit: a forger's, or a fault."""


class Step(Enum):
    """What to do about missing numbers now."""

    WAIT = auto()
    ASK = auto()
    GIVE_UP = auto()


@dataclass(frozen=True, kw_only=True)
class ReplaySchedule:
    """How patient a subscriber is; all times in ms. Pauses double with each request.

    `tail_after_ms`: for numbers above the highest that came, which may still be on their way.
    """

    after_ms: int = 5_000
    tail_after_ms: int = 10_000
    pause_ms: int = 30_000
    requests: int = 5

    def step(self, *, missing_ms: int, requests: int, asked_ms_ago: int, tail: bool) -> Step:
        """`missing_ms`: how long they have been missing; `requests`: made so far for them."""
        if missing_ms < (self.tail_after_ms if tail else self.after_ms):
            return Step.WAIT
        if requests and asked_ms_ago < self.pause_ms * 2 ** (requests - 1):
            return Step.WAIT
        return Step.ASK if requests < self.requests else Step.GIVE_UP
