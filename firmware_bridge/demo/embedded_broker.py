"""The demo's broker: rumqttd (in `iotcore`, extra `[demo]`) with MQTT 5, for this machine only.

It is there so that the demo runs on a machine with nothing set up. A site runs Mosquitto or
larger: this one has no access rules, names no receive maximum, gives no PUBACK reasons, ignores a
client's maximum packet size and retain handling, and keeps sessions and messages in memory only.
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from models.errors import ResourceError
from runtime.messages.payloads import PAYLOAD_LIMIT_BYTES

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"
ATTEMPTS = 5
START_TIMEOUT_S = 15.0
PACKET_LIMIT_BYTES = PAYLOAD_LIMIT_BYTES + 4096
"""Topic and properties on top of the largest payload."""

# rumqttd's own configuration file. `v5` listeners speak MQTT 5; no `v4`, no console, no metrics
# endpoint is configured, so that this is the only port that opens.
CONFIGURATION = """\
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10

[v5.1]
name = "mammoedge-demo"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = {packet_limit}
max_inflight_count = 100
dynamic_filters = true
"""


class EmbeddedBrokerError(ResourceError):
    """The broker is not installed, or did not start."""


class EmbeddedBroker:
    """A broker in a child process on a free loopback port.

    The child ends with `stop`, and by itself when this process goes away, however it goes: it
    reads from a pipe whose other end is here.
    """

    def __init__(self) -> None:
        self._broker: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._port = 0

    @property
    def host(self) -> str:
        """Always the loopback address."""
        return HOST

    @property
    def port(self) -> int:
        """The TCP port; 0 before `start`."""
        return self._port

    def start(self) -> Self:
        """Starts the broker; returns when it takes connections.

        Raises:
            EmbeddedBrokerError: `iotcore` is not installed, or no attempt succeeded.
        """
        try:
            from iotcore import Broker
        except ImportError as error:
            raise EmbeddedBrokerError("the extra [demo] (iotcore) is not installed") from error
        self._folder = tempfile.TemporaryDirectory(prefix="mammoedge-broker-")
        problem: Exception | None = None
        for _attempt in range(ATTEMPTS):
            self._port = _free_port()
            try:
                self._broker = Broker(config_path=str(self._configuration()))
                self._broker.start(timeout=START_TIMEOUT_S)
            except (OSError, RuntimeError) as error:
                problem = error  # someone else took the port in between
            else:
                return self
        self.stop()
        raise EmbeddedBrokerError(f"the broker did not start: {problem}")

    def stop(self) -> None:
        """Ends the child process. May be called twice."""
        if self._broker is not None:
            self._broker.stop()
            self._broker = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _configuration(self) -> Path:
        assert self._folder is not None  # noqa: S101 - only `start` calls this
        file = Path(self._folder.name) / "rumqttd.toml"
        file.write_text(
            CONFIGURATION.format(host=HOST, port=self._port, packet_limit=PACKET_LIMIT_BYTES),
            encoding="utf-8",
        )
        return file

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
