"""A page's server: a thread of its own, with an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import uvicorn

from runtime.web.http_protocol import HttpConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp

    from runtime.web.live import LiveBoard

LOG = logging.getLogger(__name__)

STOP_S = 5.0
BACKLOG = 64


class PlaceSettings(Protocol):
    """Settings that say where a page is served."""

    @property
    def host(self) -> str:
        """Address or name."""
        ...

    @property
    def port(self) -> int:
        """0: any free one."""
        ...

    @property
    def certificate_file(self) -> Path | None:
        """None: no TLS."""
        ...

    @property
    def key_file(self) -> Path | None:
        """The certificate's."""
        ...

    @property
    def trusted_proxies(self) -> tuple[str, ...]:
        """Whose X-Forwarded-For is believed."""
        ...


@dataclass(frozen=True, kw_only=True)
class PageAddress:
    """Where a page is served. Port 0: any free one. TLS where the files are named."""

    host: str
    port: int
    certificate_file: Path | None = None
    key_file: Path | None = None
    trusted_proxies: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: PlaceSettings) -> PageAddress:
        """Where a page's settings say."""
        return cls(
            host=settings.host,
            port=settings.port,
            certificate_file=settings.certificate_file,
            key_file=settings.key_file,
            trusted_proxies=settings.trusted_proxies,
        )

    @property
    def tls_problem(self) -> str:
        """Why certificate and key cannot be served with, by their names; "" if they can."""
        if self.certificate_file is None or self.key_file is None:
            return ""
        names = f"{self.certificate_file.name}, {self.key_file.name}"
        try:
            for file in (self.certificate_file, self.key_file):
                file.read_bytes()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # Without a password's source OpenSSL would ask for one at the terminal.
            context.load_cert_chain(self.certificate_file, self.key_file, password=lambda: b"")
        except ssl.SSLError as error:
            return f"{names}: no certificate with its key in PEM ({error.reason or error})"
        except OSError as error:
            return f"{error.filename} cannot be read: {error.strerror}"
        return ""


@dataclass(frozen=True, kw_only=True)
class _Running:
    thread: threading.Thread
    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Event
    live: LiveBoard


class PageServer:
    """Serves an application and its live frames, until it is stopped; then it may start again.

    Args:
        name: of the thread, and in the log.
        make_app: the application on top of the frames of one run.
    """

    def __init__(
        self,
        name: str,
        place: PageAddress,
        *,
        make_live: Callable[[], LiveBoard],
        make_app: Callable[[LiveBoard], ASGIApp],
    ) -> None:
        self._name = name
        self._place = place
        self._make_live = make_live
        self._make_app = make_app
        self._port = place.port
        self._running: _Running | None = None

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        scheme = "https" if self._place.certificate_file else "http"
        host = f"[{self._place.host}]" if ":" in self._place.host else self._place.host
        return f"{scheme}://{host}:{self._port}/"

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after `start` and before `stop` is a defect."""
        return self._running is not None and self._running.thread.is_alive()

    def poke(self) -> None:
        """Something may have changed; any thread, returns at once."""
        if self._running is not None:
            self._running.live.poke()

    def start(self) -> None:
        """Listens; returns when it does. Raises OSError: address taken, certificate unusable."""
        if problem := self._place.tls_problem:
            raise OSError(f"{self._name}: {problem}")
        live = self._make_live()
        config = self._config(self._make_app(live))
        config.load()  # here, so that what it refuses stops the start and not the thread
        family = socket.AF_INET6 if ":" in self._place.host else socket.AF_INET
        listener = socket.create_server(
            (self._place.host, self._port), family=family, backlog=BACKLOG
        )
        self._port = listener.getsockname()[1]
        loop = asyncio.new_event_loop()
        stopping = asyncio.Event()
        serving = partial(_serve, uvicorn.Server(config), listener, live, stopping)
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(serving()), name=self._name, daemon=True
        )
        self._running = _Running(thread=thread, loop=loop, stopping=stopping, live=live)
        thread.start()
        LOG.info("%s: %s", self._name, self.address)

    def _config(self, app: ASGIApp) -> HttpConfig:
        return HttpConfig(
            app,
            certificate_file=self._place.certificate_file,
            key_file=self._place.key_file,
            trusted_proxies=self._place.trusted_proxies,
        )

    def stop(self) -> None:
        """Ends the open pages' streams and the thread."""
        running = self._running
        if running is not None and running.thread.is_alive():
            running.loop.call_soon_threadsafe(running.stopping.set)
            running.thread.join(STOP_S)


async def _serve(
    server: uvicorn.Server, listener: socket.socket, live: LiveBoard, stopping: asyncio.Event
) -> None:
    """Until `stopping`. A defect in one part ends both, and is raised: no page without news."""
    with listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        reading = asyncio.create_task(live.run())
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait((serving, reading, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        defect = reading.exception() if reading.done() else None
        reading.cancel()
        server.should_exit = True
        await live.end()  # the pages' streams never end by themselves
        await serving
        if defect is not None:
            raise defect
