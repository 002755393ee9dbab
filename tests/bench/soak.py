"""Many simulated exams in a row: does the service grow, does it lose any, does a unit starve?

`python -m tests.bench.soak --exams 1000 --units 10`; the same with fewer exams is a test.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.brokers import Mosquitto, mosquitto_missing, wait_until
from tests.packages import build_package
from tests.subscriber import Subscriber
from tests.units import ROOT, SITE, UNIT, UnitProcess

GOAL_GROWTH = 0.02
SCALE = 0.06
ANY_SIZE = {"minimum_rows": 16, "minimum_columns": 16, "pixel_spacing_mm": [0.01, 10.0]}
SAMPLES = 40
DRAIN_S = 600


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One process at one moment."""

    exams: int
    resident_mb: float
    open_files: int


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Of one process, from after the warm-up to the end."""

    resident_mb: tuple[float, float]
    open_files: tuple[float, float]

    @classmethod
    def of(cls, samples: list[Sample]) -> Growth:
        """Medians of the third fifth and of the last: caches fill before, single peaks drop out."""
        fifth = max(1, len(samples) // 5)
        early, late = samples[2 * fifth : 3 * fifth], samples[-fifth:]
        return cls(
            resident_mb=tuple(median(s.resident_mb for s in part) for part in (early, late)),
            open_files=tuple(median(s.open_files for s in part) for part in (early, late)),
        )

    @property
    def memory(self) -> float:
        """Share by which the memory grew."""
        return self.resident_mb[1] / self.resident_mb[0] - 1

    @property
    def files(self) -> float:
        """Share by which the open files grew."""
        return self.open_files[1] / self.open_files[0] - 1


def sample(pid: int, exams: int) -> Sample:
    """Resident memory and open files of a process now."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return Sample(
        exams=exams,
        resident_mb=int(line.split()[1]) / 1024,
        open_files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
    )


def soak(folder: Path, *, exams: int, units: int) -> dict[str, object]:
    """Plays `exams` in all, at once at `units` units, as fast as they are taken."""
    package = build_package(folder, score="brightness", name="soak", accepts=ANY_SIZE)
    with (
        Mosquitto(folder / "broker") as broker,
        UnitProcess(
            folder / "unit", package=package, broker_port=broker.port, idle_timeout_s=600
        ) as unit,
        Subscriber(broker.port, site=SITE, unit=UNIT) as subscriber,
    ):
        unit.start().wait_listening().wait_log("worker ready")
        pids = {"control": unit.process.pid, "worker": unit.worker_pid()}
        samples: dict[str, list[Sample]] = {name: [] for name in pids}
        started_s = time.monotonic()
        played, done_s = [], {}
        for line in simulated(unit, exams=exams, units=units):
            if "exam" not in line:
                total = line["total"]
                continue
            played.append(line)
            done_s[line["unit"]] = time.monotonic() - started_s
            if len(played) % max(1, exams // SAMPLES) == 0:
                for name, pid in pids.items():
                    samples[name].append(sample(pid, len(played)))
        sent_s = time.monotonic() - started_s
        keys = {unit.voice().exam_key(exam["study_instance_uid"]) for exam in played}
        wait_until(lambda: keys <= finals(subscriber), DRAIN_S, "a final flag of every exam")
        growth = {name: Growth.of(taken) for name, taken in samples.items()}
        images = {
            unit.voice().image_key(uid) for exam in played for uid in exam["sop_instance_uids"]
        }
        heard = {r.body["image_key"] for r in subscriber.once().values() if "/view/" in r.topic}
        return {
            "exams": len(played),
            "units": units,
            "seconds": round(sent_s, 1),
            "total": total,
            "images": len(images),
            "images_without_outcome": len(images - heard),
            "units_done_s": [round(value, 1) for _, value in sorted(done_s.items())],
            "growth": {
                name: asdict(found) | {"memory": found.memory, "files": found.files}
                for name, found in growth.items()
            },
            "worker_is_the_same": unit.worker_pid() == pids["worker"],
        }


def simulated(unit: UnitProcess, *, exams: int, units: int):
    """What `mammoedge simulate-unit --json` says, line by line."""
    command = [sys.executable, "-m", "runtime.cli", "simulate-unit", "--to", unit.address]
    command += ["--units", str(units), "--exams", str(exams // units), "--exams-per-hour", "0"]
    command += ["--scale", str(SCALE), "--reboots", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
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


def main() -> int:
    """Prints the report; 0 if the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--exams", type=int, default=1000)
    parser.add_argument("--units", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("build/soak.json"))
    arguments = parser.parse_args()
    if reason := mosquitto_missing():
        print(f"soak: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="mammoedge-soak-") as folder:
        report = soak(Path(folder), exams=arguments.exams, units=arguments.units)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    growth = report["growth"].values()
    met = report["images_without_outcome"] == 0 and all(
        found["memory"] <= GOAL_GROWTH and found["files"] <= GOAL_GROWTH for found in growth
    )
    print(f"growth at most {GOAL_GROWTH:.0%}, nothing lost: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
