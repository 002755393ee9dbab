"""The door in a process of its own: its memory, and what kill -9 leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_bridge.fakes import RawPeer
from tests.support.synthetic import mammogram_dataset, write
from tests.support.waiting import joined, next_line, wait_until

MEMORY_LIMIT_MB = 150.0
HOST = """
import sys
from pathlib import Path
from firmware_bridge.dicom_intake.storage_scp import DicomIntake
from firmware_bridge.dicom_intake.settings import DicomIntakeSettings
from tests.firmware_bridge.fakes import FakeReceiver
intake = DicomIntake(DicomIntakeSettings(port=0, host="127.0.0.1"))
intake.start(FakeReceiver(Path(sys.argv[1])).ports)
print(intake.port, flush=True)
sys.stdin.readline()
# Not ru_maxrss: Linux carries that over from the parent at exec.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) / 1024, flush=True)
intake.stop()
"""


@pytest.fixture(scope="module")
def full_size_views(tmp_path_factory):
    """Four images of 4096 x 3328, 27 MB each."""
    folder = tmp_path_factory.mktemp("views")
    noise = np.random.default_rng(0).integers(0, 4096, (4096, 3328), dtype=np.uint16)
    return [
        write(mammogram_dataset(pixels=noise, sop_uid=f"1.2.3.{number}"), folder / f"{number}.dcm")
        for number in range(4)
    ]


@pytest.fixture
def host(tmp_path):
    """Starts an intake in a process of its own, always on the same folder."""
    root = Path(__file__).resolve().parents[3]
    processes = []

    def start() -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOST, tmp_path / "unit"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


@pytest.fixture
def hosted(host):
    """An intake in a process of its own."""
    return host()


def test_a_killed_process_leaves_no_half_object_for_long(host, tmp_path):
    """kill -9 in the middle of an object: the next start removes what was half received."""
    first = host()
    peer = RawPeer(int(next_line(first.stdout, "the port")))
    peer.send(peer.command() + peer.pdu(0b00, bytes(100_000)))
    incoming = tmp_path / "unit" / "incoming"
    wait_until(lambda: any(incoming.iterdir()), "an object has begun")
    first.kill()
    first.wait(10)
    assert any(incoming.iterdir())
    second = host()
    int(next_line(second.stdout, "the port"))
    assert list(incoming.iterdir()) == []


def test_ten_associations_at_once_stay_below_150_mb(hosted, dcmtk, full_size_views):
    """Ten senders of 27 MB objects: peak memory of the receiving process, imports included."""
    port = int(next_line(hosted.stdout, "the port"))
    outputs = []

    def send():
        outputs.append(dcmtk("storescu", "-v", "127.0.0.1", port, *full_size_views[:2]))

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread, "storescu", 200)
    assert sum(output.count("(Success)") for output in outputs) == 20
    hosted.stdin.write("\n")
    hosted.stdin.flush()
    peak_mb = float(next_line(hosted.stdout, "the memory"))
    print(f"peak memory with ten associations: {peak_mb:.0f} MB")
    assert peak_mb <= MEMORY_LIMIT_MB
