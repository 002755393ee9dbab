"""What we ask of a connection to the broker, and the values that it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.messages.payloads import CONTENT_TYPE, PAYLOAD_LIMIT_BYTES


@dataclass(frozen=True, kw_only=True)
class Connected:
    """The broker took us in, and said how much it takes."""

    receive_maximum: int
    maximum_packet_bytes: int | None
    address: str = ""
    """Where, for people."""
    session_present: bool = False
    """The broker remembers our subscriptions and keeps what came for us."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """The connection is over, or never came about."""

    reason: str
    name_taken: bool = False
    """The broker gave our client id to another connection (MQTT 5, 3.1.4)."""
    unfit: bool = False
    """What answered there is no broker that we can work with, today or tomorrow."""


@dataclass(frozen=True, kw_only=True)
class PublishAcknowledged:
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
    expires: bool = True
    """Whether it came with a message expiry interval (MQTT 5, 3.3.2.3.3)."""


@dataclass(frozen=True, kw_only=True)
class Listening:
    """The broker's answer to `listen` or `listen_no_more`. `refused`: why it says no, or ""."""

    refused: str


Signal = Connected | Lost | PublishAcknowledged | Heard | Listening


@dataclass(frozen=True, kw_only=True)
class ConnectOptions:
    """What we ask of the broker besides the connection. The defaults are those of a unit.

    `expiry_s`: how long the broker keeps our session after the connection; 0 begins a clean one.
    `receive_maximum`: messages of QoS 1 that may wait for our acknowledgement; None: no limit.
    `manual_acknowledgement`: the caller acknowledges each message of QoS 1 with `acknowledge`;
    `accept` is then asked for messages of QoS 0 only, because one of QoS 1 that nobody answers
    would block its place for ever. `hear_retained`: what the broker has kept is of interest, too.
    """

    expiry_s: int = 0
    receive_maximum: int | None = None
    packet_limit_bytes: int = PAYLOAD_LIMIT_BYTES
    manual_acknowledgement: bool = False
    hear_retained: bool = False
    content_type: str | None = CONTENT_TYPE
    """Of all that we say, which is then UTF-8; None: bytes that say nothing of themselves."""
    will_retained: bool = True


UNIT_SESSION = ConnectOptions()
