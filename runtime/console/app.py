"""The page's routes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from runtime.console.access_middleware import COOKIE, ConsoleAccess, address_of
from runtime.console.evidence import evidence_rows
from runtime.console.exam_timeline import ExamTimeline
from runtime.ledger.exam_index import ExamQuery, PastExam
from runtime.ledger.ledger import LedgerError
from runtime.web.attempts import Attempts
from runtime.web.languages import LANGUAGE_COOKIE, YEAR_S, chosen_language

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from runtime.console.access_middleware import Token
    from runtime.console.reader import ConsoleReader
    from runtime.console.settings import ConsoleSettings
    from runtime.exams.acknowledgement import Acknowledgements
    from runtime.web.audit_trail import AuditTrail
    from runtime.web.live import LiveBoard
    from runtime.web.pages import Pages

HISTORY: TypeAdapter[list[PastExam]] = TypeAdapter(list[PastExam])
TIMELINE: TypeAdapter[ExamTimeline] = TypeAdapter(ExamTimeline)
SIGN_IN_LIMIT_BYTES = 4096
LARGEST = 2**53
"""Beyond it JavaScript has no whole numbers, and soon SQLite none either."""


@dataclass(frozen=True, kw_only=True)
class ConsoleParts:
    """What the routes stand on."""

    settings: ConsoleSettings
    pages: Pages
    reader: ConsoleReader
    live: LiveBoard
    acknowledgements: Acknowledgements
    token: Token | None
    audit: AuditTrail


class ConsoleApp:
    """Answers requests; what blocks on the ledger runs in a thread."""

    def __init__(self, parts: ConsoleParts) -> None:
        self._parts = parts
        self._wrong_tokens = Attempts(monotonic=time.monotonic)

    def asgi(self) -> ASGIApp:
        """The application with its gate."""
        get = [
            ("/", self._page("board.html")),
            ("/history", self._page("history.html")),
            ("/text/{language}.json", self._parts.pages.serve_texts),
            ("/language/{language}", self._parts.pages.choose_language),
            ("/static/{name}", self._parts.pages.serve_file),
            ("/live", self._live),
            ("/history.json", self._history),
            ("/exams/{key}.json", self._timeline),
            ("/previews/{image_id:int}.jpg", self._preview),
        ]
        if self._parts.settings.evidence_page:
            get.append(("/evidence", self._page("evidence.html")))
            get.append(("/evidence/{image_id:int}.json", self._evidence))
        routes = [Route(path, endpoint) for path, endpoint in get]
        routes.append(Route("/exams/{key}/seen", self._seen, methods=["POST"]))
        if self._parts.token is not None:
            routes.append(Route("/sign-in", self._sign_in, methods=["GET", "POST"]))
        app = Starlette(
            routes=routes,
            exception_handlers={LedgerError: _ledger_failed},
        )
        return ConsoleAccess(app, token=self._parts.token, audit=self._parts.audit)

    # --- pages -----------------------------------------------------------------------------------

    def _language(self, request: Request) -> str:
        cookie = request.cookies.get(LANGUAGE_COOKIE)
        return chosen_language(cookie, self._parts.settings.language)

    def _page(self, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - an endpoint
        settings = self._parts.settings

        async def endpoint(request: Request) -> Response:
            return self._parts.pages.render(
                name,
                self._language(request),
                sound="on" if settings.sound else "off",
                evidence="on" if settings.evidence_page else "off",
            )

        return endpoint

    async def _sign_in(self, request: Request) -> Response:
        token = self._parts.token
        language = self._language(request)
        if request.method == "GET" or token is None:
            return self._parts.pages.render("sign_in.html", language, problem="")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > SIGN_IN_LIMIT_BYTES:
                return PlainTextResponse("too large", 413)
        word = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        address = address_of(request.scope)
        if not token.matches(word):
            return self._refused(address, language)
        # The right one always comes in: with 32 characters it was not guessed, and whoever tries
        # wrong ones from the same address must not keep her out.
        self._parts.audit.signed_in(address)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, token.cookie, max_age=YEAR_S, httponly=True, secure=True, samesite="strict"
        )
        return answer

    def _refused(self, address: str, language: str) -> Response:
        """A wrong token; from one address only so many get a page for an answer."""
        if not self._wrong_tokens.allows(address):
            self._parts.audit.refused("too_many_wrong_tokens", address)
            return PlainTextResponse("too many attempts from this address", 429)
        self._parts.audit.refused("token_refused", address)
        problem = self._parts.pages.catalogues[language].texts["sign_in.refused"]
        return self._parts.pages.render("sign_in.html", language, status=403, problem=problem)

    # --- what is shown ---------------------------------------------------------------------------

    async def _live(self, _request: Request) -> Response:
        if self._parts.live.full:
            return PlainTextResponse("too many pages", 503)
        return StreamingResponse(self._parts.live.events(), media_type="text/event-stream")

    async def _seen(self, request: Request) -> Response:
        key = request.path_params["key"]
        seen = await asyncio.to_thread(self._parts.acknowledgements.acknowledge, key)
        return JSONResponse({"acknowledged": seen})

    async def _history(self, request: Request) -> Response:
        query = request.query_params
        try:
            asked = ExamQuery(
                accession_number=query.get("accession", "")[:64],
                since_ms=_milliseconds(query.get("since_ms", "")),
                until_ms=_milliseconds(query.get("until_ms", "")),
            )
        except ValueError:
            return PlainTextResponse("since_ms and until_ms are whole numbers", 400)
        found = await asyncio.to_thread(self._parts.reader.history, asked)
        return Response(HISTORY.dump_json(found), media_type="application/json")

    async def _timeline(self, request: Request) -> Response:
        key = request.path_params["key"]
        timeline = await asyncio.to_thread(self._parts.reader.timeline, key)
        if timeline is None:
            return PlainTextResponse("not found", 404)
        return Response(
            TIMELINE.dump_json(timeline, indent=2),
            media_type="application/json",
            headers={
                "content-disposition": f'attachment; filename="exam-{timeline.key[:12]}.json"'
            },
        )

    async def _preview(self, request: Request) -> Response:
        if not self._parts.settings.previews:
            return PlainTextResponse("not found", 404)
        image_id = min(request.path_params["image_id"], LARGEST)
        content = await asyncio.to_thread(self._parts.reader.preview, image_id)
        if content is None:
            return PlainTextResponse("not found", 404)
        return Response(content, media_type="image/jpeg")

    async def _evidence(self, request: Request) -> Response:
        """The map's values, 0 to 1, row by row: the page paints them."""
        image_id = min(request.path_params["image_id"], LARGEST)
        content = await asyncio.to_thread(self._parts.reader.evidence, image_id)
        rows = None if content is None else evidence_rows(content)
        if rows is None:
            return PlainTextResponse("not found", 404)
        return JSONResponse({"rows": rows})


def _milliseconds(text: str) -> int | None:
    """A moment of a query; None for "". Raises ValueError."""
    if not text:
        return None
    at_ms = int(text)
    if not 0 <= at_ms <= LARGEST:
        raise ValueError("out of range")
    return at_ms


async def _ledger_failed(_request: Request, error: Exception) -> Response:
    detail = error.detail if isinstance(error, LedgerError) else ""
    return PlainTextResponse(f"the ledger failed: {detail}", 503)
