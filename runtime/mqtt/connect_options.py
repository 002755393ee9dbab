"""What we ask of a broker besides the connection."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.messages.payloads import CONTENT_TYPE, PAYLOAD_LIMIT_BYTES


@dataclass(frozen=True, kw_only=True)
class SessionTerms:
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


UNIT_SESSION = SessionTerms()
