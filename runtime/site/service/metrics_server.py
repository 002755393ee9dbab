"""The service's own HTTP server, in a thread."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from runtime.site.config.settings import MetricsSection

LOG = logging.getLogger(__name__)

STOP_S = 5.0


class MetricsServer:
    """Serves an application where `[metrics]` says; port 0: any free one."""

    def __init__(self, settings: MetricsSection, app: ASGIApp) -> None:
        self._settings = settings
        self._port = settings.port
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=1,
                limit_concurrency=64,
                ssl_certfile=settings.certificate_file,
                ssl_keyfile=settings.key_file,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Where Prometheus finds it."""
        scheme = "https" if self._settings.certificate_file else "http"
        host = self._settings.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}/"

    def start(self) -> None:
        """Listens; returns when it does. Raises OSError: address taken, certificate unusable."""
        self._server.config.load()
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        listener = socket.create_server((self._settings.host, self._port), family=family)
        self._port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=lambda: self._server.run(sockets=[listener]), name="metrics", daemon=True
        )
        self._thread.start()
        LOG.info("metrics: %smetrics", self.address)

    def stop(self) -> None:
        """Ends the thread."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_S)
