"""Alarms that are told: kept until the broker has them, whatever ends in between."""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from queue import SimpleQueue

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from runtime.messages.alarm import Severity
from runtime.site.alarms.alarm_reconciliation import reconcile, untold
from runtime.site.alarms.alarm_rules import AlarmFinding, AlarmKind
from runtime.site.alarms.notifier import PUBLISHED, Notifier
from runtime.site.config.settings import WebhookSection
from runtime.site.store.service_state import ServiceState, StateBoard
from runtime.timing.backoff import Backoff
from tests.support.site_units import NOON_MS
from tests.support.waiting import wait_until

PATIENCE_S = 60
SILENT = AlarmFinding(
    kind=AlarmKind.UNIT_SILENT,
    unit="mammo-1",
    severity=Severity.CRITICAL,
    since_ms=NOON_MS,
    saw="nothing heard",
    advice="look",
)


class Broker:
    """Takes alarms in a subscriber's place; `answers` or not."""

    def __init__(self, *, answers) -> None:
        self.answers = answers
        self.said = []

    def publish_alarm(self, alarm, taken) -> bool:
        """As the subscriber's."""
        self.said.append(alarm.state.value)
        if self.answers:
            taken()
        return True


@contextmanager
def notifier(store):
    """A herald at work; its errands."""
    errands = SimpleQueue()
    board = StateBoard(ServiceState(service="site-1", started_ms=0))
    board.say(watching=True, broker_up=True)
    speaker = Notifier(
        site="st-anna",
        boot_id="b",
        store=store,
        board=board,
        webhook=WebhookSection(),
        backoff=Backoff(first_s=0.1, longest_s=1.0, randomness=random.Random(1)),
        errands=errands,
        monotonic=time.monotonic,
    )
    stop = threading.Event()
    thread = threading.Thread(target=speaker.run, args=(stop,))
    speaker.wake()
    thread.start()
    try:
        yield errands
    finally:
        stop.set()
        speaker.wake()
        thread.join(PATIENCE_S)


def owed(store) -> list[bool]:
    """Of each alarm that is still to be told, whether it is a closed one."""
    with store.reading() as connection:
        waiting = untold(connection, "st-anna", PUBLISHED)
    return [alarm.closed_ms is not None for alarm, _ in waiting]


@pytest.fixture
def cleared(store):
    """A store with an alarm that was told, and then ended: nobody knows that yet."""
    with store.writing() as connection:
        reconcile(connection, "st-anna", [SILENT], now_ms=NOON_MS)
    with notifier(store) as errands:
        errands.get(timeout=PATIENCE_S)(Broker(answers=True))
        wait_until(lambda: not owed(store), timeout_s=PATIENCE_S, what="the alarm is told")
    with store.writing() as connection:
        reconcile(connection, "st-anna", [], now_ms=NOON_MS + 1)
    return store


def test_a_cleared_alarm_survives_a_crash_before_the_broker_has_it(cleared):
    """Said, but not taken: the next service says it again; once taken, nobody does."""
    silent, well = Broker(answers=False), Broker(answers=True)
    with notifier(cleared) as errands:
        errands.get(timeout=PATIENCE_S)(silent)
    assert owed(cleared) == [True]
    with notifier(cleared) as errands:
        errands.get(timeout=PATIENCE_S)(well)
        wait_until(lambda: not owed(cleared), timeout_s=PATIENCE_S, what="it is told")
        assert errands.empty()
    assert silent.said == well.said == ["cleared"]


def test_an_alarm_on_its_way_is_not_said_again(cleared):
    """The broker is slow: later rounds wait for its answer."""
    with notifier(cleared) as errands:
        say = errands.get(timeout=PATIENCE_S)
        slow = Broker(answers=False)
        say(slow)
        with cleared.writing() as connection:  # something else to tell, and so another round
            reconcile(connection, "st-anna", [SILENT], now_ms=NOON_MS + 2)
        other = Broker(answers=True)
        errands.get(timeout=PATIENCE_S)(other)
        wait_until(lambda: owed(cleared) == [True], timeout_s=PATIENCE_S, what="the other is told")
        assert other.said == ["raised"]
