"""Attempts, deadlines, pauses and the end, with a connection that is a fake."""

import random
import time
from pathlib import Path
from queue import SimpleQueue

import pytest

from runtime.ledger.ledger import LedgerError
from runtime.mqtt.connection import BrokerUnreachableError
from runtime.mqtt.connection_events import Connected, Heard, Listening, Lost, PublishAcknowledged
from runtime.mqtt.connection_loop import ConnectionLoop
from runtime.mqtt.connection_thread import ConnectionThread
from runtime.mqtt.settings import BrokerSettings
from runtime.timing.backoff import Backoff
from tests.support.waiting import wait_until

SETTINGS = BrokerSettings(
    host="127.0.0.1",
    tls=False,
    connect_timeout_s=0.3,
    backoff_first_s=0.05,
    backoff_longest_s=0.1,
    stop_timeout_s=0.3,
)
CONNECTED = Connected(receive_maximum=10, maximum_packet_bytes=None)


class Clock:
    """Seconds that pass when somebody looks."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.01
        return self.now_s


class FakeConnection:
    """Opens or not; says what it is told to."""

    def __init__(self, signals: SimpleQueue, *, reachable=True, says=()) -> None:
        self._reachable = reachable
        self.signals = signals
        self.abandoned = 0
        self.closed: list[bool] = []
        for signal in says:
            signals.put(signal)

    def open(self, _address) -> None:
        if not self._reachable:
            raise BrokerUnreachableError("no route")

    def abandon(self) -> None:
        self.abandoned += 1

    def close(self, *, with_will, timeout_s, forget) -> None:
        self.closed.append(with_will)


class Broker:
    """Makes connections that behave all alike, and keeps them."""

    def __init__(self, **options) -> None:
        self.options = options
        self.connections: list[FakeConnection] = []

    def connect(self, signals: SimpleQueue) -> FakeConnection:
        self.connections.append(FakeConnection(signals, **self.options))
        return self.connections[-1]


def loop_of(broker, clock, *, backoff_longest_s=0.1, **options) -> ConnectionLoop:
    return ConnectionLoop(
        SETTINGS.model_copy(update={"backoff_longest_s": backoff_longest_s}),
        new_connection=broker.connect,
        randomness=random.Random(1),
        monotonic=clock,
        **options,
    )


def test_an_attempt_that_fails_is_followed_by_a_pause():
    """`Lost` with the reason at once; until the pause is over there is no further attempt."""
    broker, clock = Broker(reachable=False), Clock()
    loop = loop_of(broker, clock)
    assert loop.receive(1.0) == Lost(reason="no route")
    assert loop.receive(until_s=clock.now_s) is None
    assert len(broker.connections) == 1
    clock.now_s += SETTINGS.backoff_longest_s
    assert loop.receive(clock.now_s + 1.0) == Lost(reason="no route")
    assert (len(broker.connections), loop.attempts) == (2, 2)


@pytest.mark.parametrize(
    ("first_answer", "says"), [(Connected, ()), (Listening, ()), (Listening, (CONNECTED,))]
)
def test_a_broker_that_owes_its_first_answer_is_left(first_answer, says):
    """After `connect_timeout_s`, however much else it says."""
    broker, clock = Broker(says=says), Clock()
    loop = loop_of(broker, clock, first_answer=first_answer)
    heard = []
    while not any(isinstance(signal, Lost) for signal in heard) and clock.now_s < 10.0:
        heard.append(loop.receive(clock.now_s + 0.05))
    assert heard[-1] == Lost(reason="the broker says nothing")
    assert broker.connections[0].abandoned == 1
    assert loop.connection is None


def test_after_its_first_answer_a_broker_may_be_silent():
    """What a connection is worth then, whoever uses it must say."""
    broker, clock = Broker(says=(CONNECTED,)), Clock()
    loop = loop_of(broker, clock)
    assert loop.receive(1.0) is None
    assert loop.receive(1.0) == CONNECTED
    clock.now_s += 100.0
    assert loop.receive(clock.now_s) is None
    assert loop.connection is broker.connections[0]


def test_who_holds_back_waits_for_long():
    """At least half the longest pause, and that at once."""
    backoff = Backoff(first_s=0.5, longest_s=30, randomness=random.Random(3))
    assert all(15 <= backoff.next_s(long=True) <= 30 for _ in range(20))
    assert backoff.next_s() == 0.5
    broker, clock = Broker(reachable=False), Clock()
    loop = loop_of(broker, clock, backoff_longest_s=10.0, holds_back=lambda: True)
    loop.receive(1.0)
    clock.now_s += 4.5
    assert loop.receive(clock.now_s) is None
    assert loop.attempts == 1
    clock.now_s += 5.5
    loop.receive(clock.now_s)
    assert loop.attempts == 2


class TalkingSession:
    """Tells what it was asked; `acknowledged`: the broker has its last message."""

    def __init__(self, *, fails_in="", failure=None, acknowledged=True) -> None:
        self.calls: list[object] = []
        self.stands = True
        self._fails_in = fails_in
        self._failure = failure or LedgerError(Path("ledger.db"), "disk full")
        self._acknowledged = acknowledged

    def _called(self, name: str) -> None:
        if name not in self.calls:
            self.calls.append(name)
        if name == self._fails_in:
            raise self._failure

    def begin(self) -> None:
        self._called("begin")

    def hear(self, signal) -> None:
        self.calls.append(signal)

    def turn(self) -> None:
        self._called("turn")

    def wait(self) -> None:
        self._called("wait")

    def farewell(self) -> bool:
        self._called("farewell")
        return self._acknowledged

    def end(self, lost) -> None:
        self.calls.append(("end", lost))


def thread_of(broker, session) -> ConnectionThread:
    class Client:
        def new_connection(self, signals):
            return broker.connect(signals)

        def new_session(self, _connection, _connected):
            return session

    return ConnectionThread(
        Client(),
        SETTINGS,
        name="test",
        purpose=" for a test",
        wake=lambda: None,
        randomness=random.Random(1),
        monotonic=time.monotonic,
    )


def test_a_session_hears_in_order_and_is_ended_once():
    """Begin, what was heard, what is due; a loss ends it with its reason."""
    session = TalkingSession()
    heard = Heard(topic="a", payload=b"")
    acknowledged = PublishAcknowledged(mid=1, reason_code=0)
    broker = Broker(says=(CONNECTED, heard, acknowledged))
    thread = thread_of(broker, session)
    thread.start()
    wait_until(lambda: "wait" in session.calls, what="a turn")
    assert session.calls[:5] == ["begin", heard, acknowledged, "turn", "wait"]
    lost = Lost(reason="cut")
    broker.connections[0].signals.put(lost)
    wait_until(lambda: len(broker.connections) == 2, what="the next attempt")
    assert session.calls.count(("end", lost)) == 1
    assert thread.problem == "cut"
    thread.stop()
    assert not thread.alive


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_last_message_that_the_broker_has_makes_a_clean_end(acknowledged):
    """Without an acknowledgement in time the will is asked for: the site must not see "online"."""
    session = TalkingSession(acknowledged=acknowledged)
    broker = Broker(says=(CONNECTED,))
    thread = thread_of(broker, session)
    thread.start()
    wait_until(lambda: "wait" in session.calls, what="a turn")
    thread.stop()
    assert broker.connections[0].closed == [not acknowledged]
    assert session.calls[-1] == ("end", None)


@pytest.mark.parametrize("fails_in", ["begin", "turn"])
def test_a_ledger_that_fails_costs_the_connection_and_no_more(fails_in):
    """The thread lives, says why, and tries again."""
    session = TalkingSession(fails_in=fails_in)
    broker = Broker(says=(CONNECTED,))
    thread = thread_of(broker, session)
    thread.start()
    wait_until(lambda: len(broker.connections) >= 2, what="the next attempt")
    assert thread.problem == "the ledger failed: disk full"
    assert broker.connections[0].abandoned == 1
    thread.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_ends_the_thread_and_leaves_no_connection_behind():
    """The will speaks, and the service sees that the thread is gone."""
    session = TalkingSession(fails_in="turn", failure=LookupError("defect"))
    broker = Broker(says=(CONNECTED,))
    thread = thread_of(broker, session)
    thread.start()
    wait_until(lambda: not thread.alive, what="the end of the thread")
    assert broker.connections[0].abandoned == 1
    assert session.calls[-1] == ("end", None)
