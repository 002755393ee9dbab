"""The service's HTTP application: metrics, health, and whatever else is mounted.

`routes` is the place for pages: they come first, and bring their own gate.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from runtime.site.service.metrics import exposition
from runtime.site.store.store import StoreError
from runtime.web.security_headers import is_called_by

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from runtime.site.queries.fleet import Fleet
    from runtime.site.queries.fleet_summary import FleetSummary
    from runtime.site.store.service_state import StateBoard

LOG = logging.getLogger(__name__)

FRESH_S = 1.0
HOSTS_SAID, HOST_LIMIT = 10, 120
"""So many unknown names are told in the log, cut to that length."""
UNKNOWN_HOST = PlainTextResponse(
    "unknown host: ask by address, or name it in metrics.names of site.toml\n", 421
)


class SummaryKeeper:
    """The newest fleet summary, read at most once a second however many ask. Thread-safe."""

    def __init__(
        self, fleet: Fleet, *, clock_ms: Callable[[], int], monotonic: Callable[[], float]
    ) -> None:
        self._fleet = fleet
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: FleetSummary | None = None
        self._kept_s = 0.0

    def summary(self) -> FleetSummary:
        """At most a second old. Raises StoreError."""
        with self._lock:
            if self._kept is None or self._monotonic() - self._kept_s >= FRESH_S:
                self._kept = self._fleet.summary(self._clock_ms())
                self._kept_s = self._monotonic()
            return self._kept


def site_app(
    *,
    board: StateBoard,
    keeper: SummaryKeeper,
    names: Collection[str] = (),
    routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """The application. It answers under addresses, and under these names alone."""
    said: set[str] = set()

    def is_unknown(request: Request) -> bool:
        if is_called_by(request.headers, names):
            return False
        host = ascii(request.headers.get("host", ""))[:HOST_LIMIT]
        if host not in said and len(said) < HOSTS_SAID:
            said.add(host)
            LOG.warning("asked for as %s: name it in [metrics] names, or ask by address", host)
        return True

    async def metrics(request: Request) -> Response:
        if is_unknown(request):
            return UNKNOWN_HOST
        try:
            summary = await asyncio.to_thread(keeper.summary)
        except StoreError:
            summary = None  # the service's own figures say which fault it is
        return Response(exposition(board.now(), summary), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def health(request: Request) -> Response:
        if is_unknown(request):
            return UNKNOWN_HOST
        return JSONResponse(board.as_dict(), 200 if board.now().well else 503)

    return Starlette(
        routes=[
            *routes,
            Route("/metrics", metrics, methods=["GET"]),
            Route("/health", health, methods=["GET"]),
        ]
    )
