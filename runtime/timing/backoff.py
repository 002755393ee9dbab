"""How long to wait before the next attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


class Backoff:
    """Pauses that double from `first_s` to `longest_s`, each drawn between `first_s` and that.

    The draw keeps the units of a site from coming back in step after their broker was away.
    """

    def __init__(self, *, first_s: float, longest_s: float, randomness: Random) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._randomness = randomness
        self._ceiling_s = first_s

    def next_s(self, *, long: bool = False) -> float:
        """The pause before the next attempt, in seconds; `long`: one of the longest, at once."""
        if long:
            return self._randomness.uniform(0.5, 1.0) * self._longest_s
        pause_s = self._randomness.uniform(self._first_s, self._ceiling_s)
        self._ceiling_s = min(self._longest_s, self._ceiling_s * 2)
        return pause_s

    def reset(self) -> None:
        """An attempt succeeded: the next pause is a short one."""
        self._ceiling_s = self._first_s
