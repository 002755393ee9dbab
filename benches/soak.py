"""Many simulated exams in a row: does the service grow, does it lose any, does a unit starve?

`python -m benches.soak --exams 1000 --units 10`, by DICOM and then by frame socket; the same
with fewer exams is a test.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from runtime.unit.idle_detector import REST_S
from runtime.unit.service import ROOM_CHECK_S
from tests.firmware_bridge.firmware import wait_socket
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.packages import build_package
from tests.support.subscriber import Subscriber
from tests.support.units import ROOT, SITE, UNIT, UnitProcess
from tests.support.waiting import killed_after, wait_until

GOAL_GROWTH = 0.02
SCALE = 0.08
"""Small files; pixels still below a millimetre for two of the vendors, as frames must have them."""
VENDORS = ("hologic", "fujifilm")
WAYS = ("dicom", "frames")
FRAMES_TOML = """\
[intake.frames]
socket = "frames.sock"
max_connections = 32
connects_at_once = 100
connects_per_s = 20
"""
ANY_SIZE = {"minimum_rows": 16, "minimum_columns": 16, "pixel_spacing_mm": [0.01, 10.0]}
AT_REST_S = REST_S + 3 * ROOM_CHECK_S
"""By then the service has come to rest, and has given back what it does not use."""
RESTING_SAMPLES = 10
WARM_UP_EXAMS = 300
"""By then SQLite's page cache (2 MB) and the allocator's arenas, one for each thread, are full.

Measured every hundred exams by frame socket: 104.0, 107.3, 108.7, 109.3, 109.6, 109.9, 109.9 MB.
"""
DRAIN_S = 600
LONGEST_EXAM_S = 20
JOB_TIMEOUT_S = 120
"""A worker that a busy machine starves is not to be replaced: its growth could not be told."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One process at one moment."""

    exams: int
    resident_mb: float
    open_files: int


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Of one process at rest, from after the warm-up to the end."""

    before: Sample
    after: Sample

    @property
    def memory(self) -> float:
        """Share by which the memory grew."""
        return self.after.resident_mb / self.before.resident_mb - 1

    @property
    def files(self) -> float:
        """Share by which the open files grew."""
        return self.after.open_files / self.before.open_files - 1

    def report(self) -> dict[str, object]:
        """For the table."""
        return {
            "resident_mb": [round(s.resident_mb, 1) for s in (self.before, self.after)],
            "open_files": [s.open_files for s in (self.before, self.after)],
            "memory": round(self.memory, 4),
            "files": round(self.files, 4),
        }


def sample(pid: int, exams: int) -> Sample:
    """Resident memory and open files of a process now."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return Sample(
        exams=exams,
        resident_mb=int(line.split()[1]) / 1024,
        open_files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
    )


def soak(
    folder: Path,
    *,
    exams: int,
    units: int,
    way: str = "dicom",
    warm_up: int = WARM_UP_EXAMS,
    rest_s: float = 0.0,
) -> dict[str, object]:
    """Plays `exams` in all, at once at `units` units, as fast as they are taken.

    By DICOM, or by frame socket; there each unit hears all flags, and acknowledges them.

    Growth counts from after the warm-up, each time after `rest_s` without an exam.
    """
    package = build_package(folder, score="brightness", name="soak", accepts=ANY_SIZE)
    with (
        Mosquitto(folder / "broker") as broker,
        UnitProcess(
            folder / "unit",
            package=package,
            broker_port=broker.port,
            idle_timeout_s=600,
            job_timeout_s=JOB_TIMEOUT_S,
            more_toml=FRAMES_TOML,
        ) as unit,
        Subscriber(broker.port, site=SITE, unit=UNIT) as subscriber,
    ):
        unit.start().wait_listening()
        unit.wait_log("worker ready")
        pids = {"control": unit.process.pid, "worker": unit.worker_pid()}
        wait_socket(unit.folder / "frames.sock")
        address = unit.address if way == "dicom" else f"frames:{unit.folder / 'frames.sock'}"
        play = Play(unit, subscriber, units, address=address)
        play.run(warm_up, seed=1)
        before = resting(unit, pids, play, rest_s)
        play.run(exams - warm_up, seed=2)
        after = resting(unit, pids, play, rest_s)
        growth = {n: Growth(before=before[n], after=after[n]).report() for n in pids}
        return play.report() | {"growth": growth}


class SpoiltError(RuntimeError):
    """What was measured says nothing about growth."""


def resting(
    unit: UnitProcess, pids: dict[str, int], play: Play, rest_s: float
) -> dict[str, Sample]:
    """Each process between two plays. Raises SpoiltError: the worker is another one by now."""
    if unit.worker_pid() != pids["worker"]:
        raise SpoiltError(
            f"the worker was replaced after {len(play.played)} exams or fewer: a job took more "
            f"than {JOB_TIMEOUT_S} s; try again on a machine with less to do"
        )
    time.sleep(rest_s)
    return {name: at_rest(pid, len(play.played)) for name, pid in pids.items()}


