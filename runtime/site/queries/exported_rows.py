"""Rows of the store for those who take them elsewhere, read in pieces.

Each piece is a short transaction of its own, by the key where the last one ended: a service that
writes meanwhile never waits for an export, and memory does not grow with the years.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, tuple_

from runtime.site.store.tables import ALARMS, EVENTS, EXAMS, HOURS, IMAGES, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Table

    from runtime.site.store.store import Store

PIECE = 5_000
# Each table, and the moment that it is asked by.
EXPORTED: dict[str, tuple[Table, Column[int]]] = {
    "exams": (EXAMS, EXAMS.c.happened_ms),
    "images": (IMAGES, IMAGES.c.happened_ms),
    "events": (EVENTS, EVENTS.c.happened_ms),
    "hours": (HOURS, HOURS.c.hour_ms),
    "alarms": (ALARMS, ALARMS.c.opened_ms),
}
# What only we need, and what every row begins with.
NOT_EXPORTED = frozenset(
    {"unit_id", "charted_ms", "open_key", "published_version", "posted_version", "site", "unit"}
)


@dataclass(frozen=True, kw_only=True)
class ExportedColumn:
    """A column besides site and unit. `kind`: bool, int, float, str, or another for text."""

    name: str
    kind: type

    @property
    def is_moment(self) -> bool:
        """Whether it is a point in time (ms since the epoch, UTC), not a span."""
        return self.name.endswith("_ms") and "_after_" not in self.name

    @property
    def title(self) -> str:
        """What it is called outside: a moment is written as one, not in ms."""
        return self.name.removesuffix("_ms") if self.is_moment else self.name


def columns_of(name: str) -> list[ExportedColumn]:
    """What is exported of a table besides site and unit."""
    table, _ = EXPORTED[name]
    return [
        ExportedColumn(name=column.name, kind=column.type.python_type)
        for column in table.columns
        if column.name not in NOT_EXPORTED
    ]


def pieces(
    store: Store, name: str, *, since_ms: int, until_ms: int
) -> Iterator[list[dict[str, Any]]]:
    """The rows of an exported table between two moments (the second exclusive), in pieces.

    Raises:
        StoreError: the database failed.
    """
    table, moment = EXPORTED[name]
    key = list(table.primary_key.columns)
    chosen = [table.c[column.name] for column in columns_of(name)]
    if "unit_id" in table.c:
        asked = select(UNITS.c.site, UNITS.c.unit, *chosen, *(c.label(f"k_{c.name}") for c in key))
        asked = asked.join(UNITS, UNITS.c.unit_id == table.c.unit_id)
    else:
        names = (table.c.site, table.c.unit)
        asked = select(*names, *chosen, *(c.label(f"k_{c.name}") for c in key))
    asked = asked.where(moment >= since_ms, moment < until_ms).order_by(*key).limit(PIECE)
    after: tuple[Any, ...] | None = None
    while True:
        page = asked if after is None else asked.where(tuple_(*key) > after)
        with store.reading() as connection:
            rows = [dict(row) for row in connection.execute(page).mappings()]
        if not rows:
            return
        after = tuple(rows[-1][f"k_{column.name}"] for column in key)
        yield [{n: v for n, v in row.items() if not n.startswith("k_")} for row in rows]
        if len(rows) < PIECE:
            return
