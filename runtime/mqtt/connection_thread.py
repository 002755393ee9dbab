"""The thread of a client of the broker: a session over each connection, until `stop`."""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, Protocol

from runtime.ledger.ledger import LedgerError
from runtime.mqtt.connection_events import Connected, Lost
from runtime.mqtt.connection_loop import ConnectionLoop

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from random import Random

    from runtime.mqtt.connection import BrokerConnection
    from runtime.mqtt.connection_events import Signal
    from runtime.mqtt.settings import BrokerSettings

LOG = logging.getLogger(__name__)


class ConnectionSession(Protocol):
    """What is said and heard over one connection. All may raise LedgerError."""

    @property
    def stands(self) -> bool:
        """Whether the connection does what it is for; the next pause is then a short one."""
        ...

    def begin(self) -> None:
        """The broker took us in."""
        ...

    def hear(self, signal: Signal) -> None:
        """Something happened on the connection; it still stands."""
        ...

    def turn(self) -> str | None:
        """Says what is due; why the connection is of no use any more, or None."""
        ...

    def wait(self) -> None:
        """Until there may be something to say, or the thread's `wake`."""
        ...

    def farewell(self) -> bool:
        """Says the last message once there is room for it; whether the broker has it."""
        ...

    def end(self, lost: Lost | None) -> None:
        """The connection is over; None: by our own doing."""
        ...


class BrokerClient(Protocol):
    """Who is to be kept connected. Asked by the thread; may raise LedgerError."""

    def new_connection(self, signals: SimpleQueue[Signal]) -> BrokerConnection:
        """A connection that is not open yet."""
        ...

    def new_session(self, connection: BrokerConnection, connected: Connected) -> ConnectionSession:
        """What is to be said and heard over it."""
        ...


class ConnectionThread:
    """Keeps a client connected. `wake` ends a session's `wait`; `holds_back`: see ConnectionLoop.

    `purpose` stands in the log behind "no broker".
    """

    def __init__(
        self,
        client: BrokerClient,
        settings: BrokerSettings,
        *,
        name: str,
        purpose: str,
        wake: Callable[[], None],
        randomness: Random,
        monotonic: Callable[[], float],
        holds_back: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client = client
        self._settings = settings
        self._purpose = purpose
        self._wake = wake
        self._monotonic = monotonic
        self._loop = ConnectionLoop(
            settings,
            new_connection=client.new_connection,
            randomness=randomness,
            monotonic=monotonic,
            holds_back=holds_back,
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.problem = "not started"
        """Why there was no connection the last time, for people."""

    def start(self) -> None:
        """Begins to connect; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Lets the session say its last message, disconnects and returns.

        Within `connect_timeout_s`, or twice `stop_timeout_s`: the message, and the DISCONNECT.
        """
        self._loop.stop()
        self._wake()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False after `start` and before `stop` is a defect."""
        return self._thread.is_alive()

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._loop.stopped:
                self._say(self._one_life())
        finally:
            # However this thread ends: a socket that lives on behind it would say "online".
            self._loop.give_up("stopped")

    def _say(self, problem: str) -> None:
        if problem != self.problem and not self._loop.stopped:
            LOG.warning("no broker%s: %s", self._purpose, problem)
            self.problem = problem

    def _one_life(self) -> str:
        """As `_one_connection`; a ledger that fails ends it, too."""
        try:
            return self._one_connection()
        except LedgerError as error:
            return self._loop.give_up(f"the ledger failed: {error.detail}").reason

    def _one_connection(self) -> str:
        """From the pause before the attempt to the end of the connection; why it ended."""
        first = self._first_signal()
        connection = self._loop.connection
        if isinstance(first, Lost):
            return first.reason
        if first is None or connection is None:
            return "stopped"
        session = self._client.new_session(connection, first)
        lost: Lost | None = None
        try:
            session.begin()
            while lost is None and not self._loop.stopped:
                lost = self._turn(session)
            if lost is None:
                lost = self._leave(session)
        finally:
            session.end(lost)
        return "stopped" if lost is None else lost.reason

    def _first_signal(self) -> Connected | Lost | None:
        while not self._loop.stopped:
            first = self._loop.receive(math.inf)
            if isinstance(first, Connected | Lost):
                return first
        return None

    def _turn(self, session: ConnectionSession) -> Lost | None:
        lost = self._hear(session, until_s=self._monotonic())
        if lost is not None:
            return lost
        fault = session.turn()
        if fault is not None:
            return self._loop.give_up(fault)
        if session.stands:
            self._loop.stands()
        if self._loop.unheard == 0:
            session.wait()
        return None

    def _hear(self, session: ConnectionSession, until_s: float) -> Lost | None:
        """Hands on all that happened; waits for the first of it until then."""
        signal = self._loop.receive(until_s)
        while signal is not None and not isinstance(signal, Lost):
            session.hear(signal)
            signal = self._loop.receive(until_s=0.0)
        return signal

    def _leave(self, session: ConnectionSession) -> Lost | None:
        """The last message, within `stop_timeout_s`; the will, if the broker does not have it."""
        deadline_s = self._monotonic() + self._settings.stop_timeout_s
        clean = False
        lost = self._hear(session, until_s=self._monotonic())
        while lost is None and not clean:
            clean = session.farewell()
            if clean or self._monotonic() >= deadline_s:
                break
            lost = self._hear(session, until_s=deadline_s)
        self._loop.close(with_will=not clean)
        return lost
