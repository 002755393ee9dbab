"""A unit's life: starts the loops of its parts, looks after them, drains, stops."""

from __future__ import annotations

import logging
import os
import secrets
import select
import signal
import time
import warnings
from contextlib import ExitStack
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from models.errors import InternalError
from runtime.console.system_status import BrokerLink, SystemStatus, system_status_of
from runtime.exams.unit_clock import UnitClock
from runtime.ledger.ledger import LedgerError
from runtime.messages.payloads import EventKind, HealthFacts, StatusFacts
from runtime.mqtt.tls import ends_soon
from runtime.system.process_memory import MEGABYTE
from runtime.system.process_secrecy import leave_nothing_readable
from runtime.unit.backup_request import answer
from runtime.unit.composition import Callbacks, build_unit
from runtime.unit.housekeeping import examine_ledger, keep_house
from runtime.unit.idle_detector import IdleDetector
from runtime.unit.malloc_tuning import (
    give_back_free_memory,
    keep_few_arenas,
    keep_large_blocks_apart,
    keep_what_stays,
)
from runtime.unit.settings import Settings, load_settings
from runtime.unit.status_facts import degraded_reasons, free_mb, health_facts, status_facts
from runtime.worker.supervisor import WORKER_COMMAND

if TYPE_CHECKING:
    from argparse import Namespace

    from runtime.exams.intake_ports import Intake
    from runtime.ledger.outbox import Backlog

LOG = logging.getLogger(__name__)

ROOM_CHECK_S = 4.0
"""A disk that fails is said within five seconds."""
RECOVERY_PAUSE_S = 0.05
HOUSEKEEPING_S = 600.0
DRAIN_S = 20.0


def intake_types() -> dict[str, type[Intake]]:
    """The intakes that are installed, by name."""
    return {point.name: point.load() for point in entry_points(group="mammoedge.intakes")}


class ThreadLostError(InternalError, RuntimeError):
    """A loop of the service is gone; the service must not go on half alive."""


