"""What is older than the site keeps goes, in pieces that nobody has to wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, select

from runtime.site.store.tables import (
    ALARMS,
    BOOTS,
    DRIFTS,
    EVENTS,
    EXAMS,
    HOURS,
    IMAGES,
    LATENCIES,
    NUMBERS,
    REASONS,
    SERVICES,
    STATES,
)

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

    from runtime.site.store.store import Store

PIECE = 5_000
# By the moment that each table is asked by. Open alarms and the sums of streams stay.
AGES: tuple[tuple[Table, Column[int]], ...] = (
    (EXAMS, EXAMS.c.happened_ms),
    (IMAGES, IMAGES.c.happened_ms),
    (EVENTS, EVENTS.c.happened_ms),
    (DRIFTS, DRIFTS.c.happened_ms),
    (STATES, STATES.c.happened_ms),
    (HOURS, HOURS.c.hour_ms),
    (REASONS, REASONS.c.day_ms),
    (LATENCIES, LATENCIES.c.day_ms),
    (NUMBERS, NUMBERS.c.received_ms),
    (ALARMS, ALARMS.c.closed_ms),
    (SERVICES, SERVICES.c.seen_ms),
    (BOOTS, BOOTS.c.last_ms),
)


def forget_before(store: Store, at_ms: int) -> int:
    """Deletes what is older than a moment (ms since the epoch, UTC); how many rows.

    Numbers go by when they were received, so that a replay of old messages is known as such.

    Raises:
        StoreError: the database failed; what was deleted until then stays deleted.
    """
    forgotten = 0
    for table, moment in AGES:
        while True:
            key = list(table.primary_key.columns)
            with store.writing() as connection:
                rows = connection.execute(select(*key).where(moment < at_ms).limit(PIECE)).all()
                if not rows:
                    break
                same = and_(*(column == bindparam(f"b_{column.name}") for column in key))
                connection.execute(
                    delete(table).where(same),
                    [{f"b_{c.name}": v for c, v in zip(key, row, strict=True)} for row in rows],
                )
            forgotten += len(rows)
            if len(rows) < PIECE:
                break
    return forgotten
