"""The clinic: a unit, its broker, a subscriber, and senders that repeat what was not answered."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydicom import dcmread
from pynetdicom import AE

from tests.support.brokers import Mosquitto
from tests.support.exams import BRIGHT, DARK, write_exam
from tests.support.packages import build_package
from tests.support.subscriber import Subscriber
from tests.support.units import SITE, UNIT, UnitProcess
from tests.support.waiting import joined
from tests.torture.auditor import Auditor, SentExam

if TYPE_CHECKING:
    from pathlib import Path

MAMMOGRAPHY = "1.2.840.10008.5.1.4.1.1.1.2"
SUCCESS = 0x0000
SENDERS = 2
THRESHOLD = 0.135
JOB_TIMEOUT_S = 8
LONGEST_S, EXAM_S = 600, 10
"""The senders give up after the first, and the second for each exam."""


@dataclass
class Sending:
    """What the senders were told."""

    exams: list[SentExam]
    answered_at_s: list[float]
    """Moments (time.time) of each Success."""
    refused: list[int]
    """Other statuses."""
    unanswered: int = 0
    """Images that were never answered with Success."""


class Clinic:
    """Everything in one folder; a context manager that ends all processes."""

    def __init__(self, folder: Path, *, exams: int, pause_s: float) -> None:
        self._exams = exams
        self._pause_s = pause_s
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._next = 0
        self._deadline_s = time.monotonic() + LONGEST_S + EXAM_S * exams
        self.may_close = threading.Event()
        """Enough has happened: the last exam is that of the given number."""
        self._folder = folder
        self.sending = Sending([], [], [])
        self.broker = Mosquitto(
            folder / "broker",
            lines=("autosave_interval 1", "autosave_on_changes true", "max_queued_messages 0"),
            persistence=True,
        )
        self.unit = UnitProcess(
            folder / "unit",
            package=build_package(folder / "package", score="brightness", threshold=THRESHOLD),
            broker_port=self.broker.port,
            idle_timeout_s=3600,
            job_timeout_s=JOB_TIMEOUT_S,
        )
        factory = self.unit.message_factory()
        self.auditor = Auditor(exam_key=factory.exam_key, image_key=factory.image_key)
        self._threads = [
            threading.Thread(target=self._send_all, name=f"sender {n}") for n in range(SENDERS)
        ]

    def __enter__(self) -> Self:
        self.broker.start()
        self._stack.callback(self.broker.kill)
        self.unit.start().wait_listening()
        self._stack.callback(self.unit.kill)
        self.subscriber = Subscriber(self.broker.port, site=SITE, unit=UNIT, session_s=86_400)
        self._stack.callback(self.subscriber.close)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def open_doors(self) -> None:
        """Patients come."""
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> bool:
        """Whether exams are still being sent."""
        return any(thread.is_alive() for thread in self._threads)

    def close_doors(self) -> None:
        """Returns when the last exam was answered."""
        for thread in self._threads:
            joined(thread, thread.name)

    def flags_heard_s(self) -> list[float]:
        """Moments (time.time) at which rows of exams were heard."""
        return [r.at_s for r in self.subscriber.seen() if r.topic.startswith("exam/")]

    # --- senders ------------------------------------------------------------------------------

    def _send_all(self) -> None:
        while True:
            with self._lock:
                number, self._next = self._next, self._next + 1
            if number >= self._exams and self.may_close.is_set():
                return
            if time.monotonic() > self._deadline_s:
                return
            self._send(number)
            time.sleep(self._pause_s)

    def _send(self, number: int) -> None:
        light = BRIGHT if number % 3 == 0 else DARK
        exam = write_exam(self._folder / "exams", number, rows=256, columns=208, light=light)
        data_sets = [dcmread(path) for path in exam.files.values()]
        for path in exam.files.values():
            path.unlink()
        left = {ds.SOPInstanceUID: ds for ds in data_sets}
        while left and time.monotonic() < self._deadline_s:
            for uid, status in self._try(list(left.values())):
                if status == SUCCESS:
                    del left[uid]
                self._note(status)
            if left:
                time.sleep(0.1)
        with self._lock:
            self.sending.unanswered += len(left)
            self.sending.exams.append(
                SentExam(
                    study_uid=exam.study_uid,
                    flag="priority" if light == BRIGHT else "none",
                    answered=frozenset(
                        str(ds.SOPInstanceUID) for ds in data_sets if ds.SOPInstanceUID not in left
                    ),
                )
            )

    def _note(self, status: int) -> None:
        with self._lock:
            if status == SUCCESS:
                self.sending.answered_at_s.append(time.time())
            else:
                self.sending.refused.append(status)

    def _try(self, data_sets):
        """(UID, status) of those that were answered on one association."""
        sender = AE(ae_title="CLINIC")
        sender.connection_timeout = sender.acse_timeout = 5
        sender.dimse_timeout = sender.network_timeout = 15
        sender.add_requested_context(MAMMOGRAPHY)
        association = sender.associate("127.0.0.1", self.unit.dicom_port, ae_title="UNIT")
        try:
            for ds in data_sets:
                if not association.is_established:
                    return
                status = association.send_c_store(ds)
                if "Status" not in status:
                    return
                yield ds.SOPInstanceUID, status.Status
        except (RuntimeError, ValueError):
            return  # pynetdicom's words for an association that ended under it
        finally:
            if association.is_established:
                association.release()
