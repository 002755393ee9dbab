"""A calendar month (UTC) of the fleet, summed up: what the monthly report and export stand on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from runtime.site.queries.history import UnitHistory
from runtime.site.queries.unit_history import unit_history
from runtime.site.store.tables import UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.site.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Month:
    """From `since_ms` up to `until_ms` (ms since the epoch, UTC)."""

    year: int
    month: int

    @property
    def since_ms(self) -> int:
        """Its first moment."""
        return int(datetime(self.year, self.month, 1, tzinfo=UTC).timestamp()) * 1000

    @property
    def until_ms(self) -> int:
        """The first moment of the next."""
        following = divmod(self.month, 12)
        start = datetime(self.year + following[0], following[1] + 1, 1, tzinfo=UTC)
        return int(start.timestamp()) * 1000


def month_of_units(store: Store, month: Month, *, most: int = 200) -> Iterator[UnitHistory]:
    """Each unit's history of that month, one after the other, by site and name.

    Raises:
        StoreError: the database failed.
    """
    with store.reading() as connection:
        names = connection.execute(
            select(UNITS.c.site, UNITS.c.unit).order_by(UNITS.c.site, UNITS.c.unit)
        ).all()
    for site, unit in names:
        found = unit_history(
            store, site, unit, since_ms=month.since_ms, until_ms=month.until_ms, most=most
        )
        if found is not None:
            yield found
