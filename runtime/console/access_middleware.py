"""Who may look: in front of every route. Pure ASGI."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse

from models.errors import OperatorError
from runtime.system.pending_connections import network_of
from runtime.web.security_headers import (
    LOOPBACK_NAMES,
    OWN_HEADER,
    comes_from_elsewhere,
    cookie_of,
    with_security_headers,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from runtime.web.audit_trail import AuditTrail

TOKEN_LEAST = 32
COOKIE = "mammoedge_console"
OPEN_PATHS = frozenset({"/sign-in", "/static/web.css", "/static/console.css", "/static/icons.svg"})


class TokenRefusedError(OperatorError):
    """The token file cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """What a browser has to know once. A cookie carries what is derived from it, not itself."""

    secret: bytes = field(repr=False)

    @property
    def cookie(self) -> str:
        """The cookie's value; it changes with the token."""
        return hmac.new(self.secret, b"mammoedge console cookie 1", hashlib.sha256).hexdigest()

    def is_known_by(self, headers: Headers) -> bool:
        """Whether a request carries the cookie, or the token as an engineer's tool sends it."""
        given = headers.get("authorization", "")
        if given.startswith("Bearer ") and self.matches(given.removeprefix("Bearer ")):
            return True
        value = cookie_of(headers, COOKIE)
        return value is not None and hmac.compare_digest(value.encode(), self.cookie.encode())

    def matches(self, word: str) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(word.strip().encode(), self.secret)


def read_token(path: Path) -> Token:
    """The one line of the file. Raises TokenRefusedError: unreadable, too short."""
    try:
        word = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TokenRefusedError(f"console.token_file: {path.name} cannot be read") from error
    if len(word) < TOKEN_LEAST or "\n" in word:
        raise TokenRefusedError(
            f"console.token_file: {path.name} must hold one line, {TOKEN_LEAST} characters at least"
        )
    return Token(secret=word.encode())


class ConsoleAccess:
    """Lets through what may pass, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, *, token: Token | None, audit: AuditTrail) -> None:
        self._app = app
        self._token = token
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        refusal = self._refusal(scope)
        if refusal is not None:
            what, answer = refusal
            self._audit.refused(what, address_of(scope))
        await (answer if refusal else self._app)(scope, receive, with_security_headers(scope, send))

    def _refusal(self, scope: Scope) -> tuple[str, ASGIApp] | None:
        """Why a request is turned away, for the audit trail, and the answer."""
        headers, path = Headers(scope=scope), scope["path"]
        if self._token is None:
            # Without a token the page trusts this machine; a foreign name that resolves to the
            # loopback address (DNS rebinding) is not this machine.
            if urlsplit(f"//{headers.get('host', '')}").hostname not in LOOPBACK_NAMES:
                return "unknown_host", PlainTextResponse("unknown host", 421)
        elif path not in OPEN_PATHS and not self._token.is_known_by(headers):
            wants_page = "text/html" in headers.get("accept", "")
            if scope["method"] == "GET" and wants_page:
                return "not_signed_in", RedirectResponse("/sign-in", 303)
            what = "token_refused" if "authorization" in headers else "not_signed_in"
            return what, PlainTextResponse("sign in first", 401)
        if scope["method"] not in ("GET", "HEAD"):
            own = path == "/sign-in" or headers.get(OWN_HEADER) is not None
            if comes_from_elsewhere(headers) or not own:
                return "not_from_this_page", PlainTextResponse("not from this page", 403)
        return None


def address_of(scope: Scope) -> str:
    """Where a request comes from; behind a proxy that is trusted, what the proxy says."""
    client = scope.get("client")
    return network_of(client[0]) if client else ""
