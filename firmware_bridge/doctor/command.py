"""`mammoedge doctor unit`: an engineer on site examines a running unit from the outside.

Everything goes the way that a mammography unit and a site's subscriber would go: DICOM in, MQTT
out. What is sent is a phantom and says so.
"""

from __future__ import annotations

import ssl
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from pydicom.uid import generate_uid

from firmware_bridge.dicom_intake.settings import DicomIntakeSettings
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.transport_security import TlsSettings
from firmware_bridge.doctor.flag_listener import FlagListener, NoBrokerError
from firmware_bridge.doctor.port_examination import PortExamination
from firmware_bridge.sender.mpps_scu import MppsScu
from firmware_bridge.sender.storage_scu import (
    Outcome,
    OutgoingFile,
    PeerUnreachableError,
    StorageScu,
    outgoing,
)
from firmware_bridge.simulated_exams.exam_source import VIEWS, Taken, phantom_templates, take
from firmware_bridge.simulated_exams.reissue import ReissuedIdentity
from firmware_bridge.simulated_exams.unit_plan import Shot
from firmware_bridge.simulated_exams.vendor_shapes import HOLOGIC
from runtime.cli.check_result import CheckResult, Grade, faulty_settings, report
from runtime.messages.payloads import ExamMessage, StatusMessage, UnitState, ViewMessage
from runtime.messages.topics import Topics
from runtime.mqtt.tls import broker_password, proxy_arguments, tls_context
from runtime.publishing.pseudonyms import Pseudonyms
from runtime.publishing.site_key import SiteKeyError, read_site_key
from runtime.unit.service import intake_types
from runtime.unit.settings import load_settings
from runtime.user_input.settings_section import SettingsError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    import paho.mqtt.client as mqtt

    from firmware_bridge.sender.storage_scu import SentFile
    from runtime.mqtt.settings import BrokerSettings
    from runtime.unit.settings import Settings

PHANTOM_SCALE = 0.5
"""0.14 mm: small to send, and within what packages accept."""
STATUS_WAIT_S = 3.0
ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - what a unit listens on; we ask this machine


def run(arguments: Namespace) -> int:
    """Prints each verdict; 0 if none is bad, 2 for bad settings, else 1."""
    return report(verdicts(arguments), as_json=arguments.json)


