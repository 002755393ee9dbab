"""A site's MQTT 5 session: hears every unit, acknowledges after the consumer, asks for replay.

The consumer pulls: `receive` gives one message at a time and keeps the connection up in between.
What was not acknowledged when a connection or the process ended is sent again by the broker.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.messages.alarm import AlarmMessage, AlarmState
from runtime.messages.commands import Rebirth, Replay
from runtime.messages.topics import ROOT, SITE_SERVICE, Topics
from runtime.mqtt.connection import BrokerConnection
from runtime.mqtt.connection_events import (
    Connected,
    ConnectOptions,
    Heard,
    Listening,
    Lost,
    PublishAcknowledged,
    Signal,
)
from runtime.mqtt.connection_loop import ConnectionLoop
from runtime.mqtt.outbox_delivery import FAILURE
from runtime.site.subscriber.arrival import Arrival, LinkChange
from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from random import Random

    from runtime.mqtt.settings import BrokerSettings

LOG = logging.getLogger(__name__)

HOUR_S = 3600
COMMAND_EXPIRY_S = 60
UNITS_REMEMBERED = 5000


@dataclass(frozen=True, kw_only=True)
class SubscriberSettings:
    """How to listen to a site.

    `client_id`: stable where the session must outlive the process. `session_expiry_s`: how long
    the broker keeps what comes while we are away; 0: not at all. `group`: share the load with other
    subscribers of that name (`$share`); the broker then sends no retained messages.
    `packet_limit_bytes`: larger packets the broker keeps from us. `unread`: messages of QoS 0 that
    wait for the consumer at most; further ones are dropped, and counted.
    """

    site: str
    client_id: str
    session_expiry_s: int = HOUR_S
    group: str | None = None
    receive_maximum: int = 200
    packet_limit_bytes: int = 256 * 1024
    unread: int = 10_000
    commands_at_once: int = 2
    """Commands to one unit; it takes 5 at once itself, and one in ten seconds."""
    commands_per_s: float = 0.05
    commands_of_all_at_once: int = 50
    commands_of_all_per_s: float = 5.0
    empties_session: bool = False
    """Do not listen: hear only what the broker has kept for this client id so far."""

    @property
    def topic(self) -> str:
        """What we subscribe to."""
        everything = f"{ROOT}/{self.site}/#"
        return everything if self.group is None else f"$share/{self.group}/{everything}"


@dataclass(frozen=True, kw_only=True)
class HeardMessage:
    """A message for the consumer, who acknowledges it once it is safe."""

    arrival: Arrival
    mid: int
    connection: int
    """The connection that it came by; only there can it be acknowledged."""


class Subscriber:
    """One subscription to one site. Used by one thread; `stop` may be called by any.

    `clock_ms` is the wall clock (UTC), `monotonic` measures pauses in seconds.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        settings: SubscriberSettings,
        *,
        clock_ms: Callable[[], int],
        monotonic: Callable[[], float],
        randomness: Random,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._loop = ConnectionLoop(
            broker,
            new_connection=self._new_connection,
            randomness=randomness,
            monotonic=monotonic,
            first_answer=Listening,
        )
        self._gates: OrderedDict[str, TokenBucket] = OrderedDict()
        self._gate = TokenBucket(
            capacity=settings.commands_of_all_at_once,
            per_s=settings.commands_of_all_per_s,
            monotonic=monotonic,
        )
        self._owed: dict[int, Callable[[], None]] = {}
        """By message id: whom to tell that the broker has it."""
        self._session_present = False
        self.up = False
        """Whether the broker lets us listen now."""
        self.unread_dropped = 0
        """Messages of QoS 0 that came faster than they were read."""

    # --- hearing ------------------------------------------------------------------------------

    def receive(self, timeout_s: float) -> HeardMessage | LinkChange | None:
        """The next message, or a change of the connection; None when the time is over.

        Connects where there is no connection; an attempt may take `connect_timeout_s` longer.
        """
        deadline_s = self._monotonic() + timeout_s
        while not self._loop.stopped:
            signal = self._loop.receive(deadline_s)
            heard = None if signal is None else self._heard(signal)
            if heard is not None or self._monotonic() >= deadline_s:
                return heard
        return None

    def acknowledge(self, message: HeardMessage) -> None:
        """The consumer has it safe. To be called in the order in which messages came.

        Once the connection that it came by is gone this does nothing: the broker sends it again.
        """
        connection = self._loop.connection
        if message.mid and message.connection == self._loop.attempts and connection is not None:
            connection.acknowledge(message.mid)

    def stop(self) -> None:
        """Ends `receive` soon. Any thread."""
        self._loop.stop()

    def stand_aside(self) -> None:
        """Leaves until the next `receive`; the broker keeps what comes meanwhile."""
        self.up = False
        self._loop.close()

    def close(self, *, forget: bool = False) -> None:
        """Leaves. `forget`: the broker drops our session, and what would come for it."""
        self._loop.stop()
        self.up = False
        self._loop.close(forget=forget)

    # --- saying -------------------------------------------------------------------------------

    def ask_replay(self, unit: str, from_seq: int) -> bool:
        """Asks a unit to publish again from a number; False if that may not be said now."""
        command = Replay(from_seq=from_seq).model_dump_json().encode()
        return self._command(unit, Topics(site=self._settings.site, unit=unit).replay, command)

    def ask_rebirth(self, unit: str) -> bool:
        """Asks a unit to say `status` again; False if that may not be said now."""
        command = Rebirth().model_dump_json().encode()
        return self._command(unit, Topics(site=self._settings.site, unit=unit).rebirth, command)

    def publish_alarm(self, alarm: AlarmMessage, taken: Callable[[], None]) -> bool:
        """Says an alarm of the site's service (QoS 1); False while there is no connection.

        `taken` is called by `receive` once the broker has it; never, if this connection ends first.
        """
        connection = self._loop.connection
        if connection is None or not self.up:
            return False
        root = Topics(site=self._settings.site, unit=SITE_SERVICE).root
        stands = alarm.encode() if alarm.state is not AlarmState.CLEARED else b""
        # First what stands: a broker that has the second has the first (MQTT 5, 4.6).
        connection.publish(f"{root}/alarm/{alarm.key}", stands, retained=True)
        mid = connection.publish(f"{root}/alarm", alarm.encode())
        self._owed[mid] = taken
        return True

    def _command(self, unit: str, topic: str, payload: bytes) -> bool:
        connection = self._loop.connection
        if connection is None or not self.up:
            return False
        gate = self._gates.setdefault(
            unit,
            TokenBucket(
                capacity=self._settings.commands_at_once,
                per_s=self._settings.commands_per_s,
                monotonic=self._monotonic,
            ),
        )
        self._gates.move_to_end(unit)
        while len(self._gates) > UNITS_REMEMBERED:
            self._gates.popitem(last=False)
        if not gate.take() or not self._gate.take():
            return False
        connection.publish(topic, payload, expiry_s=COMMAND_EXPIRY_S)
        return True

    # --- the connection -----------------------------------------------------------------------

    def _new_connection(self, signals: SimpleQueue[Signal]) -> BrokerConnection:
        self._owed.clear()
        return BrokerConnection(
            self._broker,
            client_id=self._settings.client_id,
            will=None,
            signals=signals,
            wake=lambda: None,
            accept=self._has_room,
            connect_options=ConnectOptions(
                expiry_s=self._settings.session_expiry_s,
                receive_maximum=self._settings.receive_maximum,
                packet_limit_bytes=self._settings.packet_limit_bytes,
                manual_acknowledgement=True,
                hear_retained=True,
            ),
        )

    def _has_room(self, _size_bytes: int) -> bool:
        room = self._loop.unheard < self._settings.unread
        self.unread_dropped += not room
        return room

    def _heard(self, signal: Signal) -> HeardMessage | LinkChange | None:
        if isinstance(signal, Heard):
            return self._message(signal)
        if isinstance(signal, Connected):
            self._session_present = signal.session_present
            connection = self._loop.connection
            if connection is not None and self._settings.empties_session:
                connection.listen_no_more([self._settings.topic])
            elif connection is not None:
                connection.listen([self._settings.topic])
        elif isinstance(signal, Listening):
            return self._listening(signal)
        elif isinstance(signal, Lost):
            return self._lost(signal)
        elif isinstance(signal, PublishAcknowledged):
            self._answered(signal)
        return None

    def _answered(self, answer: PublishAcknowledged) -> None:
        taken = self._owed.pop(answer.mid, None)
        if answer.reason_code >= FAILURE:
            LOG.warning("the broker refuses what we say: 0x%02x", answer.reason_code)
        elif taken is not None:
            taken()

    def _message(self, heard: Heard) -> HeardMessage:
        arrival = Arrival(
            topic=heard.topic,
            payload=heard.payload,
            retained=heard.retained,
            at_ms=self._clock_ms(),
            expires=heard.expires,
        )
        return HeardMessage(arrival=arrival, mid=heard.mid, connection=self._loop.attempts)

    def _listening(self, answer: Listening) -> LinkChange:
        if answer.refused:
            reason = f"the broker does not let us listen: {answer.refused}"
            return self._lost(self._loop.give_up(reason))
        self._loop.stands()
        self.up = True
        return LinkChange(
            up=True, at_ms=self._clock_ms(), session_present=self._session_present
        )  # fmt: skip

    def _lost(self, lost: Lost) -> LinkChange:
        self.up = False
        return LinkChange(up=False, at_ms=self._clock_ms(), reason=lost.reason)
