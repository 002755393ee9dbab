"""`mammoedge site`: wiring and lifecycle of the site's service."""

from __future__ import annotations

import json
import logging
import os
import random
import secrets
import signal
import threading
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from runtime.backoff import Backoff
from runtime.settings import SettingsError
from runtime.site.app import GlanceKeeper, site_app
from runtime.site.finding import WatchLimits
from runtime.site.fleet import Fleet
from runtime.site.herald import Herald
from runtime.site.listener import Listener
from runtime.site.lookout import Lookout, WatchRules
from runtime.site.metrics_server import MetricsServer
from runtime.site.replays import ReplayRules
from runtime.site.service_state import ServiceState, StateBoard
from runtime.site.settings import SiteSettings, load_site_settings
from runtime.site.store import Store, StoreError, StoreFault, database_url
from runtime.site.subscriber import Subscriber, SubscriberSettings

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence
    from pathlib import Path

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


def open_store(settings: SiteSettings) -> Store:
    """The store of the settings, not opened yet. Raises OSError: the password cannot be read."""
    section = settings.store
    url = database_url(section.database)
    if section.password_file is not None:
        url = url.set(password=section.password_file.read_text(encoding="utf-8").strip())
    return Store(url, patience_s=section.patience_s)


def expected_rates(packages: Sequence[Path]) -> dict[tuple[str, str, str], float]:
    """Priority rates that packages were measured to give, by (model, version, operating point).

    In screening nearly all women are well: the rate is about what the specificity leaves.

    Raises:
        PackageRefusedError: a package cannot be read.
    """
    from models.package import load_package

    found = {}
    for folder in packages:
        manifest = load_package(folder, trusted_keys=(), allow_unsigned=True).manifest
        for point in manifest.operating_points:
            if point.specificity is not None:
                key = (manifest.name, manifest.version, point.name)
                found[key] = 1.0 - point.specificity
    return found


class SiteService:
    """The service of one site.

    Args:
        settings: checked settings.
        attendants: makes what is served beside it, from the open store and the fleet's reader.
    """

    def __init__(
        self,
        settings: SiteSettings,
        *,
        attendants: Callable[[Store, Fleet], Sequence[Attendant]] = lambda _store, _fleet: (),
    ) -> None:
        self._settings = settings
        self._make_attendants = attendants
        self._stop = threading.Event()
        started_ms = clock_ms()
        self.board = StateBoard(ServiceState(service=settings.site.service, started_ms=started_ms))
        self._store = open_store(settings)
        self._fleet = Fleet(self._store, silent_after_s=settings.watch.silent_after_s)
        self._keeper = GlanceKeeper(self._fleet, clock_ms=clock_ms, monotonic=time.monotonic)
        self.metrics = MetricsServer(
            settings.metrics, site_app(board=self.board, keeper=self._keeper)
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
        settings = self._settings
        attendants = self._make_attendants(self._store, self._fleet)
        errands: SimpleQueue[Callable[[Subscriber], None]] = SimpleQueue()
        subscriber = Subscriber(
            settings.broker,
            SubscriberSettings(
                site=settings.site.name,
                client_id=f"mammoedge-{settings.site.name}-_site-{settings.site.service}",
                session_expiry_s=int(settings.listen.session_hours * 3600),
                group=settings.listen.group,
                receive_maximum=settings.listen.batch,
            ),
            clock_ms=clock_ms,
            monotonic=time.monotonic,
            randomness=random.SystemRandom(),
        )
        herald = Herald(
            site=settings.site.name,
            boot_id=secrets.token_hex(8),
            store=self._store,
            board=self.board,
            webhook=settings.webhook,
            backoff=self._backoff(longest_s=60.0),
            errands=errands,
            monotonic=time.monotonic,
        )
        watch = Lookout(
            rules=self._watch_rules(),
            store=self._store,
            fleet=self._fleet,
            board=self.board,
            errands=errands,
            clock_ms=clock_ms,
            told=herald.wake,
        )

        def committed() -> None:
            for attendant in attendants:
                attendant.poke()

        listener = Listener(
            site=settings.site.name,
            subscriber=subscriber,
            store=self._store,
            board=self.board,
            backoff=self._backoff(longest_s=5.0),
            batch=settings.listen.batch,
            errands=errands,
            clock_ms=clock_ms,
            monotonic=time.monotonic,
            committed=committed,
            link_up=herald.link_up,
        )
        for attendant in attendants:
            attendant.start()
        threads = [
            threading.Thread(target=self._guarded, args=(loop.run,), name=name)
            for name, loop in (("listener", listener), ("watch", watch), ("herald", herald))
        ]
        for thread in threads:
            thread.start()
        LOG.info("site %s: service %s runs", settings.site.name, settings.site.service)
        self._stop.wait()
        for attendant in attendants:
            attendant.stop()
        for thread in threads:
            thread.join(STOP_S)
            if thread.is_alive():
                LOG.warning("%s has not ended within %d s", thread.name, STOP_S)
        subscriber.close()

    def _guarded(self, loop: Callable[[threading.Event], None]) -> None:
        """A loop that ends by a defect ends the service: no page without news."""
        try:
            loop(self._stop)
        finally:
            self._stop.set()

    def _watch_rules(self) -> WatchRules:
        settings = self._settings
        return WatchRules(
            site=settings.site.name,
            service=settings.site.service,
            look_every_s=settings.watch.look_every_s,
            limits=WatchLimits(
                clock_offset_s=settings.watch.clock_offset_s,
                foreign_per_hour=settings.watch.foreign_per_hour,
            ),
            replays=ReplayRules(
                after_ms=int(settings.watch.replay_after_s * 1000),
                pause_ms=int(settings.watch.replay_pause_s * 1000),
                requests=settings.watch.replays,
            ),
            keep_days=settings.store.keep_days,
            expected=expected_rates(settings.watch.packages),
        )

    @staticmethod
    def _backoff(*, longest_s: float) -> Backoff:
        return Backoff(first_s=0.2, longest_s=longest_s, randomness=random.SystemRandom())


def site_command(arguments: Namespace) -> int:
    """`mammoedge site --config site.toml`: until SIGTERM or SIGINT; 0 after a clean stop."""
    settings = load_site_settings(arguments.config)
    if arguments.check:
        return check(settings, as_json=arguments.json)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=arguments.log_level, format="%(asctime)sZ %(levelname)s %(name)s: %(message)s"
    )
    os.umask(0o027)
    service = SiteService(settings, attendants=partial(_page, settings, arguments.config))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: service.stop())
    try:
        service.run()
    except StoreError as error:
        raise SettingsError(arguments.config, [f"store.database: {error.detail}"]) from error
    return 0


