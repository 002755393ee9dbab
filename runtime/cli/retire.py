"""`mammoedge retire`: a unit goes out of service; the broker is cleared of it, its books stay."""

from __future__ import annotations

import secrets
import sys
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from models.errors import OperatorError, PeerError
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import StatusFacts
from runtime.mqtt.connection import BrokerConnection, BrokerUnreachableError
from runtime.mqtt.connection_events import Connected, Lost, PublishAcknowledged
from runtime.mqtt.outbox_delivery import FAILURE
from runtime.publishing.message_factory import MessageFactory
from runtime.publishing.site_key import read_site_key
from runtime.system.folder_lock import sole_user
from runtime.unit.service import intake_types
from runtime.unit.settings import load_settings

if TYPE_CHECKING:
    from argparse import Namespace

    from runtime.mqtt.connection_events import Signal
    from runtime.mqtt.settings import BrokerAddress
    from runtime.unit.settings import Settings

ANSWER_S = 30.0
"""For all of it: a broker answers hundreds of messages in a second."""


class RowsWaitError(OperatorError):
    """Flags are on their way still."""


class NotRetiredError(PeerError):
    """The broker did not take all of it."""


def retire_command(arguments: Namespace) -> int:
    """Says that the unit is retired, and clears what it retained at the broker; 0.

    Raises:
        FolderInUseError: its service runs.
        RowsWaitError: messages wait; with --force they are left.
        NotRetiredError: the broker is not there, or refuses.
    """
    settings = load_settings(arguments.config, intake_types())
    folder = settings.storage.folder
    if not (folder / "ledger.db").exists():
        raise RowsWaitError(f"{folder}: there is no ledger; has the unit run yet?")
    boot_id = secrets.token_hex(8)
    with sole_user(folder), Ledger(folder / "ledger.db", boot_id=boot_id) as ledger:
        waiting = ledger.backlog().waiting
        if waiting and not arguments.force:
            raise RowsWaitError(
                f"{waiting} messages wait for the broker: run the service until they are delivered,"
                " or give --force to leave them"
            )
        factory = MessageFactory(
            site=settings.unit.site,
            unit=settings.unit.unit,
            boot_id=boot_id,
            ledger_id=ledger.ledger_id,
            site_key=read_site_key(settings.identity.site_key_file),
        )
        cleared = _retire_everywhere(settings, factory, ledger)
    print(
        f"{settings.unit.unit} is retired: {cleared} retained messages were taken off the broker."
        f" Its books are kept in {folder}. At the site: revoke its certificate"
        f" (mammoedge init DIR --revoke {settings.unit.unit})."
    )
    return 0


def _retire_everywhere(settings: Settings, factory: MessageFactory, ledger: Ledger) -> int:
    """At each address of the broker's: they may be brokers with memories of their own."""
    cleared, problems = 0, []
    for address in settings.broker.addresses:
        try:
            cleared += _retire(settings, factory, ledger, address)
        except NotRetiredError as error:
            problems.append(f"{address}: {error}")
    if problems:
        raise NotRetiredError("; ".join(problems))
    return cleared


def _retire(
    settings: Settings, factory: MessageFactory, ledger: Ledger, address: BrokerAddress
) -> int:
    topics = factory.topics
    lasting = {topics.status, topics.health, topics.drift, topics.probe}
    gone = sorted(lasting.union(ledger.retained_topics()))
    signals: SimpleQueue[Signal] = SimpleQueue()
    connection = BrokerConnection(
        settings.broker,
        # The unit's own: the broker's rules may hang on it.
        client_id=f"mammoedge-{factory.site}-{factory.unit}",
        will=None,
        signals=signals,
        wake=lambda: None,
        accept=lambda _size: False,
    )
    until_s = time.monotonic() + ANSWER_S
    try:
        connection.open(address)
        first = _next(signals, time.monotonic() + settings.broker.connect_timeout_s)
        if not isinstance(first, Connected):
            raise NotRetiredError(first.reason if isinstance(first, Lost) else "no answer")
        said = factory.retired_message(
            StatusFacts(), at_ms=time.time_ns() // 1_000_000, last_seq=ledger.last_seq()
        )
        _await_all(signals, {connection.publish(said.topic, said.payload)}, until_s)
        window = first.receive_maximum
        for at in range(0, len(gone), window):
            waits = {connection.publish(t, b"", retained=True) for t in gone[at : at + window]}
            _await_all(signals, waits, until_s)
    except BrokerUnreachableError as error:
        raise NotRetiredError(str(error)) from error
    finally:
        connection.close(with_will=False, timeout_s=settings.broker.stop_timeout_s)
    return len(gone)


def _await_all(signals: SimpleQueue[Signal], waits: set[int], until_s: float) -> None:
    refused = 0
    while waits:
        signal = _next(signals, until_s)
        if signal is None or isinstance(signal, Lost):
            reason = signal.reason if signal else "the broker acknowledges nothing"
            raise NotRetiredError(f"{reason}; {len(waits)} messages were not taken: try again")
        if isinstance(signal, PublishAcknowledged) and signal.mid in waits:
            waits.discard(signal.mid)
            refused += signal.reason_code >= FAILURE
    if refused:
        print(f"the broker refused {refused} of them", file=sys.stderr)
        raise NotRetiredError("its access rules do not let this unit write below its own name")


def _next(signals: SimpleQueue[Signal], until_s: float) -> Signal | None:
    try:
        return signals.get(timeout=max(0.0, until_s - time.monotonic()))
    except Empty:
        return None
