"""Recent stage latencies, for `health`."""

from __future__ import annotations

import threading
from collections import deque
from statistics import quantiles
from typing import TYPE_CHECKING

from runtime.messages.payloads import Latency

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW = 256


class StageLatencies:
    """The last `WINDOW` figures of each stage. Thread-safe."""

    def __init__(self) -> None:
        self._stages: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, stage_ms: Mapping[str, float]) -> None:
        """One more figure, in ms, for each stage."""
        with self._lock:
            for stage, ms in stage_ms.items():
                self._stages.setdefault(stage, deque(maxlen=WINDOW)).append(ms)

    def summary(self) -> dict[str, Latency]:
        """Median and 95th percentile of each stage."""
        with self._lock:
            figures = {stage: list(values) for stage, values in self._stages.items()}
        summary = {}
        for stage, values in figures.items():
            cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else values * 19
            summary[stage] = Latency(p50_ms=cuts[9], p95_ms=cuts[18], count=len(values))
        return summary
