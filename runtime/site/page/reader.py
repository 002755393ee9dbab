"""What the page reads of the site's picture."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from runtime.site.page.board import FleetBoard, board_of
from runtime.site.store import StoreError
from runtime.site.unit_history import UnitHistory, unit_history
from runtime.web.live import CannotReadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.site.fleet import Fleet
    from runtime.site.store import Store

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
            glance = self._fleet.glance(now_ms, day_ms=local_midnight_ms(now_ms))
        except StoreError as error:
            raise CannotReadError(str(error)) from error
        heard_ms = max((one.seen_ms for one in glance.services), default=None)
        board = board_of(glance, software=version("mammoedge"), heard_ms=heard_ms)
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


def local_midnight_ms(now_ms: int) -> int:
    """Where today began by this machine's time zone: "today" is the hospital's."""
    now = datetime.fromtimestamp(now_ms / 1000).astimezone()
    return int(now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
