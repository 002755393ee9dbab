"""Four 27 MB views from dcmtk's storescu: into a real unit, and into dcmtk's own storescp.

`python -m benches.store`: both in turn, so that whatever else the machine does meets both. Ours
answers after fsync and commit, and judges the views between the runs; storescp does neither.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from pydicom import dcmread

from runtime.cli.init import reference_package
from tests.support.brokers import Mosquitto, free_port
from tests.support.exams import write_exam
from tests.support.units import UnitProcess
from tests.support.waiting import CHILD_S, wait_until

STORESCU, STORESCP = Path("/usr/bin/storescu"), Path("/usr/bin/storescp")
ROWS, COLUMNS = 4096, 3328
"""27.3 MB at 16 bits: a large digital view."""
GOAL = 1.0


@contextmanager
def storescp(folder: Path):
    """dcmtk's receiver; its port."""
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen([STORESCP, "-od", folder, str(port)])
    try:
        wait_until(lambda: _listens(port), "storescp listens")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def renew(files: list[Path], uids: dict[Path, str], run: int) -> None:
    """New images for a new run: other UIDs of the same length, written in place."""
    for path in files:
        old = uids[path]
        new = old[: -len("000")] + f"{run:03}"
        with path.open("r+b") as stream:
            head = stream.read(1 << 14)
            stream.seek(0)
            stream.write(head.replace(old.encode(), new.encode()))
        uids[path] = new


def store_s(port: int, title: str, files: list[Path]) -> float:
    """Seconds that storescu takes for the files, its start included."""
    started_s = time.perf_counter()
    subprocess.run(
        [STORESCU, "-aec", title, "127.0.0.1", str(port), *files],
        check=True,
        capture_output=True,
        timeout=CHILD_S,
    )
    return time.perf_counter() - started_s


def measure(folder: Path, *, repeats: int, pause_s: float) -> dict[str, float]:
    """Seconds for four views, both ways, and the ratio of the medians."""
    files = list(write_exam(folder / "views", 1, rows=ROWS, columns=COLUMNS).files.values())
    for number, path in enumerate(files):
        image = dcmread(path)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}.100"
        image.save_as(path)
    uids = {path: f"1.2.{number}.100" for number, path in enumerate(files)}
    ours, theirs = [], []
    with (
        Mosquitto(folder / "broker") as broker,
        UnitProcess(
            folder / "unit", package=reference_package(), precision="int8", broker_port=broker.port
        ) as unit,
        storescp(folder / "dcmtk") as port,
    ):
        unit.start().wait_listening(180)
        unit.wait_log("worker ready", 180)
        for run in range(101, 101 + repeats):
            renew(files, uids, run)
            ours.append(store_s(unit.dicom_port, "UNIT", files))
            time.sleep(pause_s)
            theirs.append(store_s(port, "ANY", files))
            for stored in (folder / "dcmtk").iterdir():
                stored.unlink()
    return {
        "unit_p50_s": median(ours),
        "unit_least_s": min(ours),
        "storescp_p50_s": median(theirs),
        "storescp_least_s": min(theirs),
        "ratio_p50": median(ours) / median(theirs),
        "goal": GOAL,
        "n": float(repeats),
    }


def main() -> int:
    """Measures and prints one JSON object; 0 if the goal is met."""
    parser = argparse.ArgumentParser(prog="python -m benches.store", description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--pause-s", type=float, default=1.5, help="the worker judges meanwhile")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    arguments = parser.parse_args()
    missing = [str(tool) for tool in (STORESCU, STORESCP) if not tool.exists()]
    if missing:
        print(f"store: not installed: {', '.join(missing)} (Debian: dcmtk)", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = measure(Path(folder), repeats=arguments.repeats, pause_s=arguments.pause_s)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=2))
    return 0 if found["ratio_p50"] <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
