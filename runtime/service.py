"""Wiring and lifecycle: builds the objects, starts the loops, drains, stops."""

from __future__ import annotations

import logging
import os
import random
import secrets
import select
import signal
import time
import warnings
from contextlib import ExitStack
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from models.package import load_package
from runtime.acknowledgement import AcknowledgementDesk
from runtime.allocator import keep_few_arenas
from runtime.arrival import ActivePackage
from runtime.certificate_end import ends_soon
from runtime.clock_desk import ClockDesk
from runtime.console.box import Box, Link, box_of
from runtime.console.console import Console
from runtime.console.reader import ConsoleReader
from runtime.exam import ExamRules
from runtime.exam_desk import ExamDesk
from runtime.exam_identity import IdentityField, read_exam_identity
from runtime.housekeeping import keep_house
from runtime.latency import LatencyBook
from runtime.ledger import Ledger, LedgerError
from runtime.machinery import Machinery
from runtime.messages import EventKind, HealthFacts, StatusFacts
from runtime.outcome import ModelRef
from runtime.publisher import Publisher
from runtime.reception import Reception, RoomLimits
from runtime.settings import Settings, SettingsError, load_settings
from runtime.site_key import read_site_key
from runtime.sparkplug.edge_node import EdgeNode
from runtime.sparkplug.node import NodeTopics
from runtime.supervisor import WORKER_COMMAND, Supervisor, WorkerLimits
from runtime.unit_clock import UnitClock
from runtime.unit_desk import UnitDesk
from runtime.unit_state import MEGABYTE, degraded_reasons, free_mb, health_facts, status_facts
from runtime.voice import IdentityPolicy, Voice
from runtime.worker_protocol import Start

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from models.package import Package
    from runtime.intake import Intake
    from runtime.outbox import Backlog
    from runtime.outcome import JobOutcome

LOG = logging.getLogger(__name__)

HOUR_S = 3600
DAY_S = 24 * HOUR_S
ROOM_CHECK_S = 5.0
HOUSEKEEPING_S = 600.0
DRAIN_S = 20.0


def intake_types() -> dict[str, type[Intake]]:
    """The intakes that are installed, by name."""
    return {point.name: point.load() for point in entry_points(group="mammoedge.intakes")}


def model_ref(package: Package, *, precision: str, operating_point: str) -> ModelRef:
    """What every result of this package will carry. Raises KeyError: no such operating point."""
    point = package.manifest.operating_point(operating_point)
    return ModelRef(
        name=package.manifest.name,
        version=package.manifest.version,
        package_sha256=package.sha256,
        operating_point=point.name,
        threshold=point.threshold,
        precision=precision,
    )


def kept_identity(settings: Settings) -> frozenset[IdentityField]:
    """What is read of an identity at all: what the console shows, and what the site publishes."""
    published = {IdentityField.ACCESSION_NUMBER}
    if not settings.identity.publish_accession_number:
        published = set()
    return settings.console.shown_identity | published


def open_package(settings: Settings) -> Package:
    """The package that the settings name. Raises PackageRefusedError."""
    return load_package(
        settings.model.package,
        trusted_keys=tuple(bytes.fromhex(key) for key in settings.model.trusted_keys),
        allow_unsigned=settings.model.allow_unsigned,
        store=settings.storage.folder / "packages",
    )


def worker_start(settings: Settings, package: Package, model: ModelRef) -> Start:
    """What the worker is told at its start."""
    return Start(
        package=package.folder,
        model=model,
        devices=settings.model.devices,
        cache_folder=settings.storage.folder / "compiled",
        threads=settings.model.threads,
        max_megapixels=settings.worker.max_megapixels,
        evidence_maps=settings.worker.evidence_maps,
        allow_unsigned=settings.model.allow_unsigned,
        trusted_keys=settings.model.trusted_keys,
        previews=settings.console.enabled and settings.console.previews,
    )


class ThreadLostError(RuntimeError):
    """A loop of the service is gone; the service must not go on half alive."""


