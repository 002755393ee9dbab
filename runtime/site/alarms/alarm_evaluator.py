"""Looks at the store every few seconds: judges, asks for replay, keeps the alarms.

Of several services on one database one holds the watch (a lease); the others take it over when it
goes. One thread.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from runtime.site.alarms.alarm_reconciliation import reconcile
from runtime.site.alarms.alarm_rules import AlarmLimits, findings
from runtime.site.alarms.replay_requests import rebirths_due, replays_due
from runtime.site.alarms.urgent_rules import UrgentLimits, urgent_findings
from runtime.site.control_charts.chart_rules import RULES
from runtime.site.control_charts.charting import chart_exams
from runtime.site.control_charts.control_chart import ControlChart
from runtime.site.control_charts.drift_watch import DriftWatch
from runtime.site.store.group_members import Membership, gone_members, leaves
from runtime.site.store.retention import forget_before
from runtime.site.store.site_clock import DAY_MS, HOUR_MS
from runtime.site.store.store import StoreError
from runtime.site.store.tables import FOREIGN, LEASES, NOTES, SERVICES
from runtime.site.store.upsert import upsert
from runtime.timing.replay_schedule import ReplaySchedule

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from queue import SimpleQueue

    from sqlalchemy import Connection

    from runtime.site.control_charts.drift_verdict import DriftVerdict
    from runtime.site.queries.fleet import Fleet
    from runtime.site.store.service_state import StateBoard
    from runtime.site.store.store import Store
    from runtime.site.subscriber.subscriber import Subscriber

LOG = logging.getLogger(__name__)

LEASE = "watch"
LEASE_MS = 30_000
DRIFT_EVERY_MS = 60_000
RETENTION_EVERY_MS = 10 * 60_000
CHARTS_AT_ONE_LOOK = 10
LONGEST_TAKEOVER_MS = 15 * 60_000
"""So long no replay is asked for, and nothing given up, because a member of the group is gone."""
FOREIGN_NOTE = "foreign_an_hour_ago"


@dataclass(frozen=True, kw_only=True)
class WatchRules:
    """What the settings say about it."""

    site: str
    service: str
    look_every_s: float
    limits: AlarmLimits
    urgent: UrgentLimits
    replays: ReplaySchedule
    keep_days: int
    expected: Mapping[tuple[str, str, str], float]
    """Priority rate by (model, version, operating point)."""
    membership: Membership | None = None
    """With whom the load is shared; None: with nobody."""


class AlarmEvaluator:
    """The loop. `told`: called after each look, so that alarms go out."""

    def __init__(
        self,
        *,
        rules: WatchRules,
        store: Store,
        fleet: Fleet,
        board: StateBoard,
        errands: SimpleQueue[Callable[[Subscriber], None]],
        clock_ms: Callable[[], int],
        told: Callable[[], None],
    ) -> None:
        self._rules = rules
        self._store = store
        self._fleet = fleet
        self._board = board
        self._errands = errands
        self._clock_ms = clock_ms
        self._told = told
        self._charts = {measure: ControlChart(own) for measure, own in RULES.items()}
        self._drift_watch = DriftWatch(store)
        self._drifts_ms = 0
        self._drifts: dict[int, tuple[DriftVerdict, int]] = {}
        self._retention_ms = 0

    def run(self, stop: threading.Event) -> None:
        """Until told to stop. The listener tells of a database that fails; this waits for it."""
        problem = ""
        while not stop.wait(self._rules.look_every_s):
            try:
                self.look()
            except StoreError as error:
                if str(error) != problem:
                    LOG.warning("the watch could not look: %s", error)
                problem = str(error)
            else:
                problem = ""
        self._let_go()

    def look(self) -> None:
        """One round: heartbeat, charts, replays, findings, alarms, retention."""
        now_ms = self._clock_ms()
        with self._store.writing() as connection:
            self._beat(connection, now_ms)
            mine = self._hold_lease(connection, now_ms)
        self._board.say(watching=mine)
        if mine:
            self._chart(now_ms)
            self._judge(now_ms)
            self._keep_house(now_ms)
        self._told()

    def _beat(self, connection: Connection, now_ms: int) -> None:
        state = self._board.now()
        row = {
            "service": state.service,
            "started_ms": state.started_ms,
            "seen_ms": now_ms,
            "said": json.dumps(self._board.as_dict()),
        }
        beat = upsert(connection, SERVICES, replace=("started_ms", "seen_ms", "said"))
        connection.execute(beat, [row])

    def _hold_lease(self, connection: Connection, now_ms: int) -> bool:
        me = self._rules.service
        row = {"name": LEASE, "holder": me, "until_ms": 0}
        connection.execute(upsert(connection, LEASES), [row])
        taken = connection.execute(
            update(LEASES)
            .where(LEASES.c.name == LEASE, (LEASES.c.holder == me) | (LEASES.c.until_ms < now_ms))
            .values(holder=me, until_ms=now_ms + LEASE_MS)
        )
        return taken.rowcount == 1

    def _let_go(self) -> None:
        try:
            with self._store.writing() as connection:
                connection.execute(delete(LEASES).where(LEASES.c.holder == self._rules.service))
                if self._rules.membership is None:
                    connection.execute(
                        delete(SERVICES).where(SERVICES.c.service == self._rules.service)
                    )
                else:
                    leaves(connection, self._rules.service)
        except StoreError as error:
            LOG.warning("the watch could not be handed over: %s", error)

    def _chart(self, now_ms: int) -> None:
        """Short transactions: the listener must not wait for a backlog of exams."""
        for _ in range(CHARTS_AT_ONE_LOOK):
            if not chart_exams(self._store, self._charts, self._rules.expected, now_ms=now_ms):
                return

    def _judge(self, now_ms: int) -> None:
        rules = self._rules
        summary = self._fleet.summary(now_ms)
        if now_ms - self._drifts_ms >= DRIFT_EVERY_MS:
            self._drifts_ms = now_ms
            self._drifts = self._drift_watch.verdicts(now_ms)
        with self._store.writing() as connection:
            found = findings(
                summary,
                limits=rules.limits,
                drifts=self._drifts,
                expected=rules.expected,
                foreign_last_hour=self._foreign_last_hour(connection, now_ms),
            ) + urgent_findings(summary, rules.urgent)
            opened, closed = reconcile(connection, rules.site, found, now_ms=now_ms)
            replays = (
                []
                if self._takeover_is_due(connection, now_ms)
                else replays_due(connection, rules.site, rules.replays, now_ms)
            )
            rebirths = rebirths_due(connection, rules.site, now_ms)
        if opened or closed:
            LOG.info("alarms: opened=%d closed=%d open=%d", opened, closed, len(found))
        for wanted in replays:
            LOG.info("asks for replay: unit=%s from_seq=%d", wanted.unit, wanted.from_seq)
            self._errands.put(_replay(wanted.unit, wanted.from_seq))
        for unborn in rebirths:
            self._errands.put(_rebirth(unborn.unit))

    def _takeover_is_due(self, connection: Connection, now_ms: int) -> bool:
        """Half of what is missing, and of each replay, may wait for one that is gone."""
        we = self._rules.membership
        return we is not None and any(
            now_ms - member.seen_ms < LONGEST_TAKEOVER_MS
            for member in gone_members(connection, we, now_ms)
        )

    @staticmethod
    def _foreign_last_hour(connection: Connection, now_ms: int) -> int:
        """Foreign messages since the count was last put down, at most an hour ago."""
        total = int(connection.scalar(select(func.sum(FOREIGN.c.messages))) or 0)
        note = connection.scalar(select(NOTES.c.value).where(NOTES.c.name == FOREIGN_NOTE))
        before, at_ms = map(int, note.split()) if note else (0, 0)
        if now_ms - at_ms >= HOUR_MS:
            row = {"name": FOREIGN_NOTE, "value": f"{total if note else 0} {now_ms}"}
            connection.execute(upsert(connection, NOTES, replace=("value",)), [row])
        return max(0, total - before)

    def _keep_house(self, now_ms: int) -> None:
        if now_ms - self._retention_ms < RETENTION_EVERY_MS:
            return
        self._retention_ms = now_ms
        forgotten = forget_before(self._store, now_ms - self._rules.keep_days * DAY_MS)
        if forgotten:
            LOG.info("retention: rows=%d", forgotten)


def _replay(unit: str, from_seq: int) -> Callable[[Subscriber], None]:
    def ask(subscriber: Subscriber) -> None:
        subscriber.ask_replay(unit, from_seq)

    return ask


def _rebirth(unit: str) -> Callable[[Subscriber], None]:
    def ask(subscriber: Subscriber) -> None:
        subscriber.ask_rebirth(unit)

    return ask
