"""The site's service in this process, and a webhook that listens."""

from __future__ import annotations

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from runtime.site.config.settings import parse_site_settings
from runtime.site.queries.fleet import Fleet
from runtime.site.service.composition import SiteService
from runtime.site.store.store import Store
from tests.support.waiting import wait_until


class RunningSite:
    """A site service with quick settings; stopped at the end."""

    def __init__(self, folder, port, database, *, service="site-1", **sections) -> None:
        folder.mkdir(exist_ok=True)
        quick = {
            "site": {"name": "st-anna", "service": service},
            "broker": {
                "host": "127.0.0.1",
                "port": port,
                "tls": False,
                "backoff_first_s": 0.05,
                "backoff_longest_s": 0.2,
            },
            "store": {"database": database, "patience_s": 1.0},
            "watch": {"look_every_s": 0.1, "replay_after_s": 0.2, "replay_pause_s": 0.5},
            "metrics": {"port": 0},
        }
        for name, values in sections.items():
            quick[name] = quick.get(name, {}) | values
        self.settings = parse_site_settings(quick, folder / "site.toml")
        self.service = SiteService(self.settings)
        self._thread = threading.Thread(target=self.service.run)
        self.store = Store(database)

    def start(self) -> Self:
        """Starts it; returns when the broker lets it listen."""
        self._thread.start()
        wait_until(lambda: self.state.broker_up, timeout_s=90, what="the service listens")
        self.store.open()
        return self

    @property
    def state(self):
        """The service's own word of itself."""
        return self.service.board.now()

    def summary(self):
        """The fleet as a page would read it."""
        import time

        return Fleet(self.store).summary(time.time_ns() // 1_000_000)

    def unit(self, name="mammo-1"):
        """One unit's glance, None before it was heard."""
        return next((unit for unit in self.summary().units if unit.unit == name), None)

    def get(self, path) -> tuple[int, str]:
        """An answer of its HTTP application."""
        try:
            url = self.service.metrics.address + path
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self) -> None:
        """Stops in order."""
        self.service.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.store.close()


class Webhook:
    """Takes alerts as an Alertmanager would; `refuse` answers with that many errors first."""

    def __init__(self, refuse=0) -> None:
        self.alerts: list[dict] = []
        self.requests = 0
        outer = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests += 1
                refused = outer.requests <= refuse
                if not refused:
                    outer.alerts += json.loads(body)
                self.send_response(503 if refused else 200)
                self.end_headers()

            def log_message(self, *_arguments) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/v2/alerts"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
