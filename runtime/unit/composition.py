"""Makes a unit's parts from its settings and ties them together; starts nothing."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from runtime.console.console import Console
from runtime.console.reader import ConsoleReader
from runtime.dicom.patient_identity import IdentityField, read_patient_identity
from runtime.exam_rules.state_machine import ExamRules
from runtime.exams.acknowledgement import Acknowledgements
from runtime.exams.clock_jump import ClockJump
from runtime.exams.exam_service import ExamService
from runtime.exams.modality_feed import ModalityFeed
from runtime.exams.registration import ActivePackage
from runtime.exams.spooler import Spooler, SpoolLimits
from runtime.ledger.ledger import Ledger
from runtime.mqtt.publisher import Publisher
from runtime.publishing.message_factory import IdentityPolicy, MessageFactory
from runtime.publishing.site_key import read_site_key
from runtime.sparkplug.edge_node import EdgeNode
from runtime.sparkplug.node import NodeTopics
from runtime.system.process_memory import MEGABYTE
from runtime.unit.active_model import model_ref, open_package
from runtime.user_input.settings_section import SettingsError
from runtime.worker.protocol import Start
from runtime.worker.supervisor import Supervisor, WorkerLimits

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from models.histogram import ScoreHistogram
    from models.package import Package
    from runtime.console.system_status import SystemStatus
    from runtime.exams.intake_ports import Intake
    from runtime.exams.unit_clock import UnitClock
    from runtime.image.outcome import JobOutcome, ModelRef
    from runtime.ledger.outbox import Backlog
    from runtime.messages.payloads import EventKind, HealthFacts, StatusFacts
    from runtime.unit.settings import Settings

HOUR_S = 3600
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """What the parts ask of the service that they are made for, or tell it."""

    reached: Callable[[str], None]
    """A named point on an image's way."""
    judged: Callable[[JobOutcome], None]
    announce: Callable[[], None]
    """Something that `status` says has changed."""
    status: Callable[[], StatusFacts]
    health: Callable[[], HealthFacts]
    system_status: Callable[[Backlog], SystemStatus]


@dataclass(frozen=True, kw_only=True)
class UnitComponents:
    """What the wiring made, in the order in which it is started."""

    ledger: Ledger
    desk: ExamService
    supervisor: Supervisor
    spooler: Spooler
    publisher: Publisher
    intakes: tuple[Intake, ...]
    package: Package
    model: ModelRef
    reference: ScoreHistogram
    acknowledgement: Acknowledgements
    console: Console | None
    clock_jump: ClockJump
    edge_node: EdgeNode | None


def kept_identity(settings: Settings) -> frozenset[IdentityField]:
    """What is read of an identity at all: what the console shows, and what the site publishes."""
    published = {IdentityField.ACCESSION_NUMBER}
    if not settings.identity.publish_accession_number:
        published = set()
    return settings.console.shown_identity | published


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


