"""What the page reads from the store."""

from __future__ import annotations

import json
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from runtime.site.page.board import FleetBoard, board_of
from runtime.site.queries.history import UnitHistory
from runtime.site.queries.unit_history import unit_history
from runtime.site.store.store import StoreError
from runtime.web.live import CannotReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.site.queries.fleet import Fleet
    from runtime.site.queries.fleet_summary import ServiceSummary
    from runtime.site.store.store import Store

BOARD: TypeAdapter[FleetBoard] = TypeAdapter(FleetBoard)
DAY_MS = 24 * 3600 * 1000
MOST_ENTRIES = 100
"""Of exams and of happenings on a unit's page."""


class FleetReader:
    """Reads fleet and units; each read is one of the database's own transactions."""

    def __init__(self, store: Store, fleet: Fleet, *, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._fleet = fleet
        self._clock_ms = clock_ms

    def board(self) -> bytes:
        """The fleet now, as JSON. Raises CannotReadError."""
        now_ms = self._clock_ms()
        try:
            summary = self._fleet.summary(now_ms, day_ms=local_midnight_ms(now_ms))
        except StoreError as error:
            raise CannotReadError(str(error)) from error
        board = board_of(
            summary, software=version("mammoedge"), heard_ms=listened_until_ms(summary.services)
        )
        return BOARD.dump_json(board)

    def history(self, site: str, unit: str, days: int) -> UnitHistory | None:
        """A unit's last days, up to now; None if it is unknown. Raises StoreError."""
        now_ms = self._clock_ms()
        return unit_history(
            self._store,
            site,
            unit,
            since_ms=now_ms - days * DAY_MS,
            until_ms=now_ms + 1,
            most=MOST_ENTRIES,
        )


def listened_until_ms(services: Sequence[ServiceSummary]) -> int | None:
    """Until when what units say is known to have come into the store; None: never.

    A service that has no broker, or whose database fails, says so of itself while it lives.
    """
    moments = []
    for service in services:
        said = json.loads(service.said)
        listens = said.get("broker_up", True) and not said.get("database_fault")
        moments.append(service.seen_ms if listens else said.get("last_commit_ms"))
    return max((moment for moment in moments if moment is not None), default=None)


def local_midnight_ms(now_ms: int) -> int:
    """Where today began by this machine's time zone: "today" is the hospital's."""
    now = datetime.fromtimestamp(now_ms / 1000).astimezone()
    return int(now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
