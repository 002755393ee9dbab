"""Who may look at the fleet: in front of every route of the page. Pure ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse

from runtime.web.security_headers import (
    LOOPBACK_NAMES,
    OWN_HEADER,
    comes_from_elsewhere,
    cookie_of,
    with_security_headers,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from runtime.site.sign_in.sessions import Session, SessionBook

# RFC 6265bis 4.1.3.2: a browser takes such a name only over TLS, for this host, for all of it.
COOKIE = "__Host-mammoedge_site"
SESSION = "mammoedge_session"
OPEN_PREFIXES = ("/sign-in", "/language/")
OPEN_FILES = frozenset({"/static/web.css", "/static/fleet.css", "/static/icons.svg"})
FORMS = frozenset({"/sign-in", "/sign-out"})
"""They carry the session's hidden word instead of our header."""


class SiteAccess:
    """Finds the session, refuses who has none, and puts the security headers on every answer.

    Without a book the page trusts this machine, and only this machine.
    """

    def __init__(self, app: ASGIApp, *, book: SessionBook | None) -> None:
        self._app = app
        self._book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session = self._book.find(cookie_of(headers, COOKIE)) if self._book else None
        # Authlib keeps its state and nonce in `session`, as Starlette's own middleware names it.
        scope["session"] = session.data if session else {}
        scope.setdefault("state", {})[SESSION] = session
        refusal = self._refusal(scope, headers, session)
        await (refusal or self._app)(scope, receive, with_security_headers(scope, send))

    def _refusal(self, scope: Scope, headers: Headers, session: Session | None) -> ASGIApp | None:
        path, reads = scope["path"], scope["method"] in ("GET", "HEAD")
        if self._book is None:
            # A foreign name that resolves to the loopback address (DNS rebinding) is not us.
            if urlsplit(f"//{headers.get('host', '')}").hostname not in LOOPBACK_NAMES:
                return PlainTextResponse("unknown host", 421)
        elif not (session and session.person) and not _is_open(path):
            if reads and "text/html" in headers.get("accept", ""):
                return RedirectResponse("/sign-in", 303)
            return PlainTextResponse("sign in first", 401)
        if not reads:
            own = path in FORMS or headers.get(OWN_HEADER) is not None
            if comes_from_elsewhere(headers) or not own:
                return PlainTextResponse("not from this page", 403)
        return None


def _is_open(path: str) -> bool:
    return path.startswith(OPEN_PREFIXES) or path in OPEN_FILES
