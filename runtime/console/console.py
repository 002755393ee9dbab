"""The page on the unit: its server is a thread of the control process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from runtime.console.access_middleware import read_token
from runtime.console.app import ConsoleApp, ConsoleParts
from runtime.console.board import Board
from runtime.ledger.ledger import LedgerError
from runtime.web.audit_trail import AuditTrail
from runtime.web.catalogue import load_catalogues
from runtime.web.live import CannotReadError, LiveBoard
from runtime.web.pages import load_pages
from runtime.web.server import PageAddress, PageServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp

    from runtime.console.reader import ConsoleReader
    from runtime.console.settings import ConsoleSettings
    from runtime.exams.acknowledgement import Acknowledgements

PACKAGE = "runtime.console"
BOARD: TypeAdapter[Board] = TypeAdapter(Board)


class Console(PageServer):
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
        acknowledgements: Acknowledgements,
        clock_ms: Callable[[], int],
        audit_file: Path | None = None,
    ) -> None:
        self._audit = AuditTrail(audit_file, clock_ms=clock_ms)
        self._settings = settings
        self._reader = reader
        self._acknowledgements = acknowledgements
        self._clock_ms = clock_ms
        self._pages = load_pages(PACKAGE, load_catalogues(PACKAGE))
        self._token = read_token(settings.token_file) if settings.token_file else None
        super().__init__(
            "console", PageAddress.of(settings), make_live=self._live, make_app=self._app
        )

    def _board(self) -> bytes:
        try:
            return BOARD.dump_json(self._reader.board())
        except LedgerError as error:
            raise CannotReadError(str(error)) from error

    def _live(self) -> LiveBoard:
        return LiveBoard(read=self._board, clock_ms=self._clock_ms)

    def _app(self, live: LiveBoard) -> ASGIApp:
        parts = ConsoleParts(
            settings=self._settings,
            pages=self._pages,
            reader=self._reader,
            live=live,
            acknowledgements=self._acknowledgements,
            token=self._token,
            audit=self._audit,
        )
        return ConsoleApp(parts).asgi()