def verdicts(arguments: Namespace) -> Iterator[CheckResult]:
    """All steps of the examination; those that stand on a failed one are left out."""
    try:
        settings = load_settings(Path(arguments.config), intake_types())
    except SettingsError as error:
        yield from faulty_settings(error)
        return
    yield CheckResult(name="settings", grade=Grade.GOOD, found=str(settings.file))
    intakes = [p.settings for p in settings.intakes if isinstance(p.settings, DicomIntakeSettings)]
    if not intakes:
        yield CheckResult(name="dicom", grade=Grade.BAD, found="no [intake.dicom] in the settings")
    for intake in intakes:
        try:
            examination = Examination.of(arguments, settings, intake)
        except (OSError, ValueError) as fault:
            yield CheckResult(name="tls", grade=Grade.BAD, found=str(fault))
            continue
        yield from examination.verdicts()


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Of one DICOM listener."""

    settings: Settings
    destination: Destination
    calling: str
    tls: ssl.SSLContext | None
    timeout_s: float

    @classmethod
    def of(
        cls, arguments: Namespace, settings: Settings, intake: DicomIntakeSettings
    ) -> Examination:
        """What a listener's settings ask of a caller. Raises OSError, ValueError (TLS)."""
        host = "127.0.0.1" if intake.host in ANY_ADDRESS else intake.host
        calling = arguments.calling
        if intake.calling_ae_titles and calling not in intake.calling_ae_titles:
            calling = intake.calling_ae_titles[0]
        title = next(iter(intake.called_ae_titles), intake.ae_title)
        return cls(
            settings=settings,
            destination=Destination(ae_title=title, host=host, port=intake.port),
            calling=calling,
            tls=_client_context(arguments, intake),
            timeout_s=arguments.timeout_s,
        )

    def verdicts(self) -> Iterator[CheckResult]:
        """From the wire to the flag."""
        intake = PortExamination(destination=self.destination, calling=self.calling, tls=self.tls)
        for verdict in intake.verdicts():
            yield verdict
            if verdict.grade is Grade.BAD:
                return
        yield from self.check_phantom_exam()

    def check_phantom_exam(self) -> Iterator[CheckResult]:
        """A phantom exam there, its flag back."""
        broker = self.settings.broker
        topics = Topics(site=self.settings.unit.site, unit=self.settings.unit.unit)
        try:
            key = read_site_key(self.settings.identity.site_key_file)
            with FlagListener(
                host=broker.host,
                port=broker.port,
                topics=topics,
                transport=broker.transport,
                secure=lambda client: _secure(client, broker),
            ) as listener:
                yield _check_status(listener)
                yield from self._there_and_back(listener, Pseudonyms(site_key=key))
        except (NoBrokerError, SiteKeyError, OSError) as fault:
            yield CheckResult(
                name="broker",
                grade=Grade.BAD,
                found=f"{broker.host}:{broker.port}: {fault}",
                advice="`mammoedge check` says more; flags wait in the outbox until it is there",
            )
            yield from self._there_and_back(None, None)

    def _there_and_back(
        self, listener: FlagListener | None, pseudonyms: Pseudonyms | None
    ) -> Iterator[CheckResult]:
        identity = ReissuedIdentity(
            study_instance_uid=generate_uid(),
            series_instance_uid=generate_uid(),
            patient_id="DOCTOR",
            acquired_at=datetime.now().astimezone(),
        )
        steps = MppsScu(self.destination, calling_ae_title=self.calling, tls=self.tls)
        step_uid = generate_uid()
        with tempfile.TemporaryDirectory(prefix="mammoedge-doctor-") as folder:
            views = _phantom_exam(Path(folder), identity)
            try:
                begun = steps.begin(step_uid, identity)
                sent = self._send(views)
                ended = steps.end(step_uid, identity, views)
            except PeerUnreachableError as fault:
                yield CheckResult(name="phantom exam", grade=Grade.BAD, found=fault.what)
                return
        stored = [file for file in sent if file.outcome is Outcome.STORED]
        refused = (
            {f"0x{file.status or 0:04X} {file.comment}" for file in sent} if not stored else ()
        )
        yield CheckResult(
            name="phantom exam",
            grade=Grade.GOOD if len(stored) == len(sent) else Grade.BAD,
            found=f"{len(stored)} of {len(sent)} views stored, slowest answer"
            f" {max(file.answered_after_ms for file in sent):.0f} ms"
            + (f" ({', '.join(refused)})" if refused else ""),
        )
        yield CheckResult(
            name="mpps",
            grade=Grade.GOOD if begun == ended == 0 else Grade.BAD,
            found=f"N-CREATE 0x{begun:04X}, N-SET COMPLETED 0x{ended:04X}",
        )
        if listener is not None and pseudonyms is not None and stored:
            exam_key = pseudonyms.exam_key(identity.study_instance_uid)
            yield self._await_flag(listener, exam_key, stored)

    def _send(self, views: list[Taken]) -> list[SentFile]:
        files = [file for view in views if isinstance(file := outgoing(view.path), OutgoingFile)]
        with StorageScu(
            self.destination, files, calling_ae_title=self.calling, tls=self.tls
        ) as sender:
            return [sender.send(file) for file in files]

    def _await_flag(
        self, listener: FlagListener, exam_key: str, stored: list[SentFile]
    ) -> CheckResult:
        """The exam's final flag, as a subscriber of the site hears it."""
        last_byte_ns = max(file.last_byte_at_ns for file in stored)
        deadline_s = time.monotonic() + self.timeout_s
        views = 0
        while (left_s := deadline_s - time.monotonic()) > 0:
            heard = listener.next(left_s)
            if heard is None:
                break
            message = heard.message
            if isinstance(message, ViewMessage) and message.exam_key == exam_key:
                views += 1
            if not isinstance(message, ExamMessage) or message.exam_key != exam_key:
                continue
            if message.final:
                model = f"{message.model.name} {message.model.version}" if message.model else "?"
                why = f" ({', '.join(message.reasons)})" if message.reasons else ""
                return CheckResult(
                    name="flag",
                    grade=Grade.GOOD,
                    found=f"{message.flag}{why} by {model} on {message.actual_device},"
                    f" completed by {message.completed_by},"
                    f" {(heard.at_ns - last_byte_ns) / 1e6:.0f} ms after the last byte"
                    f" ({views} view messages)",
                )
        return CheckResult(
            name="flag",
            grade=Grade.BAD,
            found=f"no final flag within {self.timeout_s:.0f} s ({views} view messages)",
            advice="may this user read at the broker? is the worker ready? see the service's log",
        )


def _client_context(arguments: Namespace, intake: DicomIntakeSettings) -> ssl.SSLContext | None:
    """The certificate given, else the unit's own; on this machine the name is not compared."""
    if intake.tls is None:
        return None
    tls = TlsSettings(
        certificate_file=Path(arguments.certificate or intake.tls.certificate_file),
        key_file=Path(arguments.key or intake.tls.key_file),
        ca_file=Path(arguments.ca or intake.tls.ca_file),
    )
    context = tls.client_context()
    if intake.host in (*ANY_ADDRESS, "127.0.0.1", "::1"):
        context.check_hostname = False
    return context


def _secure(client: mqtt.Client, broker: BrokerSettings) -> None:
    if broker.tls:
        client.tls_set_context(tls_context(broker))
    if broker.username is not None:
        client.username_pw_set(broker.username, broker_password(broker))
    if broker.transport == "websockets":
        client.ws_set_options(path=broker.path)
    if proxy := proxy_arguments(broker):
        client.proxy_set(**proxy)


def _check_status(listener: FlagListener) -> CheckResult:
    """What the unit says of itself: the retained `status`."""
    deadline_s = time.monotonic() + STATUS_WAIT_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        heard = listener.next(left_s)
        if heard is not None and isinstance(heard.message, StatusMessage):
            status = heard.message
            why = f" ({', '.join(status.reasons)})" if status.reasons else ""
            return CheckResult(
                name="status",
                grade=Grade.GOOD if status.state is UnitState.ONLINE else Grade.WARNING,
                found=f"{status.state}{why}, device {status.actual_device}",
            )
    return CheckResult(
        name="status",
        grade=Grade.WARNING,
        found="the broker has no status of this unit",
        advice="may this user read at the broker? does the service reach it?",
    )


def _phantom_exam(folder: Path, identity: ReissuedIdentity) -> list[Taken]:
    (template,) = phantom_templates(folder, [HOLOGIC], scale=PHANTOM_SCALE, randomness=Random(1))  # noqa: S311 - a picture
    return [
        take(
            template,
            Shot(number=number, view=view),
            identity,
            path=folder / f"{view}.dcm",
            new_uid=lambda: str(generate_uid()),
        )
        for number, view in enumerate(VIEWS, start=1)
    ]
