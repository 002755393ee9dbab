"""An MQTT subscriber that has nothing but the broker's address: what a site would see."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import ValidationError

from models.errors import PeerError
from runtime.messages.payloads import ExamMessage, Message, StatusMessage, ViewMessage
from runtime.messages.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

CONNECT_TIMEOUT_S = 10.0
_TYPES: tuple[type[Message], ...] = (ExamMessage, ViewMessage, StatusMessage)


class NoBrokerError(PeerError):
    """The broker does not answer."""


@dataclass(frozen=True, kw_only=True)
class TimedMessage:
    """A message, and when it arrived here (time.time_ns)."""

    message: Message
    at_ns: int


class FlagListener:
    """Listens to one unit; used as a context manager.

    Args:
        host: of the broker.
        port: of the broker.
        topics: of the unit.
        transport: as in the settings of a broker.
        secure: makes the client ready for a broker that asks for TLS or a password.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        topics: Topics,
        transport: Literal["tcp", "websockets"] = "tcp",
        secure: Callable[[mqtt.Client], None] = lambda _client: None,
    ) -> None:
        self._host, self._port, self._topics = host, port, topics
        self._heard: queue.Queue[TimedMessage] = queue.Queue()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, transport=transport
        )
        secure(self._client)
        self._client.on_connect = self._connected
        self._client.on_message = self._arrived

    def __enter__(self) -> Self:
        """Connects. Raises NoBrokerError."""
        try:
            self._client.connect(self._host, self._port)
        except OSError as fault:
            raise NoBrokerError(f"{self._host}:{self._port}") from fault
        self._client.loop_start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Disconnects."""
        self._client.disconnect()
        self._client.loop_stop()

    def next(self, timeout_s: float) -> TimedMessage | None:
        """The next message; None if none came in that time."""
        try:
            return self._heard.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None

    def _connected(self, client: Any, *_: Any) -> None:
        # At every connection, not once: a clean session knows no subscriptions.
        client.subscribe(f"{self._topics.root}/#", qos=1)

    def _arrived(self, _client: Any, _userdata: Any, received: mqtt.MQTTMessage) -> None:
        at_ns = time.time_ns()
        for kind in _TYPES:
            try:
                message = kind.model_validate_json(received.payload)
            except ValidationError:
                continue  # of another type: its `schema` says so
            self._heard.put(TimedMessage(message=message, at_ns=at_ns))
            return
