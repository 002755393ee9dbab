"""Subscribers for tests: the real one, with a picture behind it."""

from __future__ import annotations

import random
import time

from runtime.mqtt.settings import BrokerSettings
from runtime.site.live_model.replay_policy import ReplayPolicy
from runtime.site.live_model.site_state import SiteState
from runtime.site.subscriber.arrival import LinkChange
from runtime.site.subscriber.subscriber import HeardMessage, Subscriber, SubscriberSettings
from runtime.timing.replay_schedule import ReplaySchedule
from tests.support.unit_under_test import now_ms
from tests.support.waiting import LONG_S, did_not_come


def subscriber(port, *, client_id="site", connect_timeout_s=5.0, **settings) -> Subscriber:
    """A subscriber of the test site on a loopback port."""
    broker = BrokerSettings(
        host="127.0.0.1",
        port=port,
        tls=False,
        backoff_first_s=0.05,
        backoff_longest_s=0.2,
        connect_timeout_s=connect_timeout_s,
    )
    return Subscriber(
        broker,
        SubscriberSettings(site="st-anna", client_id=client_id, **settings),
        clock_ms=now_ms,
        monotonic=time.monotonic,
        randomness=random.Random(3),
    )


class Listener:
    """A subscriber whose messages end in a picture, acknowledged once they are there."""

    def __init__(self, port, *, follow_gaps=False, patience_ms=200, **settings) -> None:
        self.subscriber = subscriber(port, **settings)
        self.picture = SiteState("st-anna")
        self.changes = []
        self._follow_gaps = follow_gaps
        self._desk = ReplayPolicy(
            ReplaySchedule(after_ms=patience_ms, tail_after_ms=patience_ms, pause_ms=1000)
        )

    def turn(self, timeout_s=0.05):
        """One message, if there is one."""
        heard = self.subscriber.receive(timeout_s)
        if isinstance(heard, LinkChange):
            self.changes += self.picture.link_changed(heard)
        elif isinstance(heard, HeardMessage):
            self.changes += self.picture.hear(heard.arrival)
            self.subscriber.acknowledge(heard)
        if self._follow_gaps:
            self._ask()
        return heard

    def _ask(self) -> None:
        for ask in self._desk.due(self.picture, now_ms()):
            if self.subscriber.ask_replay(ask.unit, ask.from_seq):
                self._desk.asked(ask, self.picture.units[ask.unit].generation, now_ms())

    def until(self, condition, what, timeout_s=LONG_S):
        """Listens until the condition holds."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, (
                f"{did_not_come(what, timeout_s)}; the last changes: {self.changes[-10:]}"
            )
            self.turn()

    def until_up(self):
        """Listens until the broker lets us."""
        self.until(lambda: self.picture.connected, "connected")
        return self

    @property
    def unit(self):
        """The one unit's picture."""
        return self.picture.units["mammo-1"]

    def rows(self) -> list[tuple]:
        """What the unit said, as its outbox has it."""
        return [tuple(row) for row in self.unit.rows()] if self.picture.units else []


def outbox_rows(ledger) -> list[tuple]:
    """The ledger's own rows, to compare with."""
    return ledger.transact(
        lambda tx: tx._connection.execute(
            "SELECT seq, kind, topic, payload FROM outbox ORDER BY seq"
        ).fetchall()
    )
