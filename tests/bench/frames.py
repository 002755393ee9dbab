"""How long a frame takes from its hand-over to `accepted`, against a plain write and fsync.

`python -m tests.bench.frames`: one real unit, one broker; frames of 27 MB and plain files of the
same bytes in turn, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import numpy as np

from runtime.unit_file import reference_package
from tests.brokers import Mosquitto
from tests.firmware_bridge.firmware import Firmware, frame_fields, memfd, wait_socket
from tests.synthetic import breast_pixels
from tests.units import UnitProcess

ROWS, COLUMNS = 4096, 3328
"""27.3 MB at 16 bits: a large digital view."""
STUDY = "1.2.826.0.1.3680043.8.498.500"
GOAL = 1.3
FRAMES_TOML = """\
[intake.frames]
socket = "frames.sock"
"""


def plain_ms(folder: Path, content: memoryview) -> float:
    """Write and fsync of the same bytes, and nothing else."""
    target = folder / "plain"
    started_s = time.perf_counter()
    with target.open("wb", buffering=0) as stream:
        stream.write(content)
        os.fsync(stream.fileno())
    spent_ms = (time.perf_counter() - started_s) * 1000
    target.unlink()
    return spent_ms


def frame_ms(firmware: Firmware, content: bytes, number: int, *, study: str) -> float:
    """From the sendmsg that hands the memory over to the answer."""
    descriptor = memfd(content)
    shape = np.broadcast_to(np.uint16(0), (ROWS, COLUMNS))
    fields = frame_fields(shape, sop=f"{study}.{number}", study=study)
    started_s = time.perf_counter()
    answer = firmware.answer(firmware.say("frame", descriptor, **fields))
    spent_ms = (time.perf_counter() - started_s) * 1000
    os.close(descriptor)
    if answer["type"] != "accepted":
        raise RuntimeError(str(answer))
    return spent_ms


def measure(folder: Path, *, repeats: int, pause_s: float) -> dict[str, float]:
    """Milliseconds: p50 and p95 of both, and the ratio of the medians."""
    content = breast_pixels(rows=ROWS, columns=COLUMNS, seed=1).astype("<u2").tobytes()
    plain, frames = [], []
    with (
        Mosquitto(folder / "broker") as broker,
        UnitProcess(
            folder / "unit",
            package=reference_package(),
            precision="int8",
            broker_port=broker.port,
            more_toml=FRAMES_TOML,
        ) as unit,
    ):
        unit.start().wait_listening(180)
        unit.wait_log("worker ready", 180)
        socket_path = unit.folder / "frames.sock"
        wait_socket(socket_path)
        with Firmware(socket_path, timeout_s=60) as firmware:
            firmware.begin("frames", study=STUDY)
            for number in range(repeats + 2):
                spent = (
                    plain_ms(unit.folder, memoryview(content)),
                    frame_ms(firmware, content, number, study=STUDY),
                )
                time.sleep(pause_s)
                firmware.ask("heartbeat")
                if number >= 2:
                    plain.append(spent[0])
                    frames.append(spent[1])
    return {
        "plain_p50_ms": median(plain),
        "plain_p95_ms": quantiles(plain, n=20)[18],
        "frame_p50_ms": median(frames),
        "frame_p95_ms": quantiles(frames, n=20)[18],
        "ratio_p50": median(frames) / median(plain),
        "goal": GOAL,
        "n": float(len(frames)),
    }


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--pause-s", type=float, default=0.5, help="the worker judges meanwhile")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = measure(Path(folder), repeats=arguments.repeats, pause_s=arguments.pause_s)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=2))


if __name__ == "__main__":
    main()
