"""What every answer of a page carries, and which requests are another site's. Pure ASGI."""

from __future__ import annotations

import ipaddress
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.datastructures import Headers
    from starlette.types import Message, Scope, Send

OWN_HEADER = "x-mammoedge"
"""Asked of everything that changes something: another site's page cannot send it without a CORS
preflight, which nothing here answers."""
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
# No inline script or style, nothing from any other host, in nobody's frame.
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # It shows what may be nobody else's business, and a state that is true only now.
    "cache-control": "no-store",
}


# RFC 6797: a browser that once came by TLS asks for nothing else for a year.
TLS_HEADERS = {"strict-transport-security": "max-age=31536000"}


def with_security_headers(scope: Scope, send: Send) -> Send:
    """`send`, with the headers on every answer that has none of its own."""
    own = SECURITY_HEADERS | (TLS_HEADERS if scope["scheme"] == "https" else {})

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in own.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def comes_from_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that another site's page made the request."""
    return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def is_called_by(headers: Headers, names: Collection[str]) -> bool:
    """Whether a request names us by an address, a loopback name or one of `names`.

    A foreign name that resolves to our address (DNS rebinding) is how another site's page reads
    what only machines of the network may.
    """
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    if host in LOOPBACK_NAMES or host in names:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def cookie_of(headers: Headers, name: str) -> str | None:
    """A cookie's value."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return found.value if found is not None else None
