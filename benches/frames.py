"""How long a frame takes from its hand-over to `accepted`, against a plain write and fsync.

`python -m benches.frames`: one real unit, one broker; frames of 27 MB and plain files of the
same bytes in turn, now one first and now the other, so that whatever else the machine does meets
both. Both files stay: a unit keeps what it takes.

A virtual machine whose host takes back what is free pays for every page that it uses for the first
time (on one such, 70 ms for 27 MB against 7): far more than a write costs, and paid by whoever
happens to draw such pages. So pages are made ready before each, in the same way for both; with
`--cold-pages` neither has them.
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

from runtime.cli.init import reference_package
from tests.firmware_bridge.firmware import Firmware, frame_fields, memfd, wait_socket
from tests.support.brokers import Mosquitto
from tests.support.synthetic import breast_pixels
from tests.support.units import UnitProcess

ROWS, COLUMNS = 4096, 3328
"""27.3 MB at 16 bits: a large digital view."""
STUDY = "1.2.826.0.1.3680043.8.498.500"
GOAL = 1.3
FRAMES_TOML = """\
[intake.frames]
socket = "frames.sock"
"""


def make_pages_ready(folder: Path, content: memoryview) -> None:
    """Fills as much of the page cache and frees it: the next file gets these pages."""
    for name in ("scratch-1", "scratch-2"):
        (folder / name).write_bytes(content)
    for name in ("scratch-1", "scratch-2"):
        (folder / name).unlink()


def plain_ms(target: Path, content: memoryview) -> float:
    """Write and fsync of the same bytes, and nothing else."""
    started_s = time.perf_counter()
    with target.open("wb", buffering=0) as stream:
        stream.write(content)
        os.fsync(stream.fileno())
    return (time.perf_counter() - started_s) * 1000


def frame_ms(firmware: Firmware, descriptor: int, number: int, *, study: str) -> float:
    """From the sendmsg that hands the memory over to the answer."""
    shape = np.broadcast_to(np.uint16(0), (ROWS, COLUMNS))
    fields = frame_fields(shape, sop=f"{study}.{number}", study=study)
    started_s = time.perf_counter()
    answer = firmware.answer(firmware.say("frame", descriptor, **fields))
    spent_ms = (time.perf_counter() - started_s) * 1000
    if answer["type"] != "accepted":
        raise RuntimeError(str(answer))
    return spent_ms


def measure(folder: Path, *, repeats: int, pause_s: float, cold: bool) -> dict[str, float]:
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
            descriptor = memfd(content)

            def one_plain(number: int) -> float:
                return plain_ms(unit.folder / f"plain{number}", memoryview(content))

            def one_frame(number: int) -> float:
                return frame_ms(firmware, descriptor, number, study=STUDY)

            for number in range(repeats + 2):
                for turn in (one_plain, one_frame)[:: -1 if number % 2 else 1]:
                    if not cold:
                        make_pages_ready(unit.folder, memoryview(content))
                    spent_ms = turn(number)
                    if number >= 2:
                        (plain if turn is one_plain else frames).append(spent_ms)
                    time.sleep(pause_s)
                    firmware.ask("heartbeat")
            os.close(descriptor)
    return {
        "plain_p50_ms": median(plain),
        "plain_p95_ms": quantiles(plain, n=20)[18],
        "frame_p50_ms": median(frames),
        "frame_p95_ms": quantiles(frames, n=20)[18],
        "ratio_p50": median(frames) / median(plain),
        "goal": GOAL,
        "cold_pages": float(cold),
        "n": float(len(frames)),
    }


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--pause-s", type=float, default=0.5, help="the worker judges meanwhile")
    parser.add_argument("--cold-pages", action="store_true")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = measure(
            Path(folder),
            repeats=arguments.repeats,
            pause_s=arguments.pause_s,
            cold=arguments.cold_pages,
        )
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=2))


if __name__ == "__main__":
    main()
