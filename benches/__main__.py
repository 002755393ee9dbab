"""Prints the tables of `make bench` and writes build/bench.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from statistics import median, quantiles

from pydicom import dcmread
from pydicom.uid import UID

from benches.floor import Floor
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.sender.storage_scu import StorageScu, outgoing
from models.package import load_package
from runtime.cli.init import reference_package
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.units import UnitProcess
from tests.support.views import write_exams

PRECISION = "int8"
SYNTAXES = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless SV1
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.201",  # HTJ2K Lossless
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.1.99",  # Deflated
)
GOAL_RATIO, GOAL_MS = 1.3, 15.0
ASSOCIATIONS = 10
LONGEST_WAIT_S = 120


class Listener:
    """The subscriber's process and what it said: arrival by key."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.clocked_subscriber", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._registration: dict[str, int] = {}
        self._news = threading.Condition()
        self._subscribed: Queue[bool] = Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._subscribed.get(timeout=30)

    def _read(self) -> None:
        for line in self._process.stdout:
            at_ns, kind, key, state = line.split()
            if kind == "subscribed":
                self._subscribed.put(item=True)
            if kind == "exam" and state != "final":
                continue
            with self._news:
                self._registration[f"{kind} {key}"] = int(at_ns)
                self._news.notify_all()

    def arrival_ns(self, what: str, after_ns: int = 0) -> int:
        """Wall clock at which the subscriber had `view KEY`, `exam KEY` or `status STATE`."""
        with self._news:
            came = self._news.wait_for(
                lambda: self._registration.get(what, 0) > after_ns, LONGEST_WAIT_S
            )
            if not came:
                raise TimeoutError(what)
            return self._registration[what]

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait(10)


