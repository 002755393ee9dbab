"""A simulated unit that speaks to the frame socket, and hears its flags from there."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from firmware_bridge.frame_protocol.messages import (
    VERSION,
    Accepted,
    Capability,
    Detector,
    ExamClosed,
    ExamOpened,
    Fault,
    Hello,
    Refused,
    Repeat,
)
from firmware_bridge.sender.storage_scu import Outcome, PeerUnreachableError
from firmware_bridge.simulated_exams.phantom_image import NOT_A_PATIENT
from firmware_bridge.simulated_exams.unit_plan import Mishap
from firmware_bridge.simulator.frame_client import FrameClient, sealed_memory
from firmware_bridge.simulator.frame_of_image import NoFrameError, spoken

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from firmware_bridge.frame_protocol.messages import Said
    from firmware_bridge.simulated_exams.exam_source import Taken
    from firmware_bridge.simulated_exams.reissue import ReissuedIdentity
    from firmware_bridge.simulator.frame_of_image import SpokenImage

LOGGER = logging.getLogger(__name__)
REASON = "positioning"
FAULT_CODES = {Mishap.FAULT: "link_lost", Mishap.REBOOT: "restarted"}
DETECTOR_C, WARMER_PER_IMAGE_C = 29.0, 0.2
"""What the simulated detector says of itself: at rest, and for each exposure of the exam."""
RECONNECT_S = 0.5


class FrameTransport:
    """Implements `UnitLine`; one connection that lasts, made anew where it ended.

    Args:
        name: the serial number.
        socket: path of the frame socket.
        closes_exams: whether the end of an exam is said.
    """

    def __init__(self, name: str, *, socket: Path, closes_exams: bool) -> None:
        self._socket = socket
        self._closes_exams = closes_exams
        self._hello = Hello(
            type="hello",
            version=VERSION,
            id=0,
            serial=name,
            manufacturer="mammoedge",
            model="simulated unit",
            capabilities=(Capability.FRAMES, Capability.OUTCOMES),
        )
        self._client: FrameClient | None = None
        self._exam: ReissuedIdentity | None = None
        self._opened = False
        self._images = 0
        self._fault: Mishap | None = None
        self._studies: set[str] = set()
        self._finals: set[str] = set()
        self._news = threading.Condition()

    def begin(self, exam: ReissuedIdentity) -> bool:
        """`exam_opened`."""
        self._exam, self._opened, self._images = exam, False, 0
        self._studies.add(exam.study_instance_uid)
        self._in_exam()
        return self._opened

    def send(self, taken: Taken) -> Outcome:
        """`exposure`, then `frame`; a frame that was on its way when the line broke is `known`."""
        image = self._image(taken)
        if image is None:
            return Outcome.REFUSED
        client = self._in_exam()
        if not self._opened:
            return Outcome.REFUSED
        self._images += 1
        warmth = {"detector_temperature_c": DETECTOR_C + WARMER_PER_IMAGE_C * self._images}
        client.ask(image.exposure.model_copy(update=warmth))
        descriptor = sealed_memory(image.pixels)
        try:
            return _outcome(client.ask(image.frame, descriptor))
        finally:
            os.close(descriptor)

    def break_off(self, taken: Taken, mishap: Mishap) -> None:
        """Dies between the hand-over of a frame and its answer."""
        image = self._image(taken)
        if image is None:
            return
        client = self._in_exam()
        descriptor = sealed_memory(image.pixels)
        try:
            client.say(image.frame, descriptor)
        finally:
            os.close(descriptor)
            self._fault = mishap
            self.close()

    def reject(self, taken: Taken) -> Outcome:
        """`repeat`; the next image of the view is the retake."""
        exam = self._exam
        if exam is None:
            raise RuntimeError("no exam has begun")
        return _outcome(
            self._in_exam().ask(
                Repeat(
                    type="repeat",
                    version=VERSION,
                    id=0,
                    study_instance_uid=exam.study_instance_uid,
                    sop_instance_uid=taken.sop_instance_uid,
                    reason=REASON,
                )
            )
        )

    def end(self, images: Sequence[Taken]) -> bool:
        """`exam_closed`."""
        del images  # the bridge has answered each of them
        exam = self._exam
        if exam is None or not self._closes_exams:
            return exam is not None
        closed = ExamClosed(
            type="exam_closed", version=VERSION, id=0, study_instance_uid=exam.study_instance_uid
        )
        return isinstance(self._in_exam().ask(closed), Accepted)

    def finish(self, timeout_s: float) -> int:
        """The unit's exams whose final flag has come back, waited for so long."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                self._connected()
            except PeerUnreachableError:
                threading.Event().wait(min(left_s, RECONNECT_S))
                continue
            with self._news:
                if self._news.wait_for(self._all_final, min(left_s, RECONNECT_S)):
                    break
        with self._news:
            return len(self._finals & self._studies)

    def close(self) -> None:
        """Ends the connection without a word."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._opened = False

    # --- the connection --------------------------------------------------------------------------

    def _connected(self) -> FrameClient:
        """The connection, made anew where it ended; what broke it is said first."""
        if self._client is None or not self._client.alive:
            self.close()
            self._client = FrameClient(self._socket, hello=self._hello, heard=self._heard)
            self._say(Detector(type="detector", version=VERSION, id=0, temperature_c=DETECTOR_C))
            fault, self._fault = self._fault, None
            if fault is not None:
                code = FAULT_CODES[fault]
                self._say(Fault(type="fault", version=VERSION, id=0, code=code, severity="warning"))
        return self._client

    def _in_exam(self) -> FrameClient:
        """The connection, with the exam open on it (a firmware that rebooted opens it again)."""
        client, exam = self._connected(), self._exam
        if exam is not None and not self._opened:
            opened = ExamOpened(
                type="exam_opened",
                version=VERSION,
                id=0,
                study_instance_uid=exam.study_instance_uid,
                patient_id=exam.patient_id,
                patient_name=NOT_A_PATIENT,
            )
            self._opened = isinstance(client.ask(opened), Accepted)
        return client

    def _say(self, message: Said) -> None:
        if self._client is not None:
            self._client.ask(message)

    def _image(self, taken: Taken) -> SpokenImage | None:
        """None where the socket has no words for the image (see NoFrameError)."""
        try:
            return spoken(taken.path, instance_number=self._images + 1)
        except NoFrameError as fault:
            LOGGER.warning("%s: no frame can be made of the image: %s", self._hello.serial, fault)
            return None

    def _heard(self, message: dict[str, Any]) -> None:
        """On the client's thread. Every exam of the bridge is heard; ours are counted."""
        if message["type"] == "exam_flag" and message.get("final"):
            with self._news:
                self._finals.add(message["study_instance_uid"])
                self._news.notify_all()

    def _all_final(self) -> bool:
        return self._studies <= self._finals


def _outcome(answer: Accepted | Refused) -> Outcome:
    """`retry_after_ms` stands where another try may help."""
    if isinstance(answer, Accepted):
        return Outcome.STORED
    return Outcome.REFUSED if answer.retry_after_ms is None else Outcome.FAILED