def _page(settings: SiteSettings, file: Path, store: Store, fleet: Fleet) -> Sequence[Attendant]:
    """The fleet page, where the settings have one."""
    if settings.page is None or not settings.page.enabled:
        return ()
    from runtime.site.page.credentials import CredentialsError
    from runtime.site.page.fleet_page import FleetPage

    try:
        return (FleetPage(settings.page, store=store, fleet=fleet, clock_ms=clock_ms),)
    except CredentialsError as error:
        raise SettingsError(file, [f"page: {error}"]) from error


def check(settings: SiteSettings, *, as_json: bool) -> int:
    """Settings, database, packages, broker and page: a verdict each; 0 if all are well, else 1."""
    from models.errors import PackageRefusedError

    verdicts: list[tuple[str, str]] = [("settings", "")]
    try:
        with open_store(settings):
            verdicts.append(("database", ""))
    except (StoreError, OSError) as error:
        verdicts.append(("database", str(error)))
    try:
        expected_rates(settings.watch.packages)
        verdicts.append(("packages", ""))
    except (PackageRefusedError, OSError) as error:
        verdicts.append(("packages", str(error)))
    verdicts.append(("broker", _broker_problem(settings)))
    if settings.page is not None and settings.page.enabled:
        from runtime.site.page.fleet_page import page_problem

        verdicts.append(("page", page_problem(settings.page)))
    for name, problem in verdicts:
        if as_json:
            print(json.dumps({"check": name, "ok": not problem, "problem": problem}))
        else:
            print(f"{'ok  ' if not problem else 'FAIL'} {name}{': ' if problem else ''}{problem}")
    return int(any(problem for _, problem in verdicts))


def _broker_problem(settings: SiteSettings) -> str:
    """Why the broker does not let us listen; "" if it does."""
    subscriber = Subscriber(
        settings.broker,
        SubscriberSettings(
            site=settings.site.name,
            client_id=f"mammoedge-check-{secrets.token_hex(4)}",
            session_expiry_s=0,
        ),
        clock_ms=clock_ms,
        monotonic=time.monotonic,
        randomness=random.SystemRandom(),
    )
    deadline_s = time.monotonic() + 2 * settings.broker.connect_timeout_s
    problem = "no answer"
    try:
        while time.monotonic() < deadline_s:
            heard = subscriber.receive(0.5)
            if subscriber.up:
                return ""
            reason = getattr(heard, "reason", "")
            if reason:
                return str(reason)
    finally:
        subscriber.close(forget=True)
    return problem