class Service:
    """The control process of a unit."""

    def __init__(
        self, settings: Settings, *, worker_command: tuple[str, ...] = WORKER_COMMAND
    ) -> None:
        self._settings = settings
        # A pipe, not an Event: `stop` is called in a signal handler, and an Event's lock may be
        # held by the very code that the signal interrupts.
        self._stopped, self._stop_end = os.pipe()
        self._started_at = time.monotonic()
        self._disk_low = False
        self._broker_away_since_ms: int | None = None
        self._clock = UnitClock()
        self._rest = IdleDetector(self._started_at)
        self._closing = ExitStack()
        self._listening: list[Intake] = []
        self._parts = build_unit(
            settings,
            clock=self._clock,
            boot_id=secrets.token_hex(8),
            callbacks=Callbacks(
                announce=self._announce,
                status=self._status,
                health=self._health,
                system_status=self._system_status,
            ),
            worker_command=worker_command,
            closing=self._closing,
        )

    # --- what the publisher says of us -----------------------------------------------------------

    def _status(self, backlog: Backlog | None = None) -> StatusFacts:
        parts = self._parts
        reasons = degraded_reasons(
            parts,
            backlog or parts.ledger.backlog(),
            now_ms=self._clock.now_ms(),
            disk_low=self._disk_low,
            certificate_ends_soon=ends_soon(self._settings.broker, self._clock.now_ms()),
        )
        return status_facts(parts, reasons, self._settings.model.devices)

    def _health(self) -> HealthFacts:
        return health_facts(self._parts, time.monotonic() - self._started_at)

    def _system_status(self, backlog: Backlog) -> SystemStatus:
        """What the console says of us; called by one thread."""
        parts, now_ms = self._parts, self._clock.now_ms()
        connected = parts.publisher.connected
        self._broker_away_since_ms = None if connected else self._broker_away_since_ms or now_ms
        return system_status_of(
            self._status(backlog),
            link=BrokerLink(connected=connected, away_since_ms=self._broker_away_since_ms),
            backlog=backlog,
            disk_free_mb=free_mb(parts),
            worker_restarts=max(0, parts.supervisor.state.starts - 1),
            now_ms=now_ms,
        )

    def _announce(self) -> None:
        self._parts.publisher.announce()
        if self._parts.console is not None:
            self._parts.console.poke()

    # --- lifecycle -------------------------------------------------------------------------------

    def run(self) -> None:
        """Runs until `stop`. Raises OSError if an intake's address is taken."""
        parts = self._parts
        with self._closing:  # the ledger closes last
            parts.ledger.on_fault(self._announce)
            self._say_renewal()
            found = parts.recovery.begin()
            parts.clock_jump.open()
            open_jobs = parts.exam_service.adopt_open_work()
            LOG.info("ledger open: jobs=%d files_without_a_row=%d", open_jobs, found)
            try:
                self._start()
                self._loop()
            finally:
                self._shut_down()

    def _say_renewal(self) -> None:
        """The ledger that was found is not the one that was left, and nobody said so yet."""
        ledger = self._parts.ledger
        if ledger.renewal is not None and not ledger.renewal.said:
            kind = EventKind(ledger.renewal.reason.value)
            self._parts.events.report(kind, ledger.renewal.detail, source="ledger")
            ledger.renewal_was_said()

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
            intake.start(parts.ports)
            self._listening.append(intake)
            LOG.info("listening: %s", intake.address)
        parts.publisher.start()
        if parts.edge_node is not None:
            parts.edge_node.start()
        keep_what_stays()
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
                parts.ledger.prove_disk()
                if parts.clock_jump.look():
                    parts.publisher.announce()
                self._check_room()
                answer(self._settings.storage.folder, parts.ledger)
                parts.exam_service.time_out_idle()
                self._attend_console()
                if self._rest.begins(parts.ledger.last_seq(), time.monotonic()):
                    give_back_free_memory()
                if time.monotonic() >= next_housekeeping and not parts.clock_jump.unsettled:
                    keep_house(parts, self._settings, self._clock.now_ms())
                    if self._rest.lasts(time.monotonic()):
                        examine_ledger(parts, self._clock.now_ms())
                    next_housekeeping = time.monotonic() + HOUSEKEEPING_S
                timeout_ms = parts.exam_service.next_timeout_ms()
            except (LedgerError, OSError) as error:
                # A full disk, a spool that is gone: tried again at the next turn.
                LOG.error("%s", error)  # noqa: TRY400 - no defect of ours
                timeout_ms = None
            if self._recover():
                pause_s = RECOVERY_PAUSE_S
            if timeout_ms is not None:
                left_ms = timeout_ms - self._clock.now_ms()
                pause_s = min(pause_s, max(0.0, left_ms / 1000) + 0.005)
            if select.select([self._stopped], [], [], pause_s)[0]:
                return

    def _recover(self) -> bool:
        """Takes in files of the spool; whether more are to be taken in at once."""
        try:
            return self._parts.recovery.go_on()
        except LedgerError as error:
            LOG.error("spool: %s", error)  # noqa: TRY400 - no defect of ours
            return False

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
        self._parts.acknowledgements.report_overdue()
        if not console.alive:
            # A defect of ours, but flags do not depend on the page: it alone is started anew.
            LOG.error("the console ended by itself; it is started again")
            console.start()

    def _check_room(self) -> None:
        parts = self._parts
        # Some slack above the reserve, or else an image more or less would make an event each time.
        slack = self._settings.storage.reserve_mb * MEGABYTE // 20 if self._disk_low else 0
        low = parts.spooler.free_bytes() < slack or parts.spooler.refused_of_late
        if low != self._disk_low:
            self._disk_low = low
            LOG.warning("disk %s its reserve", "below" if low else "above")
            parts.events.report(
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
        parts.spooler.close()


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
    keep_large_blocks_apart()
    leave_nothing_readable()
    service = Service(load_settings(arguments.config, intake_types()))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: service.stop())
    service.run()
    return 0
