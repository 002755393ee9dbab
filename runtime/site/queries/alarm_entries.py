"""Alarms, read from their rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from runtime.site.queries.fleet_summary import AlarmEntry
from runtime.site.store.tables import ALARMS

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping


def open_alarms(connection: Connection) -> tuple[AlarmEntry, ...]:
    """Alarms that stand, the newest first."""
    rows = connection.execute(
        select(ALARMS).where(ALARMS.c.open_key.is_not(None)).order_by(ALARMS.c.alarm_no.desc())
    )
    return tuple(alarm_entry(row) for row in rows.mappings())


def alarm_entry(row: RowMapping) -> AlarmEntry:
    """An alarm of its row."""
    names = ("alarm_no", "site", "unit", "kind", "subject", "severity", "saw", "advice")
    times = ("since_ms", "opened_ms", "changed_ms", "closed_ms")
    facts: dict[str, Any] = {name: row[name] for name in (*names, *times)}
    return AlarmEntry(**facts, data=json.loads(row["data"]))