class UnitBuilder:
    """One unit's.

    Args:
        settings: checked.
        clock: whose time everything of the unit is told in.
        boot_id: of this life of the service.
        callbacks: to the service.
        worker_command: starts the pixel worker.
        closing: gets what is open from the first moment: the ledger.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: UnitClock,
        boot_id: str,
        callbacks: Callbacks,
        worker_command: tuple[str, ...],
        closing: ExitStack,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._boot_id = boot_id
        self._callbacks = callbacks
        self._worker_command = worker_command
        self._closing = closing

    def components(self) -> UnitComponents:
        """All parts.

        Raises:
            SettingsError, PackageRefusedError, SiteKeyError, LedgerError: one cannot be made.
        """
        settings = self._settings
        package = open_package(settings)
        model = self._model(package)
        settings.storage.folder.mkdir(parents=True, exist_ok=True)
        ledger = self._closing.enter_context(Ledger(settings.storage.folder / "ledger.db"))
        message_factory = self._message_factory(ledger)
        desk = self._desk(ledger, message_factory, package, model)

        def event(kind: EventKind, detail: str) -> None:
            now_ms = self._clock.now_ms()
            ledger.add_event(
                message_factory.event_message(kind, at_ms=now_ms, detail=detail), now_ms
            )

        supervisor = self._supervisor(ledger, desk, event, worker_start(settings, package, model))
        acknowledgement = self._acknowledgement(ledger, message_factory)
        return UnitComponents(
            ledger=ledger,
            desk=desk,
            supervisor=supervisor,
            spooler=self._spooler(ledger, desk, message_factory, event, supervisor),
            publisher=self._publisher(ledger, message_factory),
            intakes=tuple(plan.intake_type(plan.settings) for plan in settings.intakes),
            package=package,
            model=model,
            reference=package.score_histogram(),
            acknowledgement=acknowledgement,
            console=self._console(ledger, acknowledgement) if settings.console.enabled else None,
            clock_jump=ClockJump(clock=self._clock, ledger=ledger, message_factory=message_factory),
            edge_node=self._edge_node(ledger) if settings.sparkplug.enabled else None,
        )

    def _model(self, package: Package) -> ModelRef:
        settings = self._settings
        package.precision(settings.model.precision)
        try:
            return model_ref(
                package,
                precision=settings.model.precision,
                operating_point=settings.model.operating_point,
            )
        except KeyError as error:
            fault = f"model.operating_point: {error.args[0]}"
            raise SettingsError(settings.file, [fault]) from error

    def _message_factory(self, ledger: Ledger) -> MessageFactory:
        settings = self._settings
        return MessageFactory(
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

    def _desk(
        self, ledger: Ledger, message_factory: MessageFactory, package: Package, model: ModelRef
    ) -> ExamService:
        settings = self._settings
        return ExamService(
            ledger=ledger,
            message_factory=message_factory,
            rules=ExamRules(
                expected_views=settings.exam.expected_views,
                idle_timeout_ms=int(settings.exam.idle_timeout_s * 1000),
                exam_rule=package.manifest.exam_rule,
                max_images=settings.exam.max_images,
            ),
            active=ActivePackage(manifest=package.manifest, model=model),
            clock_ms=self._clock.now_ms,
        )

    def _supervisor(
        self,
        ledger: Ledger,
        desk: ExamService,
        event: Callable[[EventKind, str], None],
        start: Start,
    ) -> Supervisor:
        worker, callbacks = self._settings.worker, self._callbacks
        return Supervisor(
            start=start,
            limits=WorkerLimits(
                start_timeout_s=worker.start_timeout_s,
                job_timeout_s=worker.job_timeout_s,
                longest_wait_s=worker.longest_wait_s,
            ),
            ledger=ledger,
            desk=desk,
            report=event,
            judged=callbacks.judged,
            changed=callbacks.announce,
            randomness=random.Random(),  # noqa: S311 - spreads retries, guards nothing
            reached=callbacks.reached,
            clock_ms=self._clock.now_ms,
            worker_command=self._worker_command,
        )

    def _spooler(
        self,
        ledger: Ledger,
        desk: ExamService,
        message_factory: MessageFactory,
        event: Callable[[EventKind, str], None],
        supervisor: Supervisor,
    ) -> Spooler:
        settings, callbacks = self._settings, self._callbacks
        return Spooler(
            folder=settings.storage.folder,
            limits=SpoolLimits(
                reserve_bytes=settings.storage.reserve_mb * MEGABYTE,
                max_waiting_images=settings.storage.max_waiting_images,
                max_object_bytes=settings.storage.max_object_mb * MEGABYTE,
            ),
            desk=desk,
            modality_feed=ModalityFeed(
                ledger=ledger,
                message_factory=message_factory,
                status_provider=callbacks.status,
                clock_ms=self._clock.now_ms,
            ),
            waiting_images=lambda: ledger.transact(lambda tx: tx.jobs_open()),
            arrived=supervisor.wake,
            anticipate=supervisor.anticipate,
            event=event,
            reached=callbacks.reached,
            identify=partial(read_patient_identity, shown=kept_identity(settings)),
        )

    # --- towards the site and the screen ---------------------------------------------------------

    def _publisher(self, ledger: Ledger, message_factory: MessageFactory) -> Publisher:
        callbacks = self._callbacks
        return Publisher(
            ledger=ledger,
            message_factory=message_factory,
            settings=self._settings.broker,
            clock_ms=self._clock.now_ms,
            randomness=random.Random(),  # noqa: S311 - spreads reconnects, guards nothing
            status_provider=callbacks.status,
            health_provider=callbacks.health,
            reached=callbacks.reached,
        )

    def _acknowledgement(self, ledger: Ledger, message_factory: MessageFactory) -> Acknowledgements:
        return Acknowledgements(
            ledger=ledger,
            message_factory=message_factory,
            overdue_after_ms=int(self._settings.console.unacknowledged_after_s * 1000),
            clock_ms=self._clock.now_ms,
        )

    def _edge_node(self, ledger: Ledger) -> EdgeNode:
        unit = self._settings.unit
        group = self._settings.sparkplug.group or unit.site
        return EdgeNode(
            topics=NodeTopics(group=group, node=unit.unit),
            client_id=f"mammoedge-sparkplug-{unit.site}-{unit.unit}",
            ledger=ledger,
            broker=self._settings.broker,
            status_provider=self._callbacks.status,
            clock_ms=self._clock.now_ms,
            monotonic=time.monotonic,
            randomness=random.Random(),  # noqa: S311 - spreads reconnects, guards nothing
        )

    def _console(self, ledger: Ledger, acknowledgement: Acknowledgements) -> Console:
        settings, clock_ms = self._settings, self._clock.now_ms
        console = Console(
            settings.console,
            reader=ConsoleReader(
                ledger=ledger,
                system_status=self._callbacks.system_status,
                clock_ms=clock_ms,
                expected_views=settings.exam.expected_views,
                unacknowledged_after_s=settings.console.unacknowledged_after_s,
            ),
            desk=acknowledgement,
            clock_ms=clock_ms,
        )
        ledger.on_commit(console.poke)
        return console
