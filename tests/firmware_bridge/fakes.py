"""A receiver that makes objects durable for real, and a peer that speaks DICOM byte by byte."""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification

from firmware_bridge.dicom_network.reactor_pause import pause_surely
from firmware_bridge.dicom_network.transfer_syntaxes import (
    DIGITAL_MAMMOGRAPHY_FOR_PRESENTATION,
    EXPLICIT_VR_LITTLE_ENDIAN,
)
from runtime.dicom.part10_reader import read_dicom_file
from runtime.exam_rules.procedure_step import StepAnswer
from runtime.exams.intake_ports import (
    IntakePorts,
    ObjectRefusedError,
    OutOfRoomError,
    Receipt,
    Received,
)
from runtime.image.header import HeaderRefusedError
from runtime.image.reasons import Reason
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from firmware_bridge.dicom_intake.storage_scp import DicomIntake


class FakeReceiver:
    """Fsyncs and moves files like the ledger, keeps a list, and refuses what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.incoming = folder / "incoming"
        self.stored_folder = folder / "stored"
        self.incoming.mkdir(parents=True, exist_ok=True)
        self.stored_folder.mkdir(exist_ok=True)
        self.stored: list[tuple[Path, str, str]] = []
        self.reports: list[tuple[str, str, str]] = []
        self.refuse: Reason | None = None
        self.room = True
        self.room_bytes: int | None = None
        self.asked_for_room: list[int] = []
        self.fault_of_room: Exception | None = None
        self.fault_of_receive: Exception | None = None
        self.fault_of_report: Exception | None = None
        self.handed_over = 0
        self.delay_s = 0.0
        self.rejected: list[tuple[str, str, str]] = []
        self.steps: list[object] = []
        self.step_answer = StepAnswer.TAKEN
        self.fault_of_word: Exception | None = None
        self.words_refused = 0
        self.feed = None
        self._lock = threading.Lock()

    @property
    def ports(self) -> IntakePorts:
        """What an intake is given: everything is this one."""
        return IntakePorts(objects=self, notices=self, feed=self.feed, events=self)

    def check_room(self, size_bytes: int = 0) -> None:
        self.asked_for_room.append(size_bytes)
        if self.fault_of_room is not None:
            raise self.fault_of_room
        if not self.room or (self.room_bytes is not None and size_bytes > self.room_bytes):
            raise OutOfRoomError

    def receive(
        self, path: Path, *, source: str, peer: str, sha256: Callable[[], str] | None = None
    ) -> Received:
        self.handed_over += 1
        if self.fault_of_receive is not None:
            path.unlink()
            raise self.fault_of_receive
        if self.delay_s:
            threading.Event().wait(self.delay_s)
        if self.refuse is not None:
            path.unlink()
            raise ObjectRefusedError(self.refuse, "as the test wants it")
        if not self.room:
            path.unlink()
            raise OutOfRoomError
        with path.open("rb") as file:
            os.fsync(file.fileno())
            try:
                file.seek(read_dicom_file(file, frozenset()).data_set_offset)
            except HeaderRefusedError as refused:
                path.unlink()
                raise ObjectRefusedError(refused.reason, refused.detail) from refused
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        assert sha256 is None or sha256() == digest
        with self._lock:
            number = len(self.stored)
            target = self.stored_folder / f"{number}.dcm"
            path.rename(target)
            self.stored.append((target, source, peer))
        return Received(image_id=number, receipt=Receipt.STORED)

    def wait_stored(self, count: int) -> None:
        """Returns when it has so many objects."""
        wait_until(lambda: len(self.stored) == count, f"{count} objects stored")

    def close_exam(self, study_instance_uid, by):
        """Remembers what the unit said."""
        self.closed = [*getattr(self, "closed", []), (study_instance_uid, by)]

    def narrow_views(self, study_instance_uid, views):
        """Nobody asks a fake for its views."""

    def reject_image(self, study_instance_uid, sop_instance_uid, *, retake_uid=None, detail=""):
        """Remembers what was rejected."""
        self._fail_the_word()
        self.rejected.append((study_instance_uid, sop_instance_uid, detail))
        return True

    def begin_step(self, step):
        """Remembers the step."""
        self._fail_the_word()
        self.steps.append(step)
        return self.step_answer

    def end_step(self, end):
        """Remembers the end."""
        self._fail_the_word()
        self.steps.append(end)
        return self.step_answer

    def _fail_the_word(self):
        if self.fault_of_word is not None:
            self.words_refused += 1
            raise self.fault_of_word

    def report(self, event: str, detail: str, *, source: str) -> None:
        if self.fault_of_report is not None:
            raise self.fault_of_report
        self.reports.append((event, detail, source))


@dataclass(frozen=True)
class Door:
    """A running intake and what is behind it."""

    intake: DicomIntake
    receiver: FakeReceiver

    @property
    def port(self) -> int:
        return self.intake.port

    @property
    def half_received(self) -> list[Path]:
        return list(self.receiver.incoming.iterdir())


class RawPeer:
    """A peer that negotiates properly and then sends whatever bytes the test wants."""

    def __init__(
        self,
        port: int,
        *,
        sop_class: str = DIGITAL_MAMMOGRAPHY_FOR_PRESENTATION,
        transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN,
    ) -> None:
        entity = AE(ae_title="RAWPEER")
        entity.network_timeout = 10
        self.assoc = entity.associate(
            "127.0.0.1",
            port,
            contexts=[build_context(sop_class, transfer_syntax)],
            evt_handlers=[(evt.EVT_CONN_OPEN, pause_surely)],
        )
        assert self.assoc.is_established
        self.sop_class = sop_class

    def send(self, data: bytes) -> None:
        connection = self.assoc.dul.socket.socket
        if connection is None:
            raise ConnectionError("cut off")
        connection.sendall(data)

    def pdu(self, control: int, data: bytes, *, context_id: int = 1) -> bytes:
        """A P-DATA-TF PDU with one presentation data value (PS3.8 9.3.5)."""
        pdv = struct.pack(">LBB", len(data) + 2, context_id, control) + data
        return struct.pack(">BBL", 4, 0, len(pdv)) + pdv

    def command(self, *, sop_class: str | None = None, data_set: bool = True, **more) -> bytes:
        """The PDU of a C-STORE request's command set."""
        command = Dataset()
        command.AffectedSOPClassUID = sop_class or self.sop_class
        command.CommandField = 0x0001
        command.MessageID = 1
        command.Priority = 0
        command.CommandDataSetType = 0x0001 if data_set else 0x0101
        command.AffectedSOPInstanceUID = "1.2.3.4"
        for keyword, value in more.items():
            setattr(command, keyword, value)
        return self.pdu(0b11, encode(command, is_implicit_vr=True, is_little_endian=True))

    def hang_up(self) -> None:
        """Closes the connection without a word."""
        self.assoc.dul.socket._shutdown_socket()

    def wait_until_aborted(self) -> None:
        wait_until(lambda: self.assoc.is_aborted, "the abort of the association")


def answers(intake: DicomIntake) -> bool:
    """Whether an echo gets through."""
    entity = AE(ae_title="NEXT")
    entity.add_requested_context(Verification)
    titles = intake.settings.called_ae_titles or ("ANY",)
    assoc = entity.associate(
        "127.0.0.1",
        intake.port,
        ae_title=titles[0],
        evt_handlers=[(evt.EVT_CONN_OPEN, pause_surely)],
    )
    if not assoc.is_established:
        return False
    status = assoc.send_c_echo().get("Status")
    assoc.release()
    return status == 0x0000
