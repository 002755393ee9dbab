"""Whether the broker of the settings is one that we can work with; each way to it."""

from __future__ import annotations

import os
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from runtime.cli.check_result import CheckResult, Grade
from runtime.messages.topics import Topics
from runtime.mqtt.connection import BrokerConnection, BrokerUnreachableError
from runtime.mqtt.connection_events import Connected, Lost
from runtime.mqtt.settings import LOOPBACK
from runtime.publishing.publication import Announcement
from runtime.site_trust.broker_rules import PACKET_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.mqtt.connection_events import Signal
    from runtime.mqtt.settings import BrokerAddress, BrokerSettings
    from runtime.unit.settings import Settings


def check_broker(settings: Settings) -> Iterator[CheckResult]:
    """The broker takes us in with MQTT 5 and what else we need of it; each way to it."""
    # A will is asked for; ours is never said after a clean close, and `health` is soon said again.
    will = Announcement(Topics(site=settings.unit.site, unit=settings.unit.unit).health, b"")
    for address in settings.broker.addresses:
        answer = first_answer(settings.broker, address, will)
        if isinstance(answer, Connected):
            grade, advice = _judge_broker(settings.broker, address, answer)
            found = f"{address}: MQTT 5, receive maximum {answer.receive_maximum}"
            if answer.maximum_packet_bytes is not None:
                found += f", packets of {answer.maximum_packet_bytes} bytes at most"
            yield CheckResult(name="broker", grade=grade, found=found, advice=advice)
            continue
        yield CheckResult(
            name="broker",
            grade=Grade.BAD if answer.unfit else Grade.WARNING,
            found=f"{address}: {answer.reason}",
            advice="the service starts without it; flags wait in the outbox until it is there",
        )


def first_answer(
    broker: BrokerSettings, address: BrokerAddress, will: Announcement
) -> Connected | Lost:
    """What the broker says to a connection of ours, which ends at once."""
    signals: SimpleQueue[Signal] = SimpleQueue()
    connection = BrokerConnection(
        broker,
        client_id=f"mammoedge-check-{os.getpid()}",
        will=will,
        signals=signals,
        wake=lambda: None,
        accept=lambda _size: False,
    )
    try:
        connection.open(address)
        answer = signals.get(timeout=broker.connect_timeout_s)
    except BrokerUnreachableError as error:
        return Lost(reason=str(error))
    except Empty:
        connection.abandon()
        return Lost(reason="the broker says nothing")
    connection.close(with_will=False, timeout_s=broker.stop_timeout_s)
    if isinstance(answer, Connected | Lost):
        return answer
    return Lost(reason="an answer out of order")


def _judge_broker(
    broker: BrokerSettings, address: BrokerAddress, answer: Connected
) -> tuple[Grade, str]:
    """The grade of a broker that takes us in, and what to do."""
    largest = answer.maximum_packet_bytes
    if largest is not None and largest < PACKET_LIMIT_BYTES:
        return Grade.WARNING, (
            f"a message may have {PACKET_LIMIT_BYTES} bytes with its topic: larger ones than its"
            " limit are refused and parked; set the broker's max_packet_size"
        )
    if not broker.tls and address.host not in LOOPBACK:
        return Grade.WARNING, "no TLS across a network: set broker.tls and certificates"
    return Grade.GOOD, ""
