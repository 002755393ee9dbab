"""`mammoedge site`: wiring and lifecycle of the site's service."""

from __future__ import annotations

import logging
import random
import secrets
import socket
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from runtime.site.alarms.alarm_evaluator import AlarmEvaluator, WatchRules
from runtime.site.alarms.alarm_rules import AlarmLimits
from runtime.site.alarms.notifier import Notifier
from runtime.site.alarms.urgent_rules import UrgentLimits
from runtime.site.control_charts.expected_rates import expected_rates
from runtime.site.ingest.listener import Listener
from runtime.site.ingest.session_takeover import SessionTakeover
from runtime.site.queries.fleet import Fleet
from runtime.site.queries.fleet_summary import RateBounds
from runtime.site.service.http_app import SummaryKeeper, site_app
from runtime.site.service.metrics_server import MetricsServer
from runtime.site.store.group_members import Membership
from runtime.site.store.service_state import ServiceState, StateBoard
from runtime.site.store.site_clock import HOUR_MS
from runtime.site.store.store import Store, StoreError, StoreFault
from runtime.site.subscriber.subscriber import Subscriber, SubscriberSettings
from runtime.timing.backoff import Backoff
from runtime.timing.replay_schedule import ReplaySchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.site.config.settings import SiteSettings

    Errands = SimpleQueue[Callable[[Subscriber], None]]

LOG = logging.getLogger(__name__)

STOP_S = 10.0
FIRST_OPENING_S = 60.0


class Attendant(Protocol):
    """Something that lives beside the service and reads the same database: a page."""

    def start(self) -> None:
        """Begins; returns when it runs."""
        ...

    def poke(self) -> None:
        """Something was committed. Returns at once."""
        ...

    def stop(self) -> None:
        """Ends."""
        ...


def clock_ms() -> int:
    """The wall clock: ms since the epoch, UTC."""
    return time.time_ns() // 1_000_000


