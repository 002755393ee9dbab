"""Makes a unit's parts from its settings and ties them together; starts nothing."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.console.console import Console
from runtime.console.reader import ConsoleReader
from runtime.dicom.patient_identity import IdentityField
from runtime.exam_rules.state_machine import ExamRules
from runtime.exams.acknowledgement import Acknowledgements
from runtime.exams.clock_jump import ClockJump
from runtime.exams.event_reporter import EventReporter
from runtime.exams.exam_parts import exam_parts
from runtime.exams.exam_service import ExamService
from runtime.exams.intake_ports import IntakePorts
from runtime.exams.modality_feed import ModalityFeed
from runtime.exams.registration import ActivePackage
from runtime.exams.spooler import Spooler, SpoolLimits
from runtime.ledger.ledger import Ledger
from runtime.mqtt.publisher import Publisher
from runtime.publishing.message_factory import IdentityPolicy, MessageFactory
from runtime.publishing.site_key import read_site_key
from runtime.sparkplug.edge_node import EdgeNode
from runtime.sparkplug.node import NodeTopics
from runtime.system.folder_lock import sole_user
from runtime.system.process_memory import MEGABYTE
from runtime.unit.active_model import model_ref, open_package, precision_of
from runtime.unit.spool_recovery import SpoolRecovery
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
    from runtime.image.outcome import ModelRef
    from runtime.ledger.outbox import Backlog
    from runtime.messages.payloads import HealthFacts, StatusFacts
    from runtime.unit.settings import Settings

HOUR_S = 3600
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """What the parts ask of the service that they are made for, or tell it."""

    announce: Callable[[], None]
    """Something that `status` says has changed."""
    status: Callable[[], StatusFacts]
    health: Callable[[], HealthFacts]
    system_status: Callable[[Backlog], SystemStatus]


@dataclass(frozen=True, kw_only=True)
class UnitComponents:
    """What the wiring made, in the order in which it is started."""

    ledger: Ledger
    exam_service: ExamService
    supervisor: Supervisor
    spooler: Spooler
    recovery: SpoolRecovery
    events: EventReporter
    ports: IntakePorts
    publisher: Publisher
    intakes: tuple[Intake, ...]
    package: Package
    model: ModelRef
    reference: ScoreHistogram
    acknowledgements: Acknowledgements
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
        accept_image_types=settings.model.accept_image_types,
        previews=settings.console.enabled and settings.console.previews,
    )


def build_unit(
    settings: Settings,
    *,
    clock: UnitClock,
    boot_id: str,
    callbacks: Callbacks,
    worker_command: tuple[str, ...],
    closing: ExitStack,
) -> UnitComponents:
    """All parts of one unit.

    Args:
        settings: checked.
        clock: whose time everything of the unit is told in.
        boot_id: of this life of the service.
        callbacks: to the service.
        worker_command: starts the pixel worker.
        closing: gets what is open from the first moment: the ledger.

    Raises:
        SettingsError, PackageRefusedError, SiteKeyError, LedgerError: one cannot be made.
        FolderInUseError: another service works in the folder of the storage.
    """
    package = open_package(settings)
    model = _model(settings, package)
    settings.storage.folder.mkdir(parents=True, exist_ok=True)
    closing.enter_context(sole_user(settings.storage.folder))
    ledger = closing.enter_context(Ledger(settings.storage.folder / "ledger.db", boot_id=boot_id))
    message_factory = _message_factory(settings, ledger, boot_id)
    exams = exam_parts(
        ledger=ledger,
        message_factory=message_factory,
        rules=_exam_rules(settings, package),
        active=ActivePackage(
            manifest=package.manifest.accepting(settings.model.accept_image_types), model=model
        ),
        clock_ms=clock.now_ms,
    )
    events = EventReporter(ledger=ledger, message_factory=message_factory, clock_ms=clock.now_ms)
    supervisor = Supervisor(
        start=worker_start(settings, package, model),
        limits=_worker_limits(settings),
        exam_service=exams.exam_service,
        events=events,
        changed=callbacks.announce,
        randomness=random.Random(),  # noqa: S311 - spreads retries, guards nothing
        worker_command=worker_command,
    )
    spooler = Spooler(
        folder=settings.storage.folder,
        limits=_spool_limits(settings),
        registration=exams.registration,
        worker=supervisor,
        events=events,
        shown=kept_identity(settings),
    )
    feed = _feed(ledger, message_factory, callbacks, clock)
    acknowledgements = _acknowledgements(settings, ledger, message_factory, clock)
    return UnitComponents(
        ledger=ledger,
        exam_service=exams.exam_service,
        supervisor=supervisor,
        spooler=spooler,
        recovery=SpoolRecovery(spooler=spooler, ledger=ledger, events=events),
        events=events,
        ports=IntakePorts(objects=spooler, notices=exams.notices, feed=feed, events=events),
        publisher=_publisher(settings, ledger, message_factory, callbacks, clock),
        intakes=tuple(plan.intake_type(plan.settings) for plan in settings.intakes),
        package=package,
        model=model,
        reference=package.score_histogram(),
        acknowledgements=acknowledgements,
        console=_console(settings, ledger, acknowledgements, callbacks, clock),
        clock_jump=ClockJump(clock=clock, ledger=ledger, message_factory=message_factory),
        edge_node=_edge_node(settings, ledger, callbacks, clock),
    )


def _model(settings: Settings, package: Package) -> ModelRef:
    precision = precision_of(settings, package)
    try:
        return model_ref(
            package,
            precision=precision,
            operating_point=settings.model.operating_point,
        )
    except KeyError as error:
        fault = f"model.operating_point: {error.args[0]}"
        raise SettingsError(settings.file, [fault]) from error


def _message_factory(settings: Settings, ledger: Ledger, boot_id: str) -> MessageFactory:
    return MessageFactory(
        site=settings.unit.site,
        unit=settings.unit.unit,
        boot_id=boot_id,
        ledger_id=ledger.ledger_id,
        site_key=read_site_key(settings.identity.site_key_file),
        identity=IdentityPolicy(
            accession_number=settings.identity.publish_accession_number,
            study_instance_uid=settings.identity.publish_study_instance_uid,
        ),
        exam_expiry_s=int(settings.expiry.exam_hours * HOUR_S),
        event_expiry_s=int(settings.expiry.event_days * DAY_S),
    )


def _exam_rules(settings: Settings, package: Package) -> ExamRules:
    return ExamRules(
        expected_views=settings.exam.expected_views,
        idle_timeout_ms=int(settings.exam.idle_timeout_s * 1000),
        exam_rule=package.manifest.exam_rule,
        max_images=settings.exam.max_images,
    )


def _worker_limits(settings: Settings) -> WorkerLimits:
    return WorkerLimits(
        start_timeout_s=settings.worker.start_timeout_s,
        job_timeout_s=settings.worker.job_timeout_s,
        longest_wait_s=settings.worker.longest_wait_s,
    )


def _spool_limits(settings: Settings) -> SpoolLimits:
    return SpoolLimits(
        reserve_bytes=settings.storage.reserve_mb * MEGABYTE,
        max_waiting_images=settings.storage.max_waiting_images,
        max_object_bytes=settings.storage.max_object_mb * MEGABYTE,
    )


def _feed(
    ledger: Ledger, message_factory: MessageFactory, callbacks: Callbacks, clock: UnitClock
) -> ModalityFeed:
    return ModalityFeed(
        ledger=ledger,
        message_factory=message_factory,
        status_provider=callbacks.status,
        clock_ms=clock.now_ms,
    )


def _acknowledgements(
    settings: Settings, ledger: Ledger, message_factory: MessageFactory, clock: UnitClock
) -> Acknowledgements:
    return Acknowledgements(
        ledger=ledger,
        message_factory=message_factory,
        overdue_after_ms=int(settings.console.unacknowledged_after_s * 1000),
        clock_ms=clock.now_ms,
    )


def _publisher(
    settings: Settings,
    ledger: Ledger,
    message_factory: MessageFactory,
    callbacks: Callbacks,
    clock: UnitClock,
) -> Publisher:
    return Publisher(
        ledger=ledger,
        message_factory=message_factory,
        settings=settings.broker,
        clock_ms=clock.now_ms,
        randomness=random.Random(),  # noqa: S311 - spreads reconnects, guards nothing
        status_provider=callbacks.status,
        health_provider=callbacks.health,
    )


def _edge_node(
    settings: Settings, ledger: Ledger, callbacks: Callbacks, clock: UnitClock
) -> EdgeNode | None:
    if not settings.sparkplug.enabled:
        return None
    unit = settings.unit
    return EdgeNode(
        topics=NodeTopics(group=settings.sparkplug.group or unit.site, node=unit.unit),
        client_id=f"mammoedge-sparkplug-{unit.site}-{unit.unit}",
        ledger=ledger,
        broker=settings.broker,
        status_provider=callbacks.status,
        clock_ms=clock.now_ms,
        monotonic=time.monotonic,
        randomness=random.Random(),  # noqa: S311 - spreads reconnects, guards nothing
    )


def _console(
    settings: Settings,
    ledger: Ledger,
    acknowledgements: Acknowledgements,
    callbacks: Callbacks,
    clock: UnitClock,
) -> Console | None:
    if not settings.console.enabled:
        return None
    console = Console(
        settings.console,
        reader=ConsoleReader(
            ledger=ledger,
            system_status=callbacks.system_status,
            clock_ms=clock.now_ms,
            expected_views=settings.exam.expected_views,
            unacknowledged_after_s=settings.console.unacknowledged_after_s,
        ),
        acknowledgements=acknowledgements,
        clock_ms=clock.now_ms,
        audit_file=settings.storage.folder / "console-audit.jsonl",
    )
    ledger.on_commit(console.poke)
    return console
