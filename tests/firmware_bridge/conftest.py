"""Fixtures of the unit's door: real intakes on free ports, real tools of Debian's dcmtk."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from firmware_bridge.dicom_intake.settings import DicomIntakeSettings
from firmware_bridge.dicom_intake.storage_scp import DicomIntake
from firmware_bridge.frame_intake.intake import FrameIntake
from firmware_bridge.frame_intake.settings import FrameIntakeSettings
from runtime.exams.modality_feed import ModalityFeed
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import StatusFacts
from tests.conftest import skip_or_fail
from tests.firmware_bridge.fakes import Door, FakeReceiver, answers
from tests.firmware_bridge.firmware import PIXELS, STUDY, Firmware
from tests.support.synthetic import mammogram_dataset, write
from tests.support.unit_under_test import MESSAGE_FACTORY, now_ms
from tests.support.waiting import LONG_S, wait_until


@pytest.fixture
def receiver(tmp_path):
    return FakeReceiver(tmp_path / "unit")


@pytest.fixture
def open_door(receiver):
    """Starts an intake with the settings given.

    At the end each that still runs must serve one more peer, whatever the test did to it.
    """
    intakes = []

    def start(**settings) -> Door:
        # Other tests may have the processors: who asks late is let in, unless the test is of that.
        usual = {"port": 0, "host": "127.0.0.1", "acse_timeout_s": LONG_S}
        intake = DicomIntake(DicomIntakeSettings(**(usual | settings)))
        intake.start(receiver.ports)
        intakes.append(intake)
        return Door(intake=intake, receiver=receiver)

    yield start
    for intake in intakes:
        closed_to_us = intake.settings.calling_ae_titles or intake.settings.tls
        try:
            if intake.running and not closed_to_us:
                wait_until(partial(answers, intake), "the door serves the next peer")
        finally:
            intake.stop()


@pytest.fixture
def door(open_door):
    """An intake with default settings."""
    return open_door()


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


@pytest.fixture
def open_socket(receiver, ledger, tmp_path):
    """Starts intakes; at the end each must serve one more firmware, whatever was done to it."""
    intakes = []
    receiver.feed = ModalityFeed(
        ledger=ledger, message_factory=MESSAGE_FACTORY, status_provider=StatusFacts, clock_ms=now_ms
    )

    def start(**settings):
        usual = {
            "socket": tmp_path / "frames.sock",
            "connects_at_once": 1000,
            "connects_per_s": 1000,
        }
        intake = FrameIntake(FrameIntakeSettings(**(usual | settings)))
        intake.start(receiver.ports)
        intakes.append(intake)
        return SimpleNamespace(
            intake=intake, path=intake.settings.socket, receiver=receiver, ledger=ledger
        )

    start.forget = intakes.clear
    yield start
    for intake in intakes:
        receiver.room, receiver.refuse = True, None
        if not (intake.settings.users or intake.settings.connects_at_once < 10):
            with Firmware(intake.settings.socket) as last:
                last.begin(serial="LAST", study=f"{STUDY}.99")
                answer = last.send_frame(PIXELS, study=f"{STUDY}.99", sop=f"{STUDY}.99.9")
                assert answer["type"] == "accepted", "the door does not serve the next firmware"
        intake.stop()
        assert not intake.settings.socket.exists()


@pytest.fixture
def view_file(tmp_path):
    """A small mammogram as a file."""
    return write(mammogram_dataset(rows=256, columns=208), tmp_path / "view.dcm")


@pytest.fixture
def dcmtk():
    """Runs a tool of Debian's dcmtk by its full path: pynetdicom installs some of the same name."""

    def run(tool: str, *arguments, check: bool = True) -> str:
        path = Path("/usr/bin") / tool
        if not path.exists():
            skip_or_fail(f"{path} (Debian package dcmtk)")
        done = subprocess.run(
            [path, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
        )
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output
        return output

    return run
