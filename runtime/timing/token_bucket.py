"""A limit on how often something may happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class TokenBucket:
    """`capacity` at once, then `per_s` each second. Not thread-safe: one thread takes."""

    def __init__(self, *, capacity: int, per_s: float, monotonic: Callable[[], float]) -> None:
        self._capacity = float(capacity)
        self._per_s = per_s
        self._monotonic = monotonic
        self._tokens = self._capacity
        self._at_s = monotonic()

    def take(self) -> bool:
        """Whether it may happen now; if so, it counts."""
        now_s = self._monotonic()
        self._tokens = min(self._capacity, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
