"""`mammoedge check`: settings, disk, key, package, engine, intakes, broker; a verdict each."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from typing import TYPE_CHECKING

from models.errors import PackageRefusedError
from models.manifest import ProofVerdict
from runtime.cli.broker_check import check_broker
from runtime.cli.check_result import CheckResult, Grade, faulty_settings, report
from runtime.console.access_middleware import TokenRefusedError, read_token
from runtime.console.console import PACKAGE
from runtime.exams.unit_clock import wall_ms
from runtime.inference.devices import NoUsableDeviceError
from runtime.ledger.opening import facts_of_file
from runtime.mqtt.tls import SOON_DAYS, days_left
from runtime.publishing.site_key import SiteKeyError, read_site_key
from runtime.system.folder_lock import FolderInUseError, sole_user
from runtime.system.process_memory import MEGABYTE
from runtime.unit.active_model import model_ref, open_package, precision_of
from runtime.unit.service import intake_types
from runtime.unit.settings import load_settings
from runtime.user_input.settings_section import SettingsError
from runtime.web.catalogue import CatalogueError, load_catalogues

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from models.package import Package
    from runtime.unit.settings import Settings

SLOW_FSYNC_MS = 100.0
FSYNC_PROBES = 5


def check_storage(settings: Settings) -> Iterator[CheckResult]:
    """The spool's folder can be written, is quick enough, and has room above its reserve."""
    folder = settings.storage.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        worst_ms = 0.0
        for _ in range(FSYNC_PROBES):
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"\0" * 4096)
                started = time.perf_counter()
                os.fsync(probe.fileno())
                worst_ms = max(worst_ms, (time.perf_counter() - started) * 1000)
    except OSError as error:
        yield CheckResult(
            name="storage",
            grade=Grade.BAD,
            found=f"{folder}: {error.strerror}",
            advice="storage.folder must be a folder that this user may write to",
        )
        return
    slow = worst_ms > SLOW_FSYNC_MS
    yield CheckResult(
        name="storage",
        grade=Grade.WARNING if slow else Grade.GOOD,
        found=f"{folder}: writable, fsync at most {worst_ms:.1f} ms of {FSYNC_PROBES}",
        advice="each image waits for this disk; use a faster one" if slow else "",
    )
    usage = shutil.disk_usage(folder)
    free_mb = usage.free // MEGABYTE
    low = free_mb < settings.storage.reserve_mb
    yield CheckResult(
        name="disk",
        grade=Grade.BAD if low else Grade.GOOD,
        found=f"{free_mb} MB free, {settings.storage.reserve_mb} MB kept in reserve",
        advice="new images would be refused: free some space, or lower storage.reserve_mb"
        if low
        else "",
    )


def check_ledger(settings: Settings) -> CheckResult:
    """Every page and row of the ledger is whole; that of a running service is its own affair."""
    ledger = settings.storage.folder / "ledger.db"
    if not ledger.exists():
        return CheckResult(name="ledger", grade=Grade.GOOD, found="none yet")
    try:
        with sole_user(settings.storage.folder):
            facts = facts_of_file(ledger)
    except FolderInUseError:
        found = "in use by the running service, whose status says how it is"
        return CheckResult(name="ledger", grade=Grade.GOOD, found=found)
    except OSError as error:
        return CheckResult(name="ledger", grade=Grade.BAD, found=f"{ledger}: {error.strerror}")
    if facts.faults:
        return CheckResult(
            name="ledger",
            grade=Grade.BAD,
            found=f"{ledger}: damaged: {facts.faults[0]}",
            advice="copy the folder, then start the service: it sets the ledger aside, makes a new"
            " one of what is whole, and names what it lost",
        )
    return CheckResult(
        name="ledger", grade=Grade.GOOD, found=f"whole, up to number {facts.last_seq}"
    )


def check_key(settings: Settings) -> CheckResult:
    """The site's key is there, long enough and private."""
    try:
        key = read_site_key(settings.identity.site_key_file)
    except SiteKeyError as error:
        return CheckResult(name="site key", grade=Grade.BAD, found=str(error))
    return CheckResult(name="site key", grade=Grade.GOOD, found=f"{len(key) * 8} bits, private")


def check_package(settings: Settings) -> tuple[CheckResult, Package | None]:
    """The package holds: hashes, schema, signature, precision, operating point."""
    try:
        package = open_package(settings)
        precision = precision_of(settings, package)
        model_ref(
            package,
            precision=precision,
            operating_point=settings.model.operating_point,
        )
    except PackageRefusedError as error:
        found = "; ".join(error.faults)
        advice = "as it says; where files differ, install the package again from its bench"
        return CheckResult(name="package", grade=Grade.BAD, found=found, advice=advice), None
    except KeyError as error:
        found = f"model.operating_point: {error.args[0]}"
        return CheckResult(name="package", grade=Grade.BAD, found=found), None
    signature = f"signed by {package.signed_by}" if package.signed else "the one that ships"
    if not package.trusted:
        signature = "unsigned"
    unproved = any(
        part.precision == precision and part.verdict is ProofVerdict.NOT_PROVED
        for part in package.manifest.parity
    )
    advice = "" if package.trusted else "fit for a bench only; `status` will say so"
    if unproved:
        advice = f"{precision} was not proved on labelled images; see the package's CARD.md"
    return (
        CheckResult(
            name="package",
            grade=Grade.GOOD if package.trusted and not unproved else Grade.WARNING,
            found=f"{package.manifest.label}, {signature}, {precision}",
            advice=advice,
        ),
        package,
    )


