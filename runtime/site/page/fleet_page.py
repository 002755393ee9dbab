"""The fleet page, ready to be served: beside the site's service, or alone on its database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runtime.site.config.page_settings import CredentialsError
from runtime.site.page.reader import FleetReader
from runtime.site.page.routes import FleetApp, FleetParts
from runtime.site.report.wording import PACKAGE, site_catalogues
from runtime.site.sign_in.passwords import read_passwords
from runtime.site.sign_in.sessions import SessionBook
from runtime.site.sign_in.sign_in import SignIn
from runtime.web.attempts import Attempts
from runtime.web.live import LiveBoard
from runtime.web.pages import load_pages
from runtime.web.server import PageAddress, PageServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from runtime.site.config.page_settings import PageSettings
    from runtime.site.queries.fleet import Fleet
    from runtime.site.sign_in.single_sign_on import SingleSignOn
    from runtime.site.store.store import Store

PAUSE_S = 0.5
"""Between two frames: a fleet says something all the time, and nobody reads faster."""


class FleetPage(PageServer):
    """Serves the page. The store must stay open until `stop` returned.

    Raises:
        CredentialsError: what a person signs in with cannot be used.
        CatalogueError: a message file is damaged.
    """

    def __init__(
        self, settings: PageSettings, *, store: Store, fleet: Fleet, clock_ms: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._clock_ms = clock_ms
        self._reader = FleetReader(store, fleet, clock_ms=clock_ms)
        self._pages = load_pages(PACKAGE, site_catalogues())
        self._book, self._sign_in = None, None
        if settings.asks_who:
            self._book = SessionBook(
                longest_s=settings.session_hours * 3600, monotonic=time.monotonic
            )
            self._sign_in = self._door(self._book)
        super().__init__(
            "fleet page", PageAddress.of(settings), make_live=self._live, make_app=self._app
        )

    def _live(self) -> LiveBoard:
        return LiveBoard(
            read=self._reader.board, clock_ms=self._clock_ms, pause_s=PAUSE_S, rests_alone=True
        )

    def _app(self, live: LiveBoard) -> ASGIApp:
        parts = FleetParts(
            settings=self._settings,
            pages=self._pages,
            reader=self._reader,
            live=live,
            book=self._book,
            sign_in=self._sign_in,
        )
        return FleetApp(parts).asgi()

    def _door(self, book: SessionBook) -> SignIn:
        settings = self._settings
        return SignIn(
            pages=self._pages,
            language=settings.language,
            book=book,
            attempts=Attempts(monotonic=time.monotonic),
            passwords=read_passwords(settings.password_file) if settings.password_file else None,
            provider=_provider(settings),
        )


def page_problem(settings: PageSettings) -> str:
    """Why the page could not be served with its files; "" if it could. Asks no provider."""
    try:
        if settings.password_file is not None:
            read_passwords(settings.password_file)
        _provider(settings)
    except ImportError as error:
        return f"{error}; openid needs the extra [site-openid]"
    except (CredentialsError, OSError) as error:
        return str(error)
    return PageAddress.of(settings).tls_problem


def _provider(settings: PageSettings) -> SingleSignOn | None:
    if settings.openid is None or settings.address is None:
        return None
    # Here, because it needs the extra [site-openid].
    from runtime.site.sign_in.single_sign_on import SingleSignOn

    return SingleSignOn(settings.openid, settings.address)
