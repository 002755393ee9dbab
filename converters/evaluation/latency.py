"""How long inferences take under given settings of a device."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What a measurement gave."""

    precision: str
    device: str
    hint: str
    """`LATENCY`, `THROUGHPUT`, or `NONE` where the number of streams was given."""
    streams: int
    threads: int
    median_ms: float
    p95_ms: float
    per_second: float
    """Inferences in all streams together."""
    compile_ms: float
    cached_ms: float
    """To be ready for the first inference, from a warm cache of compiled graphs."""
    memory_mb: float
    """Growth of resident memory of a process that does nothing else."""