class SiteService:
    """The service of one site.

    Args:
        settings: checked settings.
        attendants: makes what is served beside it, from the open store and the fleet's reader.

    Raises:
        PackagesError: a package of the settings cannot be read.
        OSError: the database's password cannot be read.
    """

    def __init__(
        self,
        settings: SiteSettings,
        *,
        attendants: Callable[[Store, Fleet], Sequence[Attendant]] = lambda _store, _fleet: (),
    ) -> None:
        self._settings = settings
        self._rules = watch_rules(settings)
        self._make_attendants = attendants
        self._stop = threading.Event()
        started_ms = clock_ms()
        self.board = StateBoard(
            ServiceState(
                service=settings.site.service,
                started_ms=started_ms,
                site=settings.site.name,
                group=settings.listen.group,
            )
        )
        self._store = settings.store.make_store()
        watch = settings.watch
        self._fleet = Fleet(
            self._store,
            silent_after_s=watch.silent_after_s,
            bounds=RateBounds(priority=watch.most_priority, not_assessed=watch.most_not_assessed),
        )
        self._keeper = SummaryKeeper(self._fleet, clock_ms=clock_ms, monotonic=time.monotonic)
        self.metrics = MetricsServer(
            settings.metrics,
            site_app(
                board=self.board,
                keeper=self._keeper,
                names={settings.metrics.host, socket.gethostname(), *settings.metrics.names},
            ),
        )

    def stop(self) -> None:
        """Ends `run` in order. Any thread, and signal handlers."""
        self._stop.set()

    def run(self) -> None:
        """Until `stop`: what was committed by then is acknowledged, nothing else is.

        Raises:
            StoreError: the database refuses us at the start.
            OSError: the metrics' address is taken.
        """
        if self._settings.metrics.enabled:
            self.metrics.start()
        try:
            self._open_store()
            if not self._stop.is_set():
                self._serve()
        finally:
            self.metrics.stop()
            self._store.close()

    def _open_store(self) -> None:
        """Waits for a database that is away; one that refuses us is a fault of the settings."""
        backoff = self._backoff(longest_s=5.0)
        while not self._stop.is_set():
            try:
                self._store.open()
            except StoreError as error:
                if error.fault is StoreFault.REFUSED:
                    raise
                LOG.error("%s; tries again", error)  # noqa: TRY400 - expected, no trace
                self.board.say(database_fault=error.fault.value, database_problem=error.detail)
                self._stop.wait(backoff.next_s())
            else:
                self.board.say(database_fault="", database_problem="")
                return

    def _serve(self) -> None:
        attendants = self._make_attendants(self._store, self._fleet)
        errands: Errands = SimpleQueue()
        subscriber = self._subscriber(self._settings.site.service)
        notifier = self._notifier(errands)
        watch = self._alarm_evaluator(errands, told=notifier.wake)

        def committed() -> None:
            for attendant in attendants:
                attendant.poke()

        listener = self._listener(
            subscriber, errands, committed, board=self.board, link_up=notifier.link_up
        )
        for attendant in attendants:
            attendant.start()
        loops = {"listener": listener.run, "watch": watch.run, "notifier": notifier.run}
        if self._rules.membership is not None:
            loops["takeover"] = self._takeover(self._rules.membership, committed).run
        threads = [
            threading.Thread(target=self._guarded, args=(loop,), name=name)
            for name, loop in loops.items()
        ]
        for thread in threads:
            thread.start()
        site = self._settings.site
        LOG.info("site %s: service %s runs", site.name, site.service)
        self._stop.wait()
        for attendant in attendants:
            attendant.stop()
        for thread in threads:
            thread.join(STOP_S)
            if thread.is_alive():
                LOG.warning("%s has not ended within %d s", thread.name, STOP_S)
        subscriber.close()

    def _subscriber(self, service: str, *, empties_session: bool = False) -> Subscriber:
        site, listen = self._settings.site, self._settings.listen
        return Subscriber(
            self._settings.broker,
            SubscriberSettings(
                site=site.name,
                client_id=f"mammoedge-{site.name}-_site-{service}",
                session_expiry_s=int(listen.session_hours * 3600),
                group=listen.group,
                receive_maximum=listen.batch,
                empties_session=empties_session,
            ),
            clock_ms=clock_ms,
            monotonic=time.monotonic,
            randomness=random.SystemRandom(),
        )

    def _notifier(self, errands: Errands) -> Notifier:
        return Notifier(
            site=self._settings.site.name,
            boot_id=secrets.token_hex(8),
            store=self._store,
            board=self.board,
            webhook=self._settings.webhook,
            backoff=self._backoff(longest_s=60.0),
            errands=errands,
            monotonic=time.monotonic,
        )

    def _alarm_evaluator(self, errands: Errands, *, told: Callable[[], None]) -> AlarmEvaluator:
        return AlarmEvaluator(
            rules=self._rules,
            store=self._store,
            fleet=self._fleet,
            board=self.board,
            errands=errands,
            clock_ms=clock_ms,
            told=told,
        )

    def _listener(
        self,
        subscriber: Subscriber,
        errands: Errands,
        committed: Callable[[], None],
        *,
        board: StateBoard,
        link_up: Callable[[], None],
    ) -> Listener:
        we = self._rules.membership
        return Listener(
            site=self._settings.site.name,
            subscriber=subscriber,
            store=self._store,
            board=board,
            backoff=self._backoff(longest_s=5.0),
            batch=self._settings.listen.batch,
            errands=errands,
            clock_ms=clock_ms,
            monotonic=time.monotonic,
            committed=committed,
            link_up=link_up,
            stands_aside_after_ms=None if we is None else we.gone_after_ms // 2,
        )

    def _takeover(self, we: Membership, committed: Callable[[], None]) -> SessionTakeover:
        def open_session(service: str) -> tuple[Subscriber, Listener]:
            subscriber = self._subscriber(service, empties_session=True)
            board = StateBoard(ServiceState(service=service, started_ms=clock_ms()))
            errands: Errands = SimpleQueue()
            listener = self._listener(
                subscriber, errands, committed, board=board, link_up=lambda: None
            )
            return subscriber, listener

        return SessionTakeover(
            we=we,
            store=self._store,
            board=self.board,
            look_every_s=self._settings.watch.look_every_s,
            open_session=open_session,
            clock_ms=clock_ms,
        )

    def _guarded(self, loop: Callable[[threading.Event], None]) -> None:
        """A loop that ends by a defect ends the service: no page without news."""
        try:
            loop(self._stop)
        finally:
            self._stop.set()

    @staticmethod
    def _backoff(*, longest_s: float) -> Backoff:
        return Backoff(first_s=0.2, longest_s=longest_s, randomness=random.SystemRandom())


def watch_rules(settings: SiteSettings) -> WatchRules:
    """What the watch is told. Raises PackagesError: a package of the settings cannot be read."""
    watch = settings.watch
    return WatchRules(
        site=settings.site.name,
        service=settings.site.service,
        look_every_s=watch.look_every_s,
        limits=AlarmLimits(
            clock_offset_s=watch.clock_offset_s, foreign_per_hour=watch.foreign_per_hour
        ),
        urgent=UrgentLimits(
            critical_after_ms=int(watch.critical_after_s * 1000),
            session_ms=int(settings.listen.session_hours * HOUR_MS),
        ),
        replays=ReplaySchedule(
            after_ms=int(watch.replay_after_s * 1000),
            pause_ms=int(watch.replay_pause_s * 1000),
            requests=watch.replays,
        ),
        keep_days=settings.store.keep_days,
        expected=expected_rates(watch.packages),
        membership=_membership(settings),
    )


def _membership(settings: SiteSettings) -> Membership | None:
    """With whom the load is shared. Longer than two heartbeats: who is only slow is not gone."""
    listen, watch = settings.listen, settings.watch
    if listen.group is None:
        return None
    return Membership(
        site=settings.site.name,
        group=listen.group,
        service=settings.site.service,
        gone_after_ms=int(1000 * max(listen.takeover_after_s, 3 * watch.look_every_s)),
    )
