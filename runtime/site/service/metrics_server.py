"""The service's own HTTP server, in a thread."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from runtime.web.http_protocol import HttpConfig

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from runtime.site.config.settings import MetricsSection

LOG = logging.getLogger(__name__)

STOP_S = 5.0
MOST_REQUESTS = 64


class MetricsServer:
    """Serves an application where `[metrics]` says; port 0: any free one."""

    def __init__(self, settings: MetricsSection, app: ASGIApp) -> None:
        self._settings = settings
        self._app = app
        self._port = settings.port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Where Prometheus finds it."""
        scheme = "https" if self._settings.certificate_file else "http"
        host = self._settings.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}/"

    def start(self) -> None:
        """Listens; returns when it does. Raises OSError: address taken, certificate unusable."""
        config = HttpConfig(
            self._app,
            certificate_file=self._settings.certificate_file,
            key_file=self._settings.key_file,
            most_requests=MOST_REQUESTS,
        )
        config.load()  # here, so that what it refuses stops the start and not the thread
        server = self._server = uvicorn.Server(config)
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        listener = socket.create_server((self._settings.host, self._port), family=family)
        self._port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=lambda: server.run(sockets=[listener]), name="metrics", daemon=True
        )
        self._thread.start()
        LOG.info("metrics: %smetrics", self.address)

    def stop(self) -> None:
        """Ends the thread."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(STOP_S)
