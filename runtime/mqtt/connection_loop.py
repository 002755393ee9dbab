"""One connection to the broker after the other: attempts, their deadline, the pauses."""

from __future__ import annotations

import socket
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from runtime.mqtt.connection import BrokerUnreachableError
from runtime.mqtt.connection_events import Connected, Listening, Lost, Signal
from runtime.timing.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from runtime.mqtt.connection import BrokerConnection
    from runtime.mqtt.settings import BrokerAddress, BrokerSettings

SLICE_S = 0.2
"""So soon a thread that waits for the broker sees `stop`."""


FIRST_LOOK_S, LONGEST_LOOK_S = 30.0, 3600.0
"""At a further address: pauses before one looks whether the first answers again; they double."""
LOOK_TIMEOUT_S = 3.0


class ConnectionLoop:
    """Connects, tells what happens on the connection, and connects again. For ever, until `stop`.

    An attempt that fails is followed by one at the next address; a connection that stood is
    followed by one at the first, and left for the first once that one answers again.

    Used by one thread, which asks with `receive`; `stop` may be called by any. `new_connection`
    makes a connection that is not open yet. `first_answer`: what the broker owes us within
    `connect_timeout_s` of an attempt. `holds_back`: whether the next pause is to be a long one.
    `monotonic` is in seconds.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        new_connection: Callable[[SimpleQueue[Signal]], BrokerConnection],
        randomness: Random,
        monotonic: Callable[[], float],
        first_answer: type[Connected | Listening] = Connected,
        holds_back: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._new_connection = new_connection
        self._monotonic = monotonic
        self._first_answer = first_answer
        self._holds_back = holds_back
        self._backoff = Backoff(
            first_s=settings.backoff_first_s,
            longest_s=settings.backoff_longest_s,
            randomness=randomness,
        )
        self._stopped = threading.Event()
        self._signals: SimpleQueue[Signal] = SimpleQueue()
        self._answered = False
        self._answer_due_s = 0.0
        self._ended_s = monotonic()
        self._pause_s: float | None = 0.0
        self._ways = settings.addresses
        self._way = 0
        self._first_way = FirstWay(self._ways[0], monotonic)
        self._may_go_back = settings.proxy is None
        self.connection: BrokerConnection | None = None
        """What there is to speak over, from the attempt on; None in the pauses."""
        self.attempts = 0
        """The number of this connection, or of the last one."""

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    @property
    def unheard(self) -> int:
        """How much happened that `receive` has not told yet."""
        return self._signals.qsize()

    def receive(self, until_s: float) -> Signal | None:
        """What happened next, connecting where there is no connection; None: nothing (yet).

        `until_s` is the latest moment to wait for; an attempt may take `connect_timeout_s` longer.
        `Lost` is the end of a connection or of an attempt: another one follows after a pause.
        """
        if self.connection is None:
            return self._attempt(until_s)
        if self._way and self._answered and self._may_go_back and self._first_way.answers():
            return self._go_back()
        waits_until_s = until_s if self._answered else min(until_s, self._answer_due_s)
        left_s = max(0.0, waits_until_s - self._monotonic())
        try:
            signal = self._signals.get(timeout=min(SLICE_S, left_s))
        except Empty:
            if not self._answered and self._monotonic() >= self._answer_due_s:
                return self.give_up("the broker says nothing")
            return None
        if isinstance(signal, Lost):
            self._abandon()
        self._answered = self._answered or isinstance(signal, self._first_answer)
        return signal

    def stands(self) -> None:
        """This connection does what it is for: the next pause is a short one."""
        self._backoff.reset()
        if self._way == 0:
            self._first_way.stands()

    def give_up(self, reason: str) -> Lost:
        """Ends the connection, if any, without a DISCONNECT; the next attempt comes later."""
        self._abandon()
        return Lost(reason=reason)

    def stop(self) -> None:
        """No further attempt is made, and no pause goes on."""
        self._stopped.set()

    def close(self, *, with_will: bool = False, forget: bool = False) -> None:
        """Says DISCONNECT, if there is a connection: within `stop_timeout_s`."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close(
                with_will=with_will, timeout_s=self._settings.stop_timeout_s, forget=forget
            )

    def _attempt(self, until_s: float) -> Lost | None:
        if self._pause_s is None:
            self._pause_s = self._backoff.next_s(long=self._holds_back())
        due_s = self._ended_s + self._pause_s
        pause_s = min(due_s, until_s) - self._monotonic()
        if (pause_s > 0 and self._stopped.wait(pause_s)) or self._monotonic() < due_s:
            return None
        self.attempts += 1
        self._signals = SimpleQueue()
        self._answered = False
        try:
            connection = self._new_connection(self._signals)
            connection.open(self._ways[self._way])
        except BrokerUnreachableError as error:
            return self.give_up(str(error))
        self._answer_due_s = self._monotonic() + self._settings.connect_timeout_s
        self.connection = connection
        return None

    def _go_back(self) -> Lost:
        """To the first address, at once. The will says `offline` here, the birth follows there."""
        self._abandon()
        self._pause_s = 0.0
        return Lost(reason=f"{self._ways[0]} answers again")

    def _abandon(self) -> None:
        connection, self.connection = self.connection, None
        self._ended_s, self._pause_s = self._monotonic(), None
        self._way = 0 if self._answered else (self._way + 1) % len(self._ways)
        if connection is not None:
            # After a clean close this does nothing; after anything else the will speaks for us.
            connection.abandon()


class FirstWay:
    """Whether the first address answers again, while a further one is in use.

    A thread of its own opens a TCP connection and closes it: what is said meanwhile does not wait.
    """

    def __init__(self, address: BrokerAddress, monotonic: Callable[[], float]) -> None:
        self._address = address
        self._monotonic = monotonic
        self._pause_s = FIRST_LOOK_S
        self._look_s: float | None = None
        self._answered = threading.Event()

    def stands(self) -> None:
        """It is in use: the next time that it fails one looks for it soon."""
        self._pause_s = FIRST_LOOK_S
        self._look_s = None

    def answers(self) -> bool:
        """Whether a look has found it; begins one when it is due. Returns at once."""
        now_s = self._monotonic()
        if self._look_s is None:
            self._look_s = now_s + self._pause_s
        elif self._answered.is_set():
            self._answered.clear()
            self._look_s = None
            # Who answers and then does not take us in is gone back to ever less often.
            self._pause_s = min(LONGEST_LOOK_S, self._pause_s * 2)
            return True
        elif now_s >= self._look_s:
            self._look_s = now_s + self._pause_s
            threading.Thread(target=self._look, name="first-broker", daemon=True).start()
        return False

    def _look(self) -> None:
        try:
            socket.create_connection(self._address, timeout=LOOK_TIMEOUT_S).close()
        except OSError:
            return
        self._answered.set()
