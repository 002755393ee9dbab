"""HTTP as uvicorn speaks it, to peers that may never end their request."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from runtime.system.pending_connections import PendingConnections

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from starlette.types import ASGIApp

REQUEST_S = 10.0
"""For a whole request, TLS's handshake included, from the connection or the answer before it on."""
PENDING_MOST, PENDING_PER_ADDRESS = 128, 64
"""Connections without a whole request: a browser opens six, and says at once what it wants."""


class HttpConfig(uvicorn.Config):
    """How our pages are served.

    Args:
        app: what answers.
        certificate_file: with its chain, and `key_file`; None: no TLS.
        key_file: without a passphrase.
        trusted_proxies: whose X-Forwarded-For is believed; nobody else's.
        most_requests: answered at one time, streams of open pages included.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        certificate_file: Path | None,
        key_file: Path | None,
        trusted_proxies: Collection[str] = (),
        most_requests: int = 256,
        request_s: float = REQUEST_S,
    ) -> None:
        super().__init__(
            app,
            http=PatientProtocol,
            log_config=None,
            log_level="warning",
            # A request may hold an accession number: no request is ever logged.
            access_log=False,
            server_header=False,
            date_header=False,
            ws="none",
            timeout_graceful_shutdown=1,
            limit_concurrency=most_requests + PENDING_MOST,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
        )
        self.request_s = request_s
        self.pending: PendingConnections[PatientProtocol] = PendingConnections(
            most=PENDING_MOST,
            per_address=PENDING_PER_ADDRESS,
            is_known=frozenset(trusted_proxies).__contains__,
        )
        self.tls: ssl.SSLContext | None = None
        if certificate_file is not None and key_file is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate_file, key_file, password=lambda: b"")


class PatientProtocol(H11Protocol):
    """One connection; while it has not said a whole request, one of a few.

    TLS is begun here and not by the server: a peer that never ends its handshake is pending too.
    """

    config: HttpConfig

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._link: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._answered: RequestResponseCycle | None = None
        self._early = b""
        self._starting_tls: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer is there and has said nothing."""
        transport = cast("asyncio.Transport", transport)
        self._link = transport
        self._await_request()
        if self.config.tls is None:
            super().connection_made(transport)
            return
        transport.pause_reading()
        self._starting_tls = self.loop.create_task(self._start_tls(transport, self.config.tls))

    async def _start_tls(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        try:
            secured = await self.loop.start_tls(
                transport, self, tls, server_side=True, ssl_handshake_timeout=self.config.request_s
            )
        except OSError:  # no TLS, too slow, or gone: nobody to talk to
            secured = None
        if secured is None:
            self._request_said()
            transport.abort()
            return
        self._link = secured
        super().connection_made(secured)
        if self._early:
            super().data_received(self._early)

    def data_received(self, data: bytes) -> None:
        """Some bytes; with the end of the handshake they may come before we hear of that."""
        if self.transport is None:
            self._early += data
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._request_said()
        if self.transport is not None:
            super().connection_lost(exc)

    def handle_events(self) -> None:
        """Whatever came: is the request whole now?"""
        super().handle_events()
        if self.cycle is not self._answered and not self.cycle.more_body:
            self._request_said()

    def on_response_complete(self) -> None:
        """The next request begins; a browser's may come at once, or never."""
        self._answered = self.cycle
        super().on_response_complete()
        waits = self.cycle is self._answered or self.cycle.more_body
        if waits and self._deadline is None and not self.transport.is_closing():
            self._await_request()

    def _await_request(self) -> None:
        self._deadline = self.loop.call_later(self.config.request_s, self.cut_off)
        peer = self._link.get_extra_info("peername") if self._link is not None else None
        victim = self.config.pending.enter(self, peer[0] if peer else "")
        if victim is not None:
            victim.cut_off()

    def _request_said(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.config.pending.leave(self)

    def cut_off(self) -> None:
        """Its time is over, or others wait for its place."""
        self._request_said()
        if self._link is not None:
            self._link.abort()
