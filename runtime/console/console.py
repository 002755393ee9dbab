"""The page's server: a thread of its own in the control process, with an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from pydantic import TypeAdapter

from runtime.console.app import ConsoleApp, ConsoleParts
from runtime.console.board import Board
from runtime.console.gate import read_token
from runtime.ledger import LedgerError
from runtime.web.catalogue import load_catalogues
from runtime.web.live import CannotReadError, LiveBoard
from runtime.web.pages import load_pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.acknowledgement import AcknowledgementDesk
    from runtime.console.reader import ConsoleReader
    from runtime.console.settings import ConsoleSettings

LOG = logging.getLogger(__name__)

PACKAGE = "runtime.console"
BOARD: TypeAdapter[Board] = TypeAdapter(Board)
STOP_S = 5.0
BACKLOG = 64


@dataclass(frozen=True, kw_only=True)
class _Running:
    thread: threading.Thread
    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Event
    live: LiveBoard


class Console:
    """Serves the page. The ledger must stay open until `stop` returned.

    Raises:
        TokenRefusedError: the token file cannot be used.
        CatalogueError: a message file is damaged.
    """

    def __init__(
        self,
        settings: ConsoleSettings,
        *,
        reader: ConsoleReader,
        desk: AcknowledgementDesk,
        clock_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._desk = desk
        self._clock_ms = clock_ms
        self._pages = load_pages(PACKAGE, load_catalogues(PACKAGE))
        self._token = read_token(settings.token_file) if settings.token_file else None
        self._port = settings.port
        self._running: _Running | None = None

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        scheme = "https" if self._settings.certificate_file else "http"
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
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
        live = LiveBoard(read=self._board, clock_ms=self._clock_ms)
        config = self._config(live)
        config.load()  # here, so that an unusable certificate stops the start and not the thread
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        listener = socket.create_server(
            (self._settings.host, self._port), family=family, backlog=BACKLOG
        )
        self._port = listener.getsockname()[1]
        loop = asyncio.new_event_loop()
        stopping = asyncio.Event()
        serving = partial(_serve, uvicorn.Server(config), listener, live, stopping)
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(serving()), name="console", daemon=True
        )
        self._running = _Running(thread=thread, loop=loop, stopping=stopping, live=live)
        thread.start()
        LOG.info("console: %s", self.address)

    def _board(self) -> bytes:
        try:
            return BOARD.dump_json(self._reader.board())
        except LedgerError as error:
            raise CannotReadError(str(error)) from error

    def _config(self, live: LiveBoard) -> uvicorn.Config:
        parts = ConsoleParts(
            settings=self._settings,
            pages=self._pages,
            reader=self._reader,
            live=live,
            desk=self._desk,
            token=self._token,
        )
        return uvicorn.Config(
            ConsoleApp(parts).asgi(),
            log_config=None,
            log_level="warning",
            # A request may hold an accession number: no request is ever logged.
            access_log=False,
            server_header=False,
            date_header=False,
            ws="none",
            timeout_graceful_shutdown=1,
            limit_concurrency=256,
            ssl_certfile=self._settings.certificate_file,
            ssl_keyfile=self._settings.key_file,
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
