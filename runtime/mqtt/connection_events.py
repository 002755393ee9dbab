"""What a connection to the broker tells of itself: the values that it puts into its queue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Connected:
    """The broker took us in, and said how much it takes."""

    receive_maximum: int
    maximum_packet_bytes: int | None
    session_present: bool = False
    """The broker remembers our subscriptions and keeps what came for us."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """The connection is over, or never came about."""

    reason: str
    name_taken: bool = False
    """The broker gave our client id to another connection (MQTT 5, 3.1.4)."""


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """A PUBACK. Below 0x80 the broker has the message (MQTT 5, 3.4.2.1)."""

    mid: int
    reason_code: int


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A message on a topic that we listen to. `mid`: to acknowledge it by; 0 for QoS 0."""

    topic: str
    payload: bytes
    mid: int = 0
    retained: bool = False


@dataclass(frozen=True, kw_only=True)
class Listening:
    """The broker's answer to `listen`. `refused`: why it does not let us hear; "" if it does."""

    refused: str


Signal = Connected | Lost | Acknowledged | Heard | Listening
