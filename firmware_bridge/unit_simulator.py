"""Plays units at a clinic's pace, by DICOM: images, rejection notes, procedure steps, mishaps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from firmware_bridge.exam_source import take
from firmware_bridge.reissue import ExamIdentity
from firmware_bridge.sender import CannotConnectError, Outcome, Sender, SentFile, outgoing
from firmware_bridge.step_client import StepClient, write_rejection_note
from firmware_bridge.unit_plan import ExamPlan, Mishap, Shot

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from firmware_bridge.exam_source import Taken, Template
    from firmware_bridge.sender import Destination, OutgoingFile

ATTEMPTS = 20
RETRY_PAUSE_S = 0.5
REBOOT_PAUSE_S = 2.0


class Happening(StrEnum):
    """What is counted."""

    EXAM = "exams"
    STORED = "stored"
    REFUSED = "refused"
    """The receiver said no, and the unit went on without it."""
    LOST = "lost"
    """Nobody answered, after all attempts."""
    RETRY = "retries"
    RETAKE = "retakes"
    FAULT = "faults"
    REBOOT = "reboots"
    STEP_REFUSED = "steps_refused"


@dataclass(frozen=True, kw_only=True)
class PlayedExam:
    """An exam that was sent, with what happened; what a test or a bench waits for."""

    unit: int
    number: int
    study_instance_uid: str
    images: tuple[str, ...]
    """SOP Instance UIDs that were stored, rejected ones among them."""
    happened: Counter[Happening]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every simulated unit is given."""

    destination: Destination
    templates: Sequence[Template]
    folder: Path
    """For the images that are being sent; each is removed once it is."""
    procedure_steps: bool
    tls: ssl.SSLContext | None
    now: Callable[[], datetime]
    new_uid: Callable[[], str]
    pause: Callable[[float], bool]
    """Waits that many seconds; True: it is time to stop."""


class SimulatedUnit:
    """One unit; its calling AE title is `SIM` and its number."""

    def __init__(self, number: int, around: Surroundings) -> None:
        self.ae_title = f"SIM{number}"
        self._around = around
        self._steps = StepClient(around.destination, calling_ae_title=self.ae_title, tls=around.tls)

    def play(self, plan: Iterable[ExamPlan], pace_s: float) -> Iterator[PlayedExam]:
        """The exams one after the other, one each `pace_s`; ends early when told to."""
        for exam in plan:
            yield self._exam(exam, pace_s)
            if self._around.pause(pace_s / 2):
                return

    def _exam(self, exam: ExamPlan, pace_s: float) -> PlayedExam:
        around = self._around
        identity = ExamIdentity(
            study_instance_uid=around.new_uid(),
            series_instance_uid=around.new_uid(),
            patient_id=f"SIM{exam.unit}-{exam.number}",
            acquired_at=around.now(),
        )
        happened: Counter[Happening] = Counter({Happening.EXAM: 1})
        step_uid = around.new_uid()
        self._say_step(lambda: self._steps.begin(step_uid, identity), happened)
        stored: list[Taken] = []
        for shot in exam.shots:
            # Exposures fill the first half of an exam's time; the rest is the next patient's.
            if around.pause(pace_s / 2 / len(exam.shots)):
                break
            taken = self._expose(exam, shot, identity)
            try:
                if self._transfer(taken.path, shot.mishap, happened):
                    stored.append(taken)
                if shot.rejected:
                    self._reject(taken, identity, happened)
            finally:
                taken.path.unlink(missing_ok=True)
        self._say_step(lambda: self._steps.end(step_uid, identity, stored), happened)
        return PlayedExam(
            unit=exam.unit,
            number=exam.number,
            study_instance_uid=identity.study_instance_uid,
            images=tuple(image.sop_instance_uid for image in stored),
            happened=happened,
        )

    def _expose(self, exam: ExamPlan, shot: Shot, identity: ExamIdentity) -> Taken:
        return take(
            self._around.templates[exam.template],
            shot,
            identity,
            path=self._around.folder / f"{self.ae_title}-{shot.number}.dcm",
            new_uid=self._around.new_uid,
        )

    def _reject(self, taken: Taken, identity: ExamIdentity, happened: Counter[Happening]) -> None:
        happened[Happening.RETAKE] += 1
        note = write_rejection_note(
            taken,
            identity,
            path=self._around.folder / f"{self.ae_title}-note.dcm",
            new_uid=self._around.new_uid,
        )
        self._transfer(note, Mishap.NONE, happened, counts=False)

    def _transfer(
        self,
        path: Path,
        mishap: Mishap,
        happened: Counter[Happening],
        *,
        counts: bool = True,
    ) -> bool:
        """Sends one file until it has an answer; whether it was stored."""
        file = outgoing(path)
        if isinstance(file, SentFile):
            raise OSError(f"{path.name}: {file.comment}")
        if mishap is Mishap.FAULT:
            happened[Happening.FAULT] += 1
            self._break_off(file)
        elif mishap is Mishap.REBOOT:
            happened[Happening.REBOOT] += 1
            self._break_off(file)
            self._around.pause(REBOOT_PAUSE_S)
        for _ in range(ATTEMPTS):
            outcome = self._send(file)
            if outcome is Outcome.FAILED:
                happened[Happening.RETRY] += 1
                if self._around.pause(RETRY_PAUSE_S):
                    break
                continue
            if counts or outcome is Outcome.REFUSED:
                stored = outcome is Outcome.STORED
                happened[Happening.STORED if stored else Happening.REFUSED] += 1
            return outcome is Outcome.STORED
        happened[Happening.LOST] += 1
        return False

    def _sender(self, file: OutgoingFile) -> Sender:
        return Sender(
            self._around.destination,
            [file],
            calling_ae_title=self.ae_title,
            tls=self._around.tls,
        )

    def _send(self, file: OutgoingFile) -> Outcome:
        try:
            with self._sender(file) as sender:
                sent = sender.send(file)
        except CannotConnectError:
            return Outcome.FAILED
        # PS3.4 table B.2-1: A7xx, out of resources: a unit tries again later.
        busy = sent.status is not None and sent.status & 0xFF00 == 0xA700
        return Outcome.FAILED if busy else sent.outcome

    def _break_off(self, file: OutgoingFile) -> None:
        """Hangs up without a word in the middle of the object."""
        try:
            with self._sender(file) as sender:
                sender.break_off(file)
        except CannotConnectError:
            return

    def _say_step(self, say: Callable[[], int], happened: Counter[Happening]) -> None:
        if not self._around.procedure_steps:
            return
        for _ in range(ATTEMPTS):
            try:
                status = say()
            except CannotConnectError:
                happened[Happening.RETRY] += 1
                if self._around.pause(RETRY_PAUSE_S):
                    break
            else:
                if status == 0:
                    return
                break
        happened[Happening.STEP_REFUSED] += 1
