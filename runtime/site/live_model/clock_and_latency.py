"""A unit's clock against ours, and how long its rows take. Pure; of late only."""

from __future__ import annotations

from collections import deque
from statistics import quantiles

LATENCIES_KEPT = 200
SKEWS_KEPT = 20


class ClockAndLatency:
    """The last moments that a unit said, against those at which we heard them (ms)."""

    def __init__(self) -> None:
        self._latencies_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._skews_ms: deque[float] = deque(maxlen=SKEWS_KEPT)

    def row(self, said_ms: int, heard_ms: int) -> float:
        """A live row came; how long it took, skewed as the clocks are."""
        self._latencies_ms.append(float(heard_ms - said_ms))
        return self._latencies_ms[-1]

    def word(self, said_ms: int, heard_ms: int) -> None:
        """A live `status` or `health` came: they are not kept waiting."""
        self._skews_ms.append(float(heard_ms - said_ms))

    @property
    def skew_ms(self) -> float | None:
        """Our clock minus the unit's: the least of late, so the way over the wire counts little.

        Negative: the unit's clock is ahead. None: nothing to tell by.
        """
        return min(self._skews_ms) if self._skews_ms else None

    @property
    def latency_ms(self) -> dict[str, float] | None:
        """From the unit's `at` to our hearing of it, of live rows; skewed as the clocks are."""
        values = list(self._latencies_ms)
        if not values:
            return None
        cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else values * 19
        return {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1), "count": len(values)}
