"""Signing in and out: by name and password, or by the provider."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from runtime.site.sign_in.access_middleware import COOKIE, SESSION
from runtime.site.sign_in.sessions import BACK, SignOnError, is_token_of
from runtime.web.languages import LANGUAGE_COOKIE, chosen_language

if TYPE_CHECKING:
    from starlette.requests import Request

    from runtime.site.sign_in.passwords import PasswordFile
    from runtime.site.sign_in.sessions import Session, SessionBook
    from runtime.site.sign_in.single_sign_on import SingleSignOn
    from runtime.web.attempts import Attempts
    from runtime.web.pages import Pages

LOG = logging.getLogger(__name__)

FORM_LIMIT_BYTES = 4096
AT_A_TIME = 2
"""Each password that is tried takes 32 MB and a tenth of a second of a processor."""


class SignIn:
    """The routes below /sign-in, and /sign-out."""

    def __init__(
        self,
        *,
        pages: Pages,
        language: str,
        book: SessionBook,
        attempts: Attempts,
        passwords: PasswordFile | None,
        provider: SingleSignOn | None,
    ) -> None:
        self._pages = pages
        self._language = language
        self._book = book
        self._attempts = attempts
        self._passwords = passwords
        self._provider = provider
        self._trying = asyncio.Semaphore(AT_A_TIME)

    def routes(self) -> list[Route]:
        """What is open to whoever has not signed in, and the way out."""
        return [
            Route("/sign-in", self._ask, methods=["GET"]),
            Route("/sign-in", self._try, methods=["POST"]),
            Route("/sign-in/openid", self._leave, methods=["GET"]),
            Route(BACK, self._come_back, methods=["GET"]),
            Route("/sign-out", self._out, methods=["POST"]),
        ]

    async def _ask(self, request: Request) -> Response:
        session, cookie = self._session(request)
        return self._with_cookie(self._form(request, session), cookie)

    async def _try(self, request: Request) -> Response:
        session = session_of(request)
        fields = await _fields(request)
        if fields is None:
            return PlainTextResponse("too large", 413)
        if session is None or not is_token_of(session, fields.get("csrf", "")):
            # A page that lay open for too long: a new one, with a new word.
            session, cookie = self._session(request)
            answer = self._form(request, session, problem="sign_in.again", status=403)
            return self._with_cookie(answer, cookie)
        if self._passwords is None:
            return PlainTextResponse("not found", 404)
        address = request.client.host if request.client else ""
        if not self._attempts.allows(address):
            return self._form(request, session, problem="sign_in.too_often", status=429)
        name, password = fields.get("name", ""), fields.get("password", "")
        async with self._trying:
            known = await asyncio.to_thread(self._passwords.knows, name, password)
        if not known:
            LOG.warning("a sign-in from %s was refused", address)
            return self._form(request, session, problem="sign_in.refused", status=403)
        self._attempts.succeeded(address)
        return self._let_in(request, name)

    async def _leave(self, request: Request) -> Response:
        if self._provider is None:
            return PlainTextResponse("not found", 404)
        address = request.client.host if request.client else ""
        session, cookie = self._session(request)
        if not self._attempts.allows(address):
            return self._form(request, session, problem="sign_in.too_often", status=429)
        request.scope["session"] = session.data
        try:
            answer = await self._provider.leave(request)
        except SignOnError as error:
            answer = self._form(request, session, problem=f"sign_in.{error.why}", status=502)
        return self._with_cookie(answer, cookie)

    async def _come_back(self, request: Request) -> Response:
        if self._provider is None:
            return PlainTextResponse("not found", 404)
        session, cookie = self._session(request)
        try:
            person = await self._provider.come_back(request)
        except SignOnError as error:
            answer = self._form(request, session, problem=f"sign_in.{error.why}", status=403)
            return self._with_cookie(answer, cookie)
        return self._let_in(request, person)

    async def _out(self, request: Request) -> Response:
        session = session_of(request)
        fields = await _fields(request)
        if session is None or not is_token_of(session, (fields or {}).get("csrf", "")):
            return PlainTextResponse("not from this page", 403)
        self._book.end(request.cookies.get(COOKIE))
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
        return answer

    # --- parts -----------------------------------------------------------------------------------

    def _session(self, request: Request) -> tuple[Session, str | None]:
        """The browser's session, or a new one and its cookie."""
        session = session_of(request)
        if session is not None:
            return session, None
        cookie, session = self._book.begin()
        return session, cookie

    def _let_in(self, request: Request, person: str) -> Response:
        """Under a new cookie: one that was planted before is worth nothing (session fixation)."""
        self._book.end(request.cookies.get(COOKIE))
        cookie, _session = self._book.begin(person)
        return self._with_cookie(RedirectResponse("/", 303), cookie)

    @staticmethod
    def _with_cookie(answer: Response, cookie: str | None) -> Response:
        if cookie is not None:
            # Lax, not strict: the way back from the provider begins at another site, and the
            # state that is compared then hangs on this cookie. It ends with the browser.
            answer.set_cookie(COOKIE, cookie, secure=True, httponly=True, samesite="lax")
        return answer

    def _form(
        self, request: Request, session: Session, *, problem: str = "", status: int = 200
    ) -> Response:
        language = chosen_language(request.cookies.get(LANGUAGE_COOKIE), self._language)
        texts = self._pages.catalogues[language].texts
        return self._pages.render(
            "sign_in.html",
            language,
            status=status,
            problem=texts[problem] if problem else "",
            csrf=session.csrf,
            password_hidden="" if self._passwords else "hidden",
            openid_hidden="" if self._provider else "hidden",
        )


def session_of(request: Request) -> Session | None:
    """What the gate found."""
    found: Session | None = getattr(request.state, SESSION)
    return found


async def _fields(request: Request) -> dict[str, str] | None:
    """A form's fields, the first of each; None where it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_LIMIT_BYTES:
            return None
    parsed = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in parsed.items()}