class Play:
    """Simulated exams, and what became of them."""

    def __init__(
        self, unit: UnitProcess, subscriber: Subscriber, units: int, *, address: str
    ) -> None:
        self._address = address
        self.played: list[dict] = []
        self._unit, self._subscriber, self._units = unit, subscriber, units
        self._total: Counter[str] = Counter()
        self._seconds = 0.0
        self._done_s: dict[int, float] = {}

    def run(self, exams: int, *, seed: int) -> None:
        """Plays so many; returns when each has its final flag."""
        started_s = time.monotonic()
        for line in simulated(self._address, exams=exams, units=self._units, seed=seed):
            if "total" in line:
                self._total.update(line["total"])
                continue
            self.played.append(line)
            self._done_s[line["unit"]] = time.monotonic() - started_s
        self._seconds += time.monotonic() - started_s
        message_factory = self._unit.message_factory()
        keys = {message_factory.exam_key(exam["study_instance_uid"]) for exam in self.played}
        wait_until(lambda: keys <= finals(self._subscriber), "every exam's final flag", DRAIN_S)

    def report(self) -> dict[str, object]:
        """What was sent, and what of it has no outcome."""
        message_factory = self._unit.message_factory()
        images = {
            message_factory.image_key(uid)
            for exam in self.played
            for uid in exam["sop_instance_uids"]
        }
        records = self._subscriber.once().values()
        heard = {record.body["image_key"] for record in records if "/view/" in record.topic}
        return {
            "exams": len(self.played),
            "units": self._units,
            "seconds": round(self._seconds, 1),
            "total": dict(self._total),
            "images": len(images),
            "images_without_outcome": len(images - heard),
            "units_done_s": [round(value, 1) for _, value in sorted(self._done_s.items())],
        }


def at_rest(pid: int, exams: int) -> Sample:
    """The least of some moments: an association that is just ending is no growth."""
    taken = []
    for _ in range(RESTING_SAMPLES):
        time.sleep(0.3)
        taken.append(sample(pid, exams))
    return min(taken, key=lambda s: (s.open_files, s.resident_mb))


def simulated(address: str, *, exams: int, units: int, seed: int):
    """What `mammoedge simulate-unit --json` says, line by line."""
    command = [sys.executable, "-m", "runtime.cli.main", "simulate-unit", "--to", address]
    command += ["--units", str(units), "--exams", str(exams // units), "--exams-per-hour", "0"]
    command += ["--scale", str(SCALE), "--reboots", "0", "--seed", str(seed), "--json"]
    command += ["--wait-flags", str(DRAIN_S)]
    for vendor in VENDORS:
        command += ["--vendor", vendor]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process,
        killed_after(process, "the end of the simulation", DRAIN_S + exams * LONGEST_EXAM_S),
    ):
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode != 0:
        raise RuntimeError(f"simulate-unit ended with {process.returncode}")


def finals(subscriber: Subscriber) -> set[str]:
    """The exams whose final flag was heard."""
    return {
        record.body["exam_key"]
        for record in subscriber.once().values()
        if "/view/" not in record.topic and record.body.get("final")
    }


def goals_met(report: dict) -> bool:
    """Whether nothing was lost and nothing grew."""
    return report["images_without_outcome"] == 0 and all(
        found["memory"] <= GOAL_GROWTH and found["files"] <= GOAL_GROWTH
        for found in report["growth"].values()
    )


def main() -> int:
    """Prints the report; 0 if the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m benches.soak", description=__doc__)
    parser.add_argument("--exams", type=int, default=1000)
    parser.add_argument("--units", type=int, default=10)
    parser.add_argument("--by", choices=WAYS, action="append", help="both, one after the other")
    parser.add_argument("--out", type=Path, default=Path("build/soak.json"))
    arguments = parser.parse_args()
    if arguments.exams <= WARM_UP_EXAMS:
        parser.error(f"more exams than the {WARM_UP_EXAMS} of the warm-up")
    if reason := mosquitto_missing():
        print(f"soak: {reason}", file=sys.stderr)
        return 1
    reports = {}
    for way in arguments.by or WAYS:
        print(f"soak: {arguments.exams} exams by {way}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="mammoedge-soak-") as folder:
            try:
                reports[way] = soak(
                    Path(folder),
                    exams=arguments.exams,
                    units=arguments.units,
                    way=way,
                    rest_s=AT_REST_S,
                )
            except SpoiltError as spoilt:
                print(f"soak: {spoilt}", file=sys.stderr)
                return 1
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(reports, indent=1) + "\n")
    print(json.dumps(reports, indent=1))
    for way, report in reports.items():
        verdict = "met" if goals_met(report) else "MISSED"
        print(f"{way}: growth at most {GOAL_GROWTH:.0%}, nothing lost: {verdict}")
    return 0 if all(map(goals_met, reports.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
