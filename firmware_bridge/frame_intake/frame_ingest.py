"""One frame from the firmware's memory to a durable image, or to the reason why not."""

from __future__ import annotations

import hashlib
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_bridge.frame_object.dicom_object import data_set_offset_of, head_of
from firmware_bridge.frame_object.frame_file import write_frame
from firmware_bridge.frame_object.frame_pixels import mapped_pixels
from firmware_bridge.frame_protocol.messages import Accepted, Refusal
from firmware_bridge.frame_protocol.protocol import MessageRefusedError
from runtime.exams.intake_ports import FRAMES, ObjectRefusedError, OutOfRoomError
from runtime.ledger.ledger import LedgerError
from runtime.system.kernel_hints import populate

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from contextlib import ExitStack

    from firmware_bridge.frame_intake.settings import FrameIntakeSettings
    from firmware_bridge.frame_protocol.messages import ExamOpened, Frame, Hello
    from runtime.exams.intake_ports import ObjectReceiver

OUT_OF_ROOM_FACTOR = 4
"""A disk is not emptied as fast as a queue."""


@dataclass(frozen=True, kw_only=True)
class FrameIngest:
    """Takes frames; any thread but those of `hashers`."""

    objects: ObjectReceiver
    settings: FrameIntakeSettings
    hashers: Executor

    def take(
        self,
        frame: Frame,
        *,
        exam: ExamOpened,
        unit: Hello,
        descriptor: int,
        resources: ExitStack,
    ) -> Accepted:
        """The receipt of a frame that is fsynced and in the ledger.

        The memory stays mapped in `resources`: to let go of 27 MB takes longer than to answer.

        Raises:
            MessageRefusedError: nothing of it was kept.
        """
        if frame.size_bytes > self.settings.max_frame_bytes:
            raise MessageRefusedError(
                Refusal.TOO_LARGE,
                id=frame.id,
                detail=f"at most {self.settings.max_frame_bytes} bytes of pixels",
            )
        try:
            pixels = resources.enter_context(mapped_pixels(frame, descriptor))
            self.objects.check_room(frame.size_bytes)
            head = head_of(frame, exam, unit)
            # Sealed memory does not change: it is hashed while it goes to the disk.
            hashing = self.hashers.submit(_sha256, head, pixels)
            try:
                path = write_frame(self.objects.incoming, head, pixels)
                received = self.objects.receive(
                    path, source=FRAMES, peer=unit.serial, sha256=hashing.result
                )
            finally:
                wait([hashing])  # before the memory goes
        except ObjectRefusedError as refused:
            raise MessageRefusedError(refused.reason, id=frame.id) from refused
        except (OutOfRoomError, LedgerError, OSError) as error:
            # A full disk and a backlog pass; the firmware keeps the frame meanwhile.
            raise MessageRefusedError(
                Refusal.BUSY,
                id=frame.id,
                detail="out of room",
                retry_after_ms=OUT_OF_ROOM_FACTOR * self.settings.retry_after_ms,
            ) from error
        return Accepted(id=frame.id, receipt=received.receipt)


def _sha256(head: bytes, pixels: memoryview) -> str:
    """Of the data set alone, as the receiver knows images; gets the memory ready for both."""
    populate(pixels)
    digest = hashlib.sha256(memoryview(head)[data_set_offset_of(head) :])
    digest.update(pixels)
    return digest.hexdigest()
