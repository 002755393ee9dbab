"""How many files a reader must open who follows one image through the control process."""

from __future__ import annotations

import json

from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.sender.storage_scu import Outcome, StorageScu, outgoing
from tests.conftest import skip_or_fail
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.exams import write_exam
from tests.support.packages import build_package
from tests.support.units import UnitProcess
from tests.support.waiting import wait_until

IMAGES = 5
MOST_FILES = 55


def test_an_image_passes_few_files(tmp_path, capsys):
    """From the hand-over by the intake to the acknowledged flag; the files are printed.

    The fewest of several images: what time alone makes due (status, health) is not on its way.
    """
    if reason := mosquitto_missing():
        skip_or_fail(reason)
    package = build_package(tmp_path / "packages", score="brightness")
    record = tmp_path / "record.jsonl"
    record.touch()
    with (
        Mosquitto(tmp_path / "broker") as broker,
        UnitProcess(
            tmp_path / "unit",
            package=package,
            broker_port=broker.port,
            command=("-m", "tests.end_to_end.unit_with_trace"),
        ) as unit,
    ):
        unit.start("--record", str(record)).wait_listening()
        unit.wait_log("worker ready")
        unit.wait_log("connected")
        for number in range(IMAGES):
            exam = write_exam(tmp_path / "exams", number, rows=64, columns=52, views=("RCC",))
            image = outgoing(exam.files["RCC"])
            with StorageScu(Destination.parse(unit.address), [image]) as sender:
                assert sender.send(image).outcome is Outcome.STORED
            wait_until(
                lambda number=number: len(record.read_text().splitlines()) > number,
                "the flag is acknowledged",
            )
    files = min((json.loads(line) for line in record.read_text().splitlines()), key=len)
    with capsys.disabled():
        print(f"\none image passes {len(files)} files:", *files, sep="\n  ")
    assert "runtime/exams/spooler.py" in files
    assert "runtime/mqtt/session.py" in files
    assert len(files) <= MOST_FILES
