"""Units that were taken out of service: since when, by their own word or the site's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from runtime.site.store.tables import NOTES, UNITS
from runtime.site.store.upsert import upsert

if TYPE_CHECKING:
    from sqlalchemy import Connection

PREFIX = "retired:"


def retire_unit(connection: Connection, unit_id: int, now_ms: int) -> None:
    """From that moment (ms since the epoch, UTC, the site's clock) on."""
    row = {"name": f"{PREFIX}{unit_id}", "value": str(now_ms)}
    connection.execute(upsert(connection, NOTES, replace=("value",)), [row])


def reinstate_unit(connection: Connection, unit_id: int) -> None:
    """It is in service again."""
    connection.execute(delete(NOTES).where(NOTES.c.name == f"{PREFIX}{unit_id}"))


def retired_units(connection: Connection) -> dict[int, int]:
    """When each was retired, by its number."""
    rows = connection.execute(
        select(NOTES.c.name, NOTES.c.value).where(NOTES.c.name.startswith(PREFIX))
    )
    return {int(name.removeprefix(PREFIX)): int(value) for name, value in rows}


def unit_number(connection: Connection, site: str, unit: str) -> int | None:
    """A unit's number in the books; None if it was never heard."""
    number = connection.scalar(
        select(UNITS.c.unit_id).where(UNITS.c.site == site, UNITS.c.unit == unit)
    )
    return None if number is None else int(number)
