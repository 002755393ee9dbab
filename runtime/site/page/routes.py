"""The fleet page's routes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from runtime.site.page.unit_page import SPANS_DAYS, unit_body
from runtime.site.report.wording import Wording
from runtime.site.sign_in.access_middleware import SiteAccess
from runtime.site.sign_in.sign_in import SignIn, session_of
from runtime.site.store.store import StoreError
from runtime.web.languages import LANGUAGE_COOKIE, chosen_language
from runtime.web.markup import Markup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from runtime.site.config.page_settings import PageSettings
    from runtime.site.page.reader import FleetReader
    from runtime.site.sign_in.sessions import Session, SessionBook
    from runtime.web.live import LiveBoard
    from runtime.web.pages import Pages


@dataclass(frozen=True, kw_only=True)
class FleetParts:
    """What the routes stand on. `book` and `sign_in` are None where nobody signs in."""

    settings: PageSettings
    pages: Pages
    reader: FleetReader
    live: LiveBoard
    book: SessionBook | None
    sign_in: SignIn | None


class FleetApp:
    """Answers requests; what blocks on the database runs in a thread."""

    def __init__(self, parts: FleetParts) -> None:
        self._parts = parts

    def asgi(self) -> ASGIApp:
        """The application with its gate."""
        get = [
            ("/", self._fleet),
            ("/units/{site}/{unit}", self._unit),
            ("/live", self._live),
            ("/text/{language}.json", self._parts.pages.serve_texts),
            ("/language/{language}", self._parts.pages.choose_language),
            ("/static/{name}", self._parts.pages.serve_file),
        ]
        routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in get]
        if self._parts.sign_in is not None:
            routes += self._parts.sign_in.routes()
        app = Starlette(routes=routes, exception_handlers={StoreError: _database_failed})
        return SiteAccess(app, book=self._parts.book)

    def _language(self, request: Request) -> str:
        cookie = request.cookies.get(LANGUAGE_COOKIE)
        return chosen_language(cookie, self._parts.settings.language)

    def _page(self, request: Request, name: str, **values: str) -> Response:
        session = session_of(request)
        signed_in = {
            "csrf": session.csrf if session else "",
            "person": session.person if session else "",
            "person_hidden": "" if session else "hidden",
        }
        return self._parts.pages.render(
            name, self._language(request), status=200, **signed_in, **values
        )

    async def _fleet(self, request: Request) -> Response:
        return self._page(request, "fleet.html")

    async def _unit(self, request: Request) -> Response:
        site, unit = request.path_params["site"], request.path_params["unit"]
        asked = request.query_params.get("days", "")
        days = next((span for span in SPANS_DAYS if str(span) == asked), SPANS_DAYS[0])
        history = await asyncio.to_thread(self._parts.reader.history, site, unit, days)
        if history is None:
            return PlainTextResponse("not found", 404)
        wording = Wording(self._parts.pages.catalogues[self._language(request)])
        body: Markup = await asyncio.to_thread(unit_body, history, wording, days)
        return self._page(request, "unit.html", site=site, unit=unit, story=body)

    async def _live(self, request: Request) -> Response:
        if self._parts.live.full:
            return PlainTextResponse("too many pages", 503)
        frames = self._frames_of(session_of(request))
        return StreamingResponse(frames, media_type="text/event-stream")

    async def _frames_of(self, session: Session | None) -> AsyncIterator[bytes]:
        """Frames as long as the session stands: whoever was signed out sees no more."""
        book = self._parts.book
        async for frame in self._parts.live.events():
            if book is not None and (session is None or not book.stands(session)):
                break
            yield frame


async def _database_failed(_request: Request, error: Exception) -> Response:
    fault = error.fault.value if isinstance(error, StoreError) else ""
    return PlainTextResponse(f"the database is {fault}", 503)