class Service:
    """The control process of a unit.

    `reached` is told named points on an image's way ("spooled", "received", "claimed", "judged",
    "recorded", "published", "acknowledged"): tests pull the plug there.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reached: Callable[[str], None] = lambda _point: None,
        worker_command: tuple[str, ...] = WORKER_COMMAND,
    ) -> None:
        self._settings = settings
        self._reached = reached
        self._worker_command = worker_command
        # A pipe, not an Event: `stop` is called in a signal handler, and an Event's lock may be
        # held by the very code that the signal interrupts.
        self._stopped, self._stop_end = os.pipe()
        self._latency = LatencyBook()
        self._started_at = time.monotonic()
        self._disk_low = False
        self._broker_away_since_ms: int | None = None
        self._boot_id = secrets.token_hex(8)
        self._clock = UnitClock()
        self._closing = ExitStack()
        self._listening: list[Intake] = []
        self._parts = self._build()

    # --- wiring ----------------------------------------------------------------------------------

    def _build(self) -> Machinery:
        settings, clock_ms = self._settings, self._clock.now_ms
        package = open_package(settings)
        package.precision(settings.model.precision)
        try:
            model = model_ref(
                package,
                precision=settings.model.precision,
                operating_point=settings.model.operating_point,
            )
        except KeyError as error:
            fault = f"model.operating_point: {error.args[0]}"
            raise SettingsError(settings.file, [fault]) from error
        settings.storage.folder.mkdir(parents=True, exist_ok=True)
        ledger = self._closing.enter_context(Ledger(settings.storage.folder / "ledger.db"))
        voice = Voice(
            site=settings.unit.site,
            unit=settings.unit.unit,
            boot_id=self._boot_id,
            ledger_id=ledger.ledger_id,
            site_key=read_site_key(settings.identity.site_key_file),
            identity=IdentityPolicy(
                accession_number=settings.identity.publish_accession_number,
                study_instance_uid=settings.identity.publish_study_instance_uid,
            ),
            exam_expiry_s=int(settings.expiry.exam_hours * HOUR_S),
            event_expiry_s=int(settings.expiry.event_days * DAY_S),
        )
        desk = ExamDesk(
            ledger=ledger,
            voice=voice,
            rules=ExamRules(
                expected_views=settings.exam.expected_views,
                idle_timeout_ms=int(settings.exam.idle_timeout_s * 1000),
                exam_rule=package.manifest.exam_rule,
                max_images=settings.exam.max_images,
            ),
            active=ActivePackage(manifest=package.manifest, model=model),
            clock_ms=clock_ms,
        )

        def event(kind: EventKind, detail: str) -> None:
            now_ms = clock_ms()
            ledger.add_event(voice.event(kind, at_ms=now_ms, detail=detail), now_ms)

        supervisor = Supervisor(
            start=worker_start(settings, package, model),
            limits=WorkerLimits(
                start_timeout_s=settings.worker.start_timeout_s,
                job_timeout_s=settings.worker.job_timeout_s,
                longest_wait_s=settings.worker.longest_wait_s,
            ),
            ledger=ledger,
            desk=desk,
            report=event,
            judged=self._judged,
            changed=self._announce,
            randomness=random.Random(),  # noqa: S311 - spreads retries, guards nothing
            reached=self._reached,
            clock_ms=clock_ms,
            worker_command=self._worker_command,
        )
        reception = Reception(
            folder=settings.storage.folder,
            limits=RoomLimits(
                reserve_bytes=settings.storage.reserve_mb * MEGABYTE,
                max_waiting_images=settings.storage.max_waiting_images,
                max_object_bytes=settings.storage.max_object_mb * MEGABYTE,
            ),
            desk=desk,
            unit_desk=UnitDesk(
                ledger=ledger, voice=voice, status_provider=self._status, clock_ms=clock_ms
            ),
            waiting_images=lambda: ledger.transact(lambda tx: tx.jobs_open()),
            arrived=supervisor.wake,
            anticipate=supervisor.anticipate,
            event=event,
            reached=self._reached,
            identify=partial(read_exam_identity, shown=kept_identity(settings)),
        )
        publisher = Publisher(
            ledger=ledger,
            voice=voice,
            settings=settings.broker,
            clock_ms=clock_ms,
            randomness=random.Random(),  # noqa: S311 - spreads reconnects, guards nothing
            status_provider=self._status,
            health_provider=self._health,
            reached=self._reached,
        )
        acknowledgement = AcknowledgementDesk(
            ledger=ledger,
            voice=voice,
            overdue_after_ms=int(settings.console.unacknowledged_after_s * 1000),
            clock_ms=clock_ms,
        )
        return Machinery(
            ledger=ledger,
            desk=desk,
            supervisor=supervisor,
            reception=reception,
            publisher=publisher,
            intakes=tuple(plan.intake_type(plan.settings) for plan in settings.intakes),
            package=package,
            model=model,
            reference=package.score_histogram(),
            acknowledgement=acknowledgement,
            console=self._console(ledger, acknowledgement) if settings.console.enabled else None,
            clock_desk=ClockDesk(clock=self._clock, ledger=ledger, voice=voice),
            edge_node=self._edge_node(ledger) if settings.sparkplug.enabled else None,
        )

    def _edge_node(self, ledger: Ledger) -> EdgeNode:
        unit = self._settings.unit
        group = self._settings.sparkplug.group or unit.site
        return EdgeNode(
            topics=NodeTopics(group=group, node=unit.unit),
            client_id=f"mammoedge-sparkplug-{unit.site}-{unit.unit}",
            ledger=ledger,
            broker=self._settings.broker,
            status_provider=self._status,
            clock_ms=self._clock.now_ms,
            monotonic=time.monotonic,
            randomness=random.Random(),  # noqa: S311 - spreads reconnects, guards nothing
        )

    def _console(self, ledger: Ledger, acknowledgement: AcknowledgementDesk) -> Console:
        settings, clock_ms = self._settings, self._clock.now_ms
        console = Console(
            settings.console,
            reader=ConsoleReader(
                ledger=ledger,
                box=self._box,
                clock_ms=clock_ms,
                expected_views=settings.exam.expected_views,
                unacknowledged_after_s=settings.console.unacknowledged_after_s,
            ),
            desk=acknowledgement,
            clock_ms=clock_ms,
        )
        ledger.on_commit(console.poke)
        return console

    # --- what the publisher says of us -----------------------------------------------------------

    def _status(self, backlog: Backlog | None = None) -> StatusFacts:
        parts = self._parts
        reasons = degraded_reasons(
            parts,
            backlog or parts.ledger.backlog(),
            disk_low=self._disk_low,
            certificate_ends_soon=ends_soon(self._settings.broker, self._clock.now_ms()),
        )
        return status_facts(parts, reasons, self._settings.model.devices)

    def _health(self) -> HealthFacts:
        return health_facts(self._parts, self._latency, time.monotonic() - self._started_at)

    def _box(self, backlog: Backlog) -> Box:
        """What the console says of us; called by one thread."""
        parts, now_ms = self._parts, self._clock.now_ms()
        connected = parts.publisher.connected
        self._broker_away_since_ms = None if connected else self._broker_away_since_ms or now_ms
        return box_of(
            self._status(backlog),
            link=Link(connected=connected, away_since_ms=self._broker_away_since_ms),
            backlog=backlog,
            disk_free_mb=free_mb(parts),
            worker_restarts=max(0, parts.supervisor.state.starts - 1),
            now_ms=now_ms,
        )

    def _announce(self) -> None:
        self._parts.publisher.announce()
        if self._parts.console is not None:
            self._parts.console.poke()

    def _judged(self, outcome: JobOutcome) -> None:
        self._latency.add(outcome.stage_ms)

    @property
    def worker_pid(self) -> int | None:
        """The pixel worker's process; None while there is none."""
        return self._parts.supervisor.state.pid

    # --- lifecycle -------------------------------------------------------------------------------

    def run(self) -> None:
        """Runs until `stop`. Raises OSError if an intake's address is taken."""
        parts = self._parts
        with self._closing:  # the ledger closes last
            swept = parts.reception.sweep(
                parts.ledger.transact(lambda tx: tx.spooled_paths()),
                ledger_is_new=parts.ledger.last_seq() == 0,
            )
            parts.clock_desk.open()
            open_jobs = parts.desk.adopt_open_work()
            LOG.info("ledger open: jobs=%d unanswered_files=%d", open_jobs, swept)
            try:
                self._start()
                self._loop()
            finally:
                self._shut_down()

    def stop(self) -> None:
        """Asks `run` to drain and return; safe in a signal handler."""
        os.write(self._stop_end, b"x")

    def _start(self) -> None:
        parts = self._parts
        now_ms = self._clock.now_ms()
        self._check_room()
        parts.supervisor.start()
        if parts.console is not None:
            parts.console.start()  # before images can come: she sees the first of them
        for intake in parts.intakes:
            intake.start(parts.reception)
            self._listening.append(intake)
            LOG.info("listening: %s", intake.address)
        parts.publisher.start()
        if parts.edge_node is not None:
            parts.edge_node.start()
        LOG.info(
            "service started: site=%s unit=%s model=%s at_ms=%d",
            self._settings.unit.site,
            self._settings.unit.unit,
            parts.package.manifest.label,
            now_ms,
        )

    def _loop(self) -> None:
        """What time alone makes happen: exams time out, the disk fills, records grow old."""
        parts = self._parts
        next_housekeeping = time.monotonic()
        while True:
            self._look_after_threads()
            pause_s = min(ROOM_CHECK_S, self._settings.exam.idle_timeout_s)
            try:
                if parts.clock_desk.look():
                    parts.publisher.announce()
                self._check_room()
                parts.desk.time_out_idle()
                self._attend_console()
                if time.monotonic() >= next_housekeeping and not parts.clock_desk.unsettled:
                    keep_house(parts, self._settings, self._clock.now_ms())
                    next_housekeeping = time.monotonic() + HOUSEKEEPING_S
                timeout_ms = parts.desk.next_timeout_ms()
            except (LedgerError, OSError) as error:
                # A full disk, a spool that is gone: tried again at the next turn.
                LOG.error("%s", error)  # noqa: TRY400 - no defect of ours
                timeout_ms = None
            if timeout_ms is not None:
                left_ms = timeout_ms - self._clock.now_ms()
                pause_s = min(pause_s, max(0.0, left_ms / 1000) + 0.005)
            if select.select([self._stopped], [], [], pause_s)[0]:
                return

    def _look_after_threads(self) -> None:
        """A loop that ended by itself is a defect of ours: end, and be started anew, whole."""
        parts = self._parts
        threads = {"publisher": parts.publisher.alive, "supervisor": parts.supervisor.alive}
        if parts.edge_node is not None:
            threads["sparkplug"] = parts.edge_node.alive
        threads |= {intake.address: intake.alive for intake in self._listening}
        lost = [name for name, alive in threads.items() if not alive]
        if lost:
            raise ThreadLostError(f"ended by itself: {', '.join(lost)}")

    def _attend_console(self) -> None:
        console = self._parts.console
        if console is None:
            return
        self._parts.acknowledgement.report_overdue()
        if not console.alive:
            # A defect of ours, but flags do not depend on the page: it alone is started anew.
            LOG.error("the console ended by itself; it is started again")
            console.start()

    def _check_room(self) -> None:
        parts = self._parts
        # Some slack above the reserve, or else an image more or less would make an event each time.
        slack = self._settings.storage.reserve_mb * MEGABYTE // 20 if self._disk_low else 0
        low = parts.reception.free_bytes() < slack
        if low != self._disk_low:
            self._disk_low = low
            LOG.warning("disk %s its reserve", "below" if low else "above")
            parts.reception.report(
                EventKind.DISK_LOW if low else EventKind.DISK_RECOVERED,
                "new images are refused" if low else "images are taken again",
                source="disk",
            )
            parts.publisher.announce()

    def _shut_down(self) -> None:
        """Stop taking images, finish the running job, say goodbye."""
        parts = self._parts
        LOG.info("stopping")
        for intake in self._listening:
            intake.stop()
        parts.supervisor.stop(DRAIN_S)
        if parts.edge_node is not None:
            parts.edge_node.stop()
        parts.publisher.stop()
        if parts.console is not None:
            parts.console.stop()
        parts.reception.close()


def configure_logging(level: str) -> None:
    """One line per event on standard error; UTC."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(level=level, format="%(asctime)sZ %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pynetdicom").setLevel(logging.WARNING)
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    # pydicom's warnings quote values of the data set: a name must not reach a log.
    warnings.filterwarnings("ignore", module="pydicom")


def run_command(arguments: Namespace) -> int:
    """`mammoedge run --config unit.toml`: until SIGTERM or SIGINT; 0 after a clean stop."""
    configure_logging(arguments.log_level)
    keep_few_arenas()
    os.umask(0o027)
    service = Service(load_settings(arguments.config, intake_types()))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: service.stop())
    service.run()
    return 0