def percentiles(values: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else values * 19
    return median(values), cuts[18]


def send(unit: UnitProcess, files: list[Path]) -> list[int]:
    """Sends over one association; when the last byte of each data set was handed over, ns."""
    outgoings = [outgoing(file) for file in files]
    with StorageScu(Destination.parse(unit.address), outgoings) as sender:
        sent = [sender.send(file) for file in outgoings]
    for file in sent:
        if file.outcome != "stored":
            raise RuntimeError(f"{file.path.name}: {file.outcome} {file.status} {file.comment}")
    return [file.last_byte_at_ns for file in sent]


def time_to_flag(
    unit: UnitProcess, listener: Listener, floor: Floor, *, folder: Path, syntax: str, repeats: int
) -> dict[str, object]:
    """Floor and flag in turn, on the same bytes but for the UIDs."""
    message_factory = unit.message_factory()
    floors, flags = [], []
    stages: list[dict[str, float]] = []
    warm_up = 2
    for number, (file,) in enumerate(write_exams(folder, repeats + warm_up, syntax, views=1)):
        key = message_factory.image_key(dcmread(file, stop_before_pixels=True).SOPInstanceUID)
        stage = floor.run(file)
        (sent_ns,) = send(unit, [file])
        flag_ms = (listener.arrival_ns(f"view {key}") - sent_ns) / 1e6
        if number >= warm_up:
            floors.append(stage["total"])
            stages.append(stage)
            flags.append(flag_ms)
    floor_p50, _ = percentiles(floors)
    flag_p50, flag_p95 = percentiles(flags)
    return {
        "transfer_syntax": syntax,
        "name": UID(syntax).name.split(":")[0],
        "floor_p50_ms": round(floor_p50, 1),
        "floor_stages_p50_ms": {
            name: round(median(stage[name] for stage in stages), 1) for name in stages[0]
        },
        "flag_p50_ms": round(flag_p50, 1),
        "flag_p95_ms": round(flag_p95, 1),
        "ratio_p50": round(flag_p50 / floor_p50, 2),
        "goal_ms": round(GOAL_RATIO * floor_p50 + GOAL_MS, 1),
        "repeats": repeats,
    }


def exams_per_hour(unit: UnitProcess, listener: Listener, exams: list[list[Path]]) -> float:
    """Four-view exams one after the other over one association each."""
    message_factory = unit.message_factory()
    started_ns = time.time_ns()
    keys = []
    for files in exams:
        send(unit, files)
        study = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
        keys.append(message_factory.exam_key(study))
    last_ns = max(listener.arrival_ns(f"exam {key}") for key in keys)
    return len(exams) / ((last_ns - started_ns) / 3.6e12)


def memory(unit: UnitProcess, listener: Listener, exams: list[list[Path]]) -> dict[str, float]:
    """Peak resident memory, MB, after as many exams as there are associations came at once."""
    message_factory = unit.message_factory()
    with ThreadPoolExecutor(len(exams)) as pool:
        list(pool.map(lambda files: send(unit, files), exams))
    for files in exams:
        study = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
        listener.arrival_ns(f"exam {message_factory.exam_key(study)}")
    return {
        "control": round(unit.memory_mb(), 1),
        "worker": round(unit.memory_mb(unit.worker_pid()), 1),
    }


def ready_s(unit: UnitProcess, listener: Listener) -> float:
    """Start of the process to the birth message that says online."""
    started_ns = time.time_ns()
    unit.start()
    return round((listener.arrival_ns("status online", started_ns) - started_ns) / 1e9, 2)


def machine() -> dict[str, object]:
    """What this was measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def show(report: dict[str, object]) -> None:
    """The tables, for people."""
    cpu = report["machine"]
    print(f"\n{cpu['cpu']}, {cpu['cores']} cores, Python {cpu['python']}")
    print(f"reference package, {PRECISION}; one 4096 x 3328 view with 12 bit; ms\n")
    head = f"{'transfer syntax':38}{'floor p50':>10}{'flag p50':>10}{'flag p95':>10}{'ratio':>7}"
    print(head + f"{'goal':>8}")
    for view in report["views"]:
        met = "met" if view["flag_p50_ms"] <= view["goal_ms"] else "MISSED"
        print(
            f"{view['name'][:37]:38}{view['floor_p50_ms']:10}{view['flag_p50_ms']:10}"
            f"{view['flag_p95_ms']:10}{view['ratio_p50']:7}{view['goal_ms']:8} {met}"
        )
    print(f"\ngoal: flag p50 at most {GOAL_RATIO} x floor + {GOAL_MS:.0f} ms\n")
    ready, used = report["ready_s"], report["memory_mb"]
    print(f"{'start to ready, cold':38}{ready['cold']:10} s")
    print(f"{'start to ready, warm cache':38}{ready['warm']:10} s")
    print(f"{'exams of four views an hour':38}{report['exams_per_hour']:10}")
    print(f"{f'control process, {ASSOCIATIONS} associations':38}{used['control']:10} MB (goal 150)")
    print(f"{'pixel worker':38}{used['worker']:10} MB")


def run(folder: Path, repeats: int) -> dict[str, object]:
    """Every measurement, in one run."""
    package = reference_package()
    with (
        Mosquitto(folder / "broker") as broker,
        UnitProcess(
            folder / "unit",
            package=package,
            broker_port=broker.port,
            precision=PRECISION,
            threads=None,
            idle_timeout_s=3600,
        ) as unit,
    ):
        listener = Listener(broker.port)
        cold = ready_s(unit, listener)
        unit.stop()
        warm = ready_s(unit, listener)
        floor = Floor(load_package(package, allow_unsigned=True), PRECISION, folder / "unit")
        views = []
        for syntax in SYNTAXES:
            print(f"measuring {UID(syntax).name} ...", file=sys.stderr, flush=True)
            target = folder / "views"
            views.append(
                time_to_flag(unit, listener, floor, folder=target, syntax=syntax, repeats=repeats)
            )
            shutil.rmtree(target)
        print("measuring exams per hour ...", file=sys.stderr, flush=True)
        hourly = exams_per_hour(unit, listener, write_exams(folder / "a", 8, SYNTAXES[0]))
        print("measuring memory ...", file=sys.stderr, flush=True)
        used = memory(unit, listener, write_exams(folder / "b", ASSOCIATIONS, SYNTAXES[0]))
        unit.stop()
        listener.close()
    return {
        "machine": machine(),
        "views": views,
        "memory_mb": used,
        "ready_s": {"cold": cold, "warm": warm},
        "exams_per_hour": round(hourly),
    }


def main() -> int:
    """Runs everything; 0 when it was measured, whatever came out."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="per transfer syntax (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    if reason := mosquitto_missing():
        print(f"make bench: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="mammoedge-bench-") as folder:
        report = run(Path(folder), arguments.repeats)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    show(report)
    print(f"\nwritten: {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
