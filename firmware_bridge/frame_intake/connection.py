"""One firmware's connection: its messages to the ledger, answers and flags back."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from firmware_bridge.frame_intake.flag_sender import FlagSender
from firmware_bridge.frame_intake.unit_events import event_of
from firmware_bridge.frame_protocol.messages import (
    Accepted,
    Acknowledged,
    BridgeHeartbeat,
    Capability,
    Detector,
    ExamClosed,
    ExamOpened,
    Exposure,
    Fault,
    Frame,
    Heartbeat,
    Hello,
    Refusal,
    Refused,
    Repeat,
)
from firmware_bridge.frame_protocol.packet_socket import PeerGoneError
from firmware_bridge.frame_protocol.protocol import (
    FrameProtocol,
    MessageRefusedError,
    encode_answer,
)
from runtime.exam_rules.exam_flag import Completion
from runtime.ledger.ledger import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from firmware_bridge.frame_intake.frame_ingest import FrameIngest
    from firmware_bridge.frame_intake.settings import FrameIntakeSettings
    from firmware_bridge.frame_protocol.messages import Answer, Said
    from firmware_bridge.frame_protocol.packet_socket import FrameSocket
    from firmware_bridge.frame_protocol.protocol import Packet
    from runtime.exams.intake_ports import Feed, NoticeReceiver

LOGGER = logging.getLogger(__name__)
SILENT_HEARTBEATS = 3


class FrameConnection:
    """Lives in two threads: one reads, one speaks; frames are taken in the intake's pool.

    Args:
        socket: connected, its peer is allowed.
        notices: takes what the firmware says about exams.
        feed: takes its events, and has what it hears.
        settings: of the intake.
        pool: takes frames.
        ingest: what it does with them.
        refused: told of every refusal that is worth an operator's while.
        greeted: told once the firmware has said hello.
    """

    def __init__(
        self,
        socket: FrameSocket,
        *,
        notices: NoticeReceiver,
        feed: Feed,
        settings: FrameIntakeSettings,
        pool: Executor,
        ingest: FrameIngest,
        refused: Callable[[Refused], None],
        greeted: Callable[[FrameConnection, str], None],
    ) -> None:
        self._socket = socket
        self._notices = notices
        self._feed = feed
        self._settings = settings
        self._pool = pool
        self._refused = refused
        self._greeted = greeted
        self._ingest = ingest
        self._protocol = FrameProtocol()
        self._flag_sender: FlagSender | None = None
        self._speaker: threading.Thread | None = None
        self._over = threading.Event()
        self._in_flight = 0
        self._unanswered = 0
        self._frames_changed = threading.Condition()

    def serve(self) -> None:
        """Reads until the peer goes or is sent away; frames that are being taken finish first."""
        try:
            while self._read_one():
                pass
        except PeerGoneError:
            LOGGER.info("the firmware's connection ended")
        finally:
            self._over.set()
            self._wait_for_frames()
            self._socket.cut()
            if self._speaker is not None:
                self._feed.wake()
                self._speaker.join()
            self._socket.close()

    def hang_up(self) -> None:
        """Nothing more is read; what was received finishes. Any thread."""
        self._socket.hang_up()

    def replace(self) -> None:
        """A newer connection of the same unit took over. Any thread."""
        self._say_last(Refused(id=None, reason=Refusal.REPLACED))

    # --- reading ---------------------------------------------------------------------------------

    def _read_one(self) -> bool:
        """Whether there may be more."""
        silence_s = SILENT_HEARTBEATS * self._settings.heartbeat_s
        with self._socket.receive(silence_s) as received:
            if received is None:
                self._refuse(MessageRefusedError(Refusal.SILENT, id=None))
                return False
            packet, descriptors = received
            try:
                self._take(packet, descriptors)
            except MessageRefusedError as refused:
                self._refuse(refused)
                # A hello that could not be taken leaves nothing to go on with.
                return self._protocol.hello is None or self._speaker is not None
        return True

    def _take(self, packet: Packet, descriptors: list[int]) -> None:
        message = self._protocol.receive(packet)
        try:
            answer = self._answer(message, descriptors)
        except LedgerError as error:
            LOGGER.error("%s", error)  # noqa: TRY400 - no defect of ours: a full disk, say
            raise self._busy(message, "the ledger cannot be written") from error
        if answer is not None:
            self._send(answer)

    def _answer(self, message: Said, descriptors: list[int]) -> Answer | None:
        """What to say at once; None where the answer comes later, or has gone out already."""
        answer: Answer | None = None
        match message:
            case Frame():
                self._begin(message, descriptors[0])
            case Acknowledged():
                self._acknowledge(message)
            case Hello():
                self._greet(message)
            case Heartbeat():
                answer = BridgeHeartbeat(id=message.id)
            case ExamOpened():
                if message.expected_views:
                    self._notices.narrow_views(message.study_instance_uid, message.expected_views)
                answer = Accepted(id=message.id)
            case ExamClosed():
                # The frames before it belong to the exam: it is closed behind them.
                self._wait_for_frames()
                self._notices.close_exam(message.study_instance_uid, Completion.EXAM_CLOSED)
                answer = Accepted(id=message.id)
            case Repeat():
                # Says the event itself, once, however often the firmware says it.
                self._notices.reject_image(
                    message.study_instance_uid,
                    message.sop_instance_uid,
                    retake_uid=message.retake_uid,
                    detail=message.reason,
                )
                answer = Accepted(id=message.id)
            case Exposure() | Fault() | Detector():
                self._feed.tell(event_of(message))
                answer = Accepted(id=message.id)
        return answer

    def _greet(self, hello: Hello) -> None:
        """Answers itself: nothing may come before the answer to hello."""
        if Capability.OUTCOMES in hello.capabilities:
            self._flag_sender = FlagSender(
                feed=self._feed, listener=hello.serial, send=self._socket.send
            )
        self._greeted(self, hello.serial)
        self._send(
            Accepted(
                id=hello.id,
                heartbeat_ms=round(self._settings.heartbeat_s * 1000),
                max_in_flight=self._settings.max_in_flight,
                max_frame_bytes=self._settings.max_frame_bytes,
            )
        )
        self._speaker = threading.Thread(target=self._speak, name="frames-speaker", daemon=True)
        self._speaker.start()

    def _acknowledge(self, message: Acknowledged) -> None:
        if self._flag_sender is None or not self._flag_sender.acknowledged(message.seq):
            raise MessageRefusedError(
                Refusal.OUT_OF_ORDER, id=message.id, detail="acknowledged: that was never said"
            )

    def _busy(self, message: Said, detail: str) -> MessageRefusedError:
        return MessageRefusedError(
            Refusal.BUSY,
            id=message.id,
            detail=detail,
            retry_after_ms=self._settings.retry_after_ms,
        )

    # --- frames ----------------------------------------------------------------------------------

    def _begin(self, frame: Frame, descriptor: int) -> None:
        hello = self._protocol.hello
        if hello is None:
            raise RuntimeError("the table lets no frame in before hello")
        with self._frames_changed:
            if self._in_flight >= self._settings.max_in_flight:
                raise self._busy(frame, f"{self._in_flight} frames are being taken")
            self._in_flight += 1
            self._unanswered += 1
        exam = self._protocol.exam(frame.study_instance_uid)
        # The reader closes its own; the pool has the memory for as long as it needs.
        taken_over, resources = os.dup(descriptor), ExitStack()
        resources.callback(os.close, taken_over)
        future = self._pool.submit(
            self._ingest.take,
            frame,
            exam=exam,
            unit=hello,
            descriptor=taken_over,
            resources=resources,
        )
        future.add_done_callback(partial(self._finish, frame, resources))

    def _finish(self, frame: Frame, resources: ExitStack, future: Future[Accepted]) -> None:
        """Every frame gets an answer, whatever became of it; then its memory goes."""
        with self._frames_changed:
            # Before the answer: whoever has it may hand the next one over.
            self._in_flight -= 1
        error = future.exception()
        try:
            if error is None:
                self._send(future.result())
            elif isinstance(error, MessageRefusedError):
                self._refuse(error)
            else:
                LOGGER.error("a frame could not be taken", exc_info=error)
                self._refuse(MessageRefusedError(Refusal.FAILED, id=frame.id))
        except PeerGoneError:
            LOGGER.info("the firmware did not wait for the answer to a frame")
        finally:
            with self._frames_changed:
                self._unanswered -= 1
                self._frames_changed.notify_all()
            resources.close()

    def _wait_for_frames(self) -> None:
        with self._frames_changed:
            self._frames_changed.wait_for(lambda: self._unanswered == 0)

    # --- speaking --------------------------------------------------------------------------------

    def _speak(self) -> None:
        """Heartbeats, and what the firmware wants to hear."""
        version = 0
        heartbeat_s = time.monotonic() + self._settings.heartbeat_s
        try:
            while not self._over.is_set():
                if self._flag_sender is not None:
                    self._flag_sender.deliver()
                    self._flag_sender.say_status()
                now_s = time.monotonic()
                if now_s >= heartbeat_s:
                    self._send(BridgeHeartbeat(id=0))
                    heartbeat_s = now_s + self._settings.heartbeat_s
                version = self._feed.wait(version, max(0.0, heartbeat_s - now_s))
        except PeerGoneError:
            LOGGER.info("the firmware does not read any more")
        except LedgerError as error:
            LOGGER.error("%s", error)  # noqa: TRY400 - no defect of ours: a full disk, say
        finally:
            # The firmware sees that nobody speaks any more, and comes back.
            self._socket.cut()

    def _send(self, answer: Answer) -> None:
        self._socket.send(encode_answer(answer))

    def _refuse(self, refused: MessageRefusedError) -> None:
        self._refused(refused.answer)
        self._send(refused.answer)

    def _say_last(self, answer: Answer) -> None:
        try:
            self._send(answer)
        except PeerGoneError:
            LOGGER.info("the firmware was gone already")
        self._socket.cut()
