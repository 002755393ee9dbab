"""Sums that a batch adds to hours, days and latencies; added to the tables at its end.

Sums are kept so that a page for a thousand units reads hundreds of rows, not millions.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from runtime.image.outcome import Flag
from runtime.site.store.site_clock import day_of, hour_of
from runtime.site.store.tables import HOURS, LATENCIES, REASONS
from runtime.site.store.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

BUCKETS_PER_OCTAVE = 8
"""Latencies are kept to within 9 %."""
UNIT_STRETCH = "unit"
"""From durable at the unit to judged."""
WIRE_STRETCH = "wire"
"""From judged to here."""
ALL_IMAGES = ""
"""In place of a reason: every image."""
FLAG_COLUMNS = tuple(flag.value for flag in Flag)


def latency_bucket(milliseconds: float) -> int:
    """The bucket of a latency; 0 holds everything up to 1 ms."""
    return max(0, math.ceil(BUCKETS_PER_OCTAVE * math.log2(max(milliseconds, 1.0))))


class BatchSums:
    """What a batch adds up to."""

    def __init__(self) -> None:
        self._flags: defaultdict[tuple[int, int, str, str, str], Counter[str]] = defaultdict(
            Counter
        )
        self._reasons: Counter[tuple[int, int, str]] = Counter()
        self._latencies: Counter[tuple[int, int, str, int]] = Counter()

    def exam(
        self,
        unit_id: int,
        happened_ms: int,
        judged_by: tuple[str | None, str | None, str | None],
        flag: str,
        *,
        times: int,
    ) -> None:
        """An exam is counted (`times` 1), or no more counted (-1), under its flag."""
        model, version, point = (word or "" for word in judged_by)
        self._flags[unit_id, hour_of(happened_ms), model, version, point][flag] += times

    def image(self, unit_id: int, happened_ms: int, reasons: Sequence[str], *, times: int) -> None:
        """An image is counted, or no more counted, with the reasons why it was not assessed."""
        day_ms = day_of(happened_ms)
        for reason in {ALL_IMAGES, *reasons}:
            self._reasons[unit_id, day_ms, reason] += times

    def latency(self, unit_id: int, happened_ms: int, stretch: str, took_ms: float) -> None:
        """An image took so long on that stretch of its way."""
        self._latencies[unit_id, day_of(happened_ms), stretch, latency_bucket(took_ms)] += 1

    def save(self, connection: Connection) -> None:
        """Adds everything to the tables."""
        hours = [
            {
                "unit_id": unit_id,
                "hour_ms": hour_ms,
                "model": model,
                "model_version": version,
                "operating_point": point,
            }
            | {flag: counts[flag] for flag in FLAG_COLUMNS}
            for (unit_id, hour_ms, model, version, point), counts in self._flags.items()
            if any(counts.values())
        ]
        if hours:
            connection.execute(upsert(connection, HOURS, add=FLAG_COLUMNS), hours)
        reasons = [
            {"unit_id": unit_id, "day_ms": day_ms, "reason": reason, "images": count}
            for (unit_id, day_ms, reason), count in self._reasons.items()
            if count
        ]
        if reasons:
            connection.execute(upsert(connection, REASONS, add=("images",)), reasons)
        latencies = [
            {
                "unit_id": unit_id,
                "day_ms": day_ms,
                "stretch": stretch,
                "bucket": bucket,
                "images": count,
            }
            for (unit_id, day_ms, stretch, bucket), count in self._latencies.items()
        ]
        if latencies:
            connection.execute(upsert(connection, LATENCIES, add=("images",)), latencies)
