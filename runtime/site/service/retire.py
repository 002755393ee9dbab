"""`mammoedge site retire UNIT`: a unit that is gone is taken out of service from the site."""

from __future__ import annotations

import os
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from models.errors import OperatorError, PeerError
from runtime.messages.topics import Topics
from runtime.mqtt.connection import BrokerConnection, BrokerUnreachableError
from runtime.mqtt.connection_events import (
    Connected,
    ConnectOptions,
    Heard,
    Listening,
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
LONGEST_S = 60.0
"""For all of it, however much the unit still says meanwhile."""


class NotClearedError(PeerError):
    """The broker keeps what the unit retained; the text is for people."""


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
    try:
        cleared = _clear(settings, unit)
    except NotClearedError as error:
        print(error)
        return 1
    print(
        f"{cleared} retained messages of it were taken off the broker."
        if cleared
        else "The broker shows us no retained message of it: there is none, or its rules hide them."
    )
    return 0


def _clear(settings: SiteSettings, unit: str) -> int:
    """Takes what the unit retained off the broker; how many messages. Raises NotClearedError."""
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
            reason = first.reason if isinstance(first, Lost) else "no answer"
            raise NotClearedError(f"The broker: {reason}")
        connection.listen([f"{root}/#"])
        cleared, refused = _clear_all(connection, signals)
    except BrokerUnreachableError as error:
        raise NotClearedError(f"The broker: {error}") from error
    finally:
        connection.close(with_will=False, timeout_s=settings.broker.stop_timeout_s)
    if refused:
        raise NotClearedError(
            f"The broker's rules do not let the site clear {refused} of its messages. Run"
            f" `mammoedge retire` at the unit, or let the site's user write {root}/# for as long as"
            " it takes."
        )
    return cleared


def _clear_all(connection: BrokerConnection, signals: SimpleQueue[Signal]) -> tuple[int, int]:
    """How many messages were cleared, and how many the broker did not let us clear."""
    waits: set[int] = set()
    cleared = refused = 0
    until_s = time.monotonic() + LONGEST_S
    quiet_s = time.monotonic() + LOOK_S
    while (now_s := time.monotonic()) < min(until_s, quiet_s):
        signal = _next(signals, min(until_s, quiet_s) - now_s)
        if isinstance(signal, Lost):
            raise NotClearedError(f"The broker: {signal.reason}; try again")
        if isinstance(signal, Listening) and signal.refused:
            raise NotClearedError(f"The broker does not let us hear the unit: {signal.refused}")
        if isinstance(signal, Heard) and signal.retained and signal.payload:
            waits.add(connection.publish(signal.topic, b"", retained=True))
            quiet_s = time.monotonic() + LOOK_S
        elif isinstance(signal, PublishAcknowledged) and signal.mid in waits:
            waits.discard(signal.mid)
            refused += signal.reason_code >= FAILURE
            cleared += signal.reason_code < FAILURE
            quiet_s = time.monotonic() + LOOK_S
    return cleared, refused + len(waits)


def _next(signals: SimpleQueue[Signal], timeout_s: float) -> Signal | None:
    try:
        return signals.get(timeout=timeout_s)
    except Empty:
        return None