def check_engine(settings: Settings, package: Package) -> CheckResult:
    """A device compiles the package and gives its golden scores."""
    from runtime.inference.engine import available_devices, open_engine

    present = ", ".join(available_devices())
    try:
        engine = open_engine(
            package,
            precision_of(settings, package),
            settings.model.devices,
            settings.storage.folder / "compiled",
            threads=settings.model.threads,
        )
    except NoUsableDeviceError as error:
        return CheckResult(
            name="engine",
            grade=Grade.BAD,
            found=f"{error} (OpenVINO finds: {present})",
            advice="install the device's driver, or name another in model.devices",
        )
    except PackageRefusedError as error:
        return CheckResult(name="engine", grade=Grade.BAD, found="; ".join(error.faults))
    execution = engine.execution
    return CheckResult(
        name="engine",
        grade=Grade.WARNING if execution.fallback_reason else Grade.GOOD,
        found=f"runs on {execution.actual_device} as {execution.executed_precision},"
        f" golden cases hold (OpenVINO finds: {present})",
        advice=execution.fallback_reason,
    )


def check_intakes(settings: Settings) -> Iterator[CheckResult]:
    """Each intake can be built, and its port is free (or our own service has it)."""
    for plan in settings.intakes:
        intake = plan.intake_type(plan.settings)
        port = getattr(plan.settings, "port", None)
        if not isinstance(port, int) or _port_is_free(getattr(plan.settings, "host", ""), port):
            yield CheckResult(name=f"intake {plan.name}", grade=Grade.GOOD, found=intake.address)
            continue
        yield CheckResult(
            name=f"intake {plan.name}",
            grade=Grade.WARNING,
            found=f"{intake.address}: something listens there already",
            advice="fine if the service runs; else choose another port",
        )


def check_console(settings: Settings) -> Iterator[CheckResult]:
    """The page can be served: its texts, its token, its port."""
    console = settings.console
    if not console.enabled:
        return
    try:
        load_catalogues(PACKAGE)
        if console.token_file is not None:
            read_token(console.token_file)
    except (CatalogueError, TokenRefusedError) as error:
        yield CheckResult(name="console", grade=Grade.BAD, found=str(error))
        return
    free = _port_is_free(console.host, console.port)
    yield CheckResult(
        name="console",
        grade=Grade.GOOD if free else Grade.WARNING,
        found=f"{console.host}:{console.port} is {'free' if free else 'taken'}",
        advice="" if free else "fine if the service runs; else choose another console.port",
    )


def _port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def check_certificate(settings: Settings) -> Iterator[CheckResult]:
    """Our certificate for the broker lasts for a while yet."""
    if settings.broker.certificate_file is None:
        return
    try:
        left_days = days_left(settings.broker.certificate_file, wall_ms())
    except (OSError, ValueError) as error:
        yield CheckResult(name="certificate", grade=Grade.BAD, found=f"cannot be read: {error}")
        return
    grade = Grade.GOOD if left_days >= SOON_DAYS else Grade.WARNING
    yield CheckResult(
        name="certificate",
        grade=grade if left_days >= 0 else Grade.BAD,
        found=f"{settings.broker.certificate_file}: {left_days:.0f} days left",
        advice="" if grade is Grade.GOOD else "at the site: `mammoedge init DIR --renew`",
    )


def verdicts(arguments: Namespace) -> Iterator[CheckResult]:
    """All checks, one after the other; those that stand on a failed one are left out."""
    try:
        settings = load_settings(arguments.config, intake_types())
    except SettingsError as error:
        yield from faulty_settings(error)
        return
    yield CheckResult(name="settings", grade=Grade.GOOD, found=str(settings.file))
    yield from check_storage(settings)
    yield check_ledger(settings)
    yield check_key(settings)
    verdict, package = check_package(settings)
    yield verdict
    if package is not None:
        yield check_engine(settings, package)
    yield from check_intakes(settings)
    yield from check_console(settings)
    yield from check_certificate(settings)
    yield from check_broker(settings)


def check_command(arguments: Namespace) -> int:
    """Prints each verdict as it is reached; 0 if none is bad, 2 for bad settings, else 1."""
    return report(verdicts(arguments), as_json=arguments.json)
