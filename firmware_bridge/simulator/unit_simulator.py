"""Plays units at a clinic's pace: images, rejections, beginnings and ends of exams, mishaps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from firmware_bridge.sender.storage_scu import Outcome, PeerUnreachableError
from firmware_bridge.simulated_exams.exam_source import take
from firmware_bridge.simulated_exams.reissue import ReissuedIdentity
from firmware_bridge.simulated_exams.unit_plan import ExamPlan, Mishap, Shot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from firmware_bridge.simulated_exams.exam_source import Taken, Template
    from firmware_bridge.simulator.transport import Transport

ATTEMPTS = 20
RETRY_PAUSE_S = 0.5
REBOOT_PAUSE_S = 2.0


class SimulationCount(StrEnum):
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
    """A beginning or an end of an exam that was not taken."""
    FLAG = "flags"
    """Final flags that came back to the unit."""


@dataclass(frozen=True, kw_only=True)
class PlayedExam:
    """An exam that was sent, with what happened; what a test or a bench waits for."""

    unit: int
    number: int
    study_instance_uid: str
    images: tuple[str, ...]
    """SOP Instance UIDs that were stored, rejected ones among them."""
    happened: Counter[SimulationCount]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every simulated unit is given."""

    line: Callable[[str], Transport]
    """From the unit's name to its line."""
    templates: Sequence[Template]
    folder: Path
    """For the images that are being sent; each is removed once it is."""
    now: Callable[[], datetime]
    new_uid: Callable[[], str]
    pause: Callable[[float], bool]
    """Waits that many seconds; True: it is time to stop."""
    answered: Callable[[], None] = lambda: None
    """Called after each image that was handed over, or could not be; from any unit's thread."""


class SimulatedUnit:
    """One unit; its name (AE title, serial number) is `SIM` and its number."""

    def __init__(self, number: int, around: Surroundings) -> None:
        self.name = f"SIM{number}"
        self._around = around
        self._line = around.line(self.name)

    def play(self, plan: Iterable[ExamPlan], pace_s: float) -> Iterator[PlayedExam]:
        """The exams one after the other, one each `pace_s`; ends early when told to."""
        for number, exam in enumerate(plan):
            if number and self._around.pause(pace_s / 2):
                return
            yield self._exam(exam, pace_s)

    def finish(self, timeout_s: float) -> Counter[SimulationCount]:
        """The final flags that came back, waited for so long; the unit is switched off then."""
        try:
            return Counter({SimulationCount.FLAG: self._line.finish(timeout_s)})
        finally:
            self._line.close()

    def _exam(self, exam: ExamPlan, pace_s: float) -> PlayedExam:
        around = self._around
        identity = ReissuedIdentity(
            study_instance_uid=around.new_uid(),
            series_instance_uid=around.new_uid(),
            patient_id=f"SIM{exam.unit}-{exam.number}",
            acquired_at=around.now(),
        )
        happened: Counter[SimulationCount] = Counter({SimulationCount.EXAM: 1})
        self._say(partial(self._line.begin, identity), happened)
        stored: list[Taken] = []
        for shot in exam.shots:
            # Exposures fill the first half of an exam's time; the rest is the next patient's.
            if around.pause(pace_s / 2 / len(exam.shots)):
                break
            taken = self._expose(exam, shot, identity)
            try:
                if self._transfer(taken, shot.mishap, happened):
                    stored.append(taken)
                if shot.rejected:
                    happened[SimulationCount.RETAKE] += 1
                    self._hand_over(partial(self._line.reject, taken), happened)
            finally:
                taken.path.unlink(missing_ok=True)
            around.answered()
        self._say(partial(self._line.end, stored), happened)
        return PlayedExam(
            unit=exam.unit,
            number=exam.number,
            study_instance_uid=identity.study_instance_uid,
            images=tuple(image.sop_instance_uid for image in stored),
            happened=happened,
        )

    def _expose(self, exam: ExamPlan, shot: Shot, identity: ReissuedIdentity) -> Taken:
        return take(
            self._around.templates[exam.template],
            shot,
            identity,
            path=self._around.folder / f"{self.name}-{shot.number}.dcm",
            new_uid=self._around.new_uid,
        )

    def _transfer(self, taken: Taken, mishap: Mishap, happened: Counter[SimulationCount]) -> bool:
        """Sends one image until it has an answer; whether it was stored."""
        if mishap is not Mishap.NONE:
            happened[
                SimulationCount.FAULT if mishap is Mishap.FAULT else SimulationCount.REBOOT
            ] += 1
            try:
                self._line.break_off(taken, mishap)
            except PeerUnreachableError:
                happened[SimulationCount.RETRY] += 1
            if mishap is Mishap.REBOOT:
                self._around.pause(REBOOT_PAUSE_S)
        outcome = self._hand_over(partial(self._line.send, taken), happened)
        if outcome is Outcome.STORED:
            happened[SimulationCount.STORED] += 1
        return outcome is Outcome.STORED

    def _hand_over(
        self, send: Callable[[], Outcome], happened: Counter[SimulationCount]
    ) -> Outcome:
        """Tries until there is an answer; FAILED after all attempts, or when told to stop."""
        for _ in range(ATTEMPTS):
            try:
                outcome = send()
            except PeerUnreachableError:
                outcome = Outcome.FAILED
            if outcome is Outcome.REFUSED:
                happened[SimulationCount.REFUSED] += 1
            if outcome is not Outcome.FAILED:
                return outcome
            happened[SimulationCount.RETRY] += 1
            if self._around.pause(RETRY_PAUSE_S):
                break
        happened[SimulationCount.LOST] += 1
        return Outcome.FAILED

    def _say(self, say: Callable[[], bool], happened: Counter[SimulationCount]) -> None:
        """A beginning or an end, until it has an answer."""
        for _ in range(ATTEMPTS):
            try:
                taken = say()
            except PeerUnreachableError:
                happened[SimulationCount.RETRY] += 1
                if self._around.pause(RETRY_PAUSE_S):
                    break
            else:
                if taken:
                    return
                break
        happened[SimulationCount.STEP_REFUSED] += 1
