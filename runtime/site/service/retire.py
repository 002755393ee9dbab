"""`mammoedge site retire UNIT`: a unit that is gone is taken out of service from the site."""

from __future__ import annotations

import os
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from models.errors import OperatorError
from runtime.messages.topics import Topics
from runtime.mqtt.connection import BrokerConnection, BrokerUnreachableError
from runtime.mqtt.connection_events import (
    Connected,
    ConnectOptions,
    Heard,
    Lost,
    PublishAcknowledged,
)
from runtime.mqtt.outbox_delivery import FAILURE
from runtime.site.config.settings import load_site_settings
from runtime.site.store.retired_units import reinstate_unit, retire_unit, unit_number

if TYPE_CHECKING:
    from argparse import Namespace

    from runtime.mqtt.connection_events import Signal
    from runtime.site.config.settings import SiteSettings

LOOK_S = 2.0
"""So long after the last retained message there is no other one."""


class UnknownUnitError(OperatorError):
    """The books do not name such a unit."""


def retire_command(arguments: Namespace) -> int:
    """Marks the unit in the books and clears what it retained; 0, or 1 if the broker refuses that.

    Raises:
        UnknownUnitError, StoreError: the unit, or the database.
    """
    settings = load_site_settings(arguments.config)
    site, unit = settings.site.name, arguments.unit
    with settings.store.make_store() as store, store.writing() as connection:
        number = unit_number(connection, site, unit)
        if number is None:
            raise UnknownUnitError(f"{unit}: the books of {site} do not name it")
        if arguments.undo:
            reinstate_unit(connection, number)
        else:
            retire_unit(connection, number, time.time_ns() // 1_000_000)
    if arguments.undo:
        print(f"{unit} is in service again")
        return 0
    print(f"{unit} is retired: its books are kept. If it speaks again, that is an alarm.")
    problem = _cleared(settings, unit)
    print(problem or "What it had retained was taken off the broker.")
    return 1 if problem else 0


def _cleared(settings: SiteSettings, unit: str) -> str:
    """Takes what the unit retained off the broker; why not, or ""."""
    signals: SimpleQueue[Signal] = SimpleQueue()
    connection = BrokerConnection(
        settings.broker,
        client_id=f"mammoedge-retire-{os.getpid()}",
        will=None,
        signals=signals,
        wake=lambda: None,
        accept=lambda _size: True,
        connect_options=ConnectOptions(hear_retained=True),
    )
    root = Topics(site=settings.site.name, unit=unit).root
    try:
        connection.open()
        first = _next(signals, settings.broker.connect_timeout_s)
        if not isinstance(first, Connected):
            return f"The broker: {first.reason if isinstance(first, Lost) else 'no answer'}"
        connection.listen([f"{root}/#"])
        refused = _clear_all(connection, signals)
    except BrokerUnreachableError as error:
        return f"The broker: {error}"
    finally:
        connection.close(with_will=False, timeout_s=settings.broker.stop_timeout_s)
    if refused:
        return (
            f"The broker's rules do not let the site clear {refused} of its messages. Run"
            f" `mammoedge retire` at the unit, or let the site's user write {root}/# for as long as"
            " it takes."
        )
    return ""


def _clear_all(connection: BrokerConnection, signals: SimpleQueue[Signal]) -> int:
    """How many messages the broker did not let us clear."""
    waits: set[int] = set()
    refused = 0
    while (signal := _next(signals, LOOK_S)) is not None and not isinstance(signal, Lost):
        if isinstance(signal, Heard) and signal.retained and signal.payload:
            waits.add(connection.publish(signal.topic, b"", retained=True))
        elif isinstance(signal, PublishAcknowledged) and signal.mid in waits:
            waits.discard(signal.mid)
            refused += signal.reason_code >= FAILURE
    return refused + len(waits)


def _next(signals: SimpleQueue[Signal], timeout_s: float) -> Signal | None:
    try:
        return signals.get(timeout=timeout_s)
    except Empty:
        return None
