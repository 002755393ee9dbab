"""How much has come in, and how late: what a simulation holds against what it sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from runtime.site.queries.summary_figures import percentiles
from runtime.site.store.tables import LATENCIES, NUMBERS, STREAMS, UNITS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from runtime.site.queries.fleet_summary import Percentiles


def rows_received(connection: Connection, site: str) -> int:
    """How many outbox rows of a site's units are in the store."""
    asked = select(func.count()).select_from(NUMBERS)
    asked = asked.join(UNITS, NUMBERS.c.unit_id == UNITS.c.unit_id).where(UNITS.c.site == site)
    return int(connection.scalar(asked) or 0)


def streams_replayed(connection: Connection) -> int:
    """How many streams of units were asked for again."""
    asked = select(func.count()).where(STREAMS.c.replays_asked > 0)
    return int(connection.scalar(asked) or 0)


def wire_latency(connection: Connection) -> Percentiles:
    """From a unit's outbox to the site, of all images in the store."""
    rows = connection.execute(
        select(LATENCIES.c.bucket, func.sum(LATENCIES.c.images))
        .where(LATENCIES.c.stretch == "wire")
        .group_by(LATENCIES.c.bucket)
    )
    return percentiles("wire", {bucket: int(images) for bucket, images in rows})
