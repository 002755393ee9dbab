"""What is refused or malformed says nothing of a patient: not in logs, events, answers, reasons."""

from __future__ import annotations

import logging
import struct
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from pydicom.uid import CTImageStorage

from firmware_bridge.dicom_intake.settings import DicomIntakeSettings
from firmware_bridge.dicom_intake.storage_scp import DicomIntake
from firmware_bridge.folder_intake.intake import FolderIntake, FolderIntakeSettings
from runtime.exams.intake_ports import IntakePorts, Receipt, Received
from runtime.exams.spooler import Spooler, SpoolLimits
from tests.firmware_bridge.fakes import RawPeer
from tests.support.synthetic import mammogram_dataset, write
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from runtime.exams.registration import SpooledObject

NAME, NUMBER, UID = "DOE^JANE", "PID4711", "1.2.826.0.1.4711.99"
SECRETS = (NAME, NUMBER, UID)
DATA_SET_OF_META = 144


def named(**changes):
    """A mammogram of somebody."""
    ds = mammogram_dataset(rows=16, columns=16)
    ds.PatientName, ds.PatientID, ds.StudyInstanceUID = NAME, NUMBER, UID
    ds.SOPInstanceUID = "1.2.3.4"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def data_set(content: bytes) -> bytes:
    return content[DATA_SET_OF_META + struct.unpack_from("<I", content, 140)[0] :]


def another_modality(folder):
    return write(named(SOPClassUID=CTImageStorage), folder / "x").read_bytes()


def name_as_uid(folder):
    return write(named(StudyInstanceUID=NAME), folder / "x").read_bytes()


def uid_with_a_name(folder):
    return write(named(SOPInstanceUID=f"{UID}.{NAME}"), folder / "x").read_bytes()


def cut_off(folder):
    content = write(named(), folder / "x").read_bytes()
    return content[: content.index(NAME.encode()) + 4]


def names_everywhere(folder):
    """Texts where numbers, codes and dates belong."""
    content = write(named(), folder / "x").read_bytes()
    return content.replace(b"MG", b"M^").replace(UID.encode(), (NAME + UID).encode()[: len(UID)])


def modality_as_a_sequence(folder):
    """With an item that pydicom cannot convert."""
    content = write(named(StudyInstanceUID=""), folder / "x").read_bytes()
    name = struct.pack("<HH2sH", 0x10, 0x10, b"US", len(NAME) + 1) + NAME.encode() + b"x"
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(name)) + name
    element = struct.pack("<HH2sHI", 0x8, 0x60, b"SQ", 0, len(item)) + item
    start = len(content) - len(data_set(content))
    return content[:start] + element + content[start:]


MALFORMED = [
    another_modality,
    name_as_uid,
    uid_with_a_name,
    cut_off,
    names_everywhere,
    modality_as_a_sequence,
]


class Registration:
    """Takes everything."""

    jobs_open = 0
    ledger_fault = None

    def receive(self, _spooled: SpooledObject):
        return Received(image_id=1, receipt=Receipt.STORED)


@dataclass
class Heard:
    """What came out of the unit; takes its events."""

    events: list[str] = field(default_factory=list)
    warnings: list[warnings.WarningMessage] = field(default_factory=list)

    def publish_refusal(self, kind, detail) -> None:
        self.events.append(f"{kind} {detail}")

    def report(self, kind, detail, *, source) -> None:
        self.events.append(f"{kind} {source}: {detail}")

    def check(self, *more: str) -> None:
        said = " ".join([*self.events, *(str(w.message) for w in self.warnings), *more])
        for secret in SECRETS:
            assert secret not in said
        assert "DOE" not in said


@pytest.fixture
def heard():
    found = Heard()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found.warnings = caught
        yield found


@pytest.fixture
def spooler(tmp_path, heard, caplog):
    """The real one; whatever is logged is kept."""
    caplog.set_level(logging.DEBUG)
    return Spooler(
        folder=tmp_path / "unit",
        limits=SpoolLimits(reserve_bytes=0, max_waiting_images=10, max_object_bytes=1 << 30),
        registration=Registration(),
        worker=Mock(),
        events=heard,
    )


@pytest.mark.parametrize("malformed", MALFORMED)
def test_a_file_in_the_folder_leaks_nothing(malformed, spooler, heard, caplog, tmp_path):
    """Log, events, pydicom's warnings, and the text beside the file; nor does its name."""
    content = malformed(tmp_path)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / f"{NAME}.dcm").write_bytes(content)
    heard.warnings.clear()
    caplog.clear()
    intake = FolderIntake(FolderIntakeSettings(folder=inbox, settle_s=0.05, rescan_s=0.2))
    intake.start(IntakePorts(objects=spooler, notices=Mock(), feed=Mock(), events=heard))
    reason = inbox / "refused" / f"{NAME}.dcm.reason.txt"
    wait_until(reason.exists, "the reason is written")
    intake.stop()
    assert heard.events
    heard.check(caplog.text, reason.read_text())


@pytest.mark.parametrize("malformed", MALFORMED)
def test_an_object_over_dicom_leaks_nothing(malformed, spooler, heard, caplog, tmp_path):
    """Log, events, pydicom's warnings, and the Error Comment; nor does the calling title leave."""
    content = data_set(malformed(tmp_path))
    intake = DicomIntake(DicomIntakeSettings(port=0, host="127.0.0.1"))
    intake.start(IntakePorts(objects=spooler, notices=Mock(), feed=Mock(), events=heard))
    peer = RawPeer(intake.port)
    peer.assoc._reactor_checkpoint.clear()
    wait_until(lambda: peer.assoc._is_paused, "the reactor pauses")
    heard.warnings.clear()
    caplog.clear()
    peer.send(peer.command() + peer.pdu(0b10, content))
    _, response = peer.assoc.dimse.get_msg(block=True)
    assert response.Status in (0x0122, 0xA900, 0xC000)
    heard.check(caplog.text, str(response.ErrorComment))
    assert not any("RAWPEER" in event for event in heard.events)
    peer.assoc._reactor_checkpoint.set()
    peer.assoc.release()
    intake.stop()
