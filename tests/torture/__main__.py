"""`python -m tests.torture`: a clinic under faults, minutes or hours of it, and the verdict."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.torture.clinic import Clinic
from tests.torture.faults import FAULTS, Tormentor

PATIENCE_S = 240.0
"""After the last exam: for backlogs, frozen peers and replays."""
REPLAY_PAUSE_S = 12.0
PROGRESS_S = 10.0


def torture(
    folder: Path,
    *,
    exams: int,
    seed: int,
    kinds: tuple[str, ...] = tuple(FAULTS),
    pause_s: float = 0.5,
    fault_pauses_s: tuple[float, float] = (0.5, 3.0),
) -> dict[str, Any]:
    """One clinic from its first exam to the verdict."""
    with Clinic(folder, exams=exams, pause_s=pause_s) as clinic:
        tormentor = Tormentor(clinic, seed)
        clinic.open_doors()
        tormentor.torment(kinds, fault_pauses_s)
        clinic.close_doors()
        waited_s = wait_until_settled(clinic)
        verdict = clinic.auditor.judge(clinic.sending.exams, clinic.subscriber.seen())
        log_tail = clinic.unit.log[-2000:]
    recovery = tormentor.recovery
    return asdict(verdict) | {
        "holds": verdict.holds and not clinic.sending.unanswered,
        "unanswered": clinic.sending.unanswered,
        "seed": seed,
        "faults": dict(sorted(Counter(tormentor.done).items())),
        "refused": len(clinic.sending.refused),
        "settled_after_s": round(waited_s, 1),
        "worker_killed_to_flag_s": spread(recovery.worker_to_flag_s),
        "control_killed_to_success_s": spread(recovery.control_to_success_s),
        "load": round(os.getloadavg()[0], 1),
        "log_tail": "" if verdict.holds else log_tail,
    }


def wait_until_settled(clinic: Clinic) -> float:
    """Until every exam has its flag and no number is missing; asks for replay as a site does."""
    began_s = time.monotonic()
    asked_s = began_s
    while time.monotonic() - began_s < PATIENCE_S:
        records = clinic.subscriber.seen()
        unfinished = clinic.auditor.unfinished(clinic.sending.exams, records)
        if not unfinished and not clinic.auditor.missing(records):
            break
        if time.monotonic() - asked_s > REPLAY_PAUSE_S:
            clinic.subscriber.ask_for_replay(clinic.auditor.lowest_missing(records))
            asked_s = time.monotonic()
        time.sleep(0.2)
    return time.monotonic() - began_s


def spread(times_s: list[float]) -> dict[str, float] | None:
    """Median, p95 and largest, in seconds; None without any."""
    if not times_s:
        return None
    ordered = sorted(times_s)
    return {
        "n": len(ordered),
        "p50": round(ordered[len(ordered) // 2], 2),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 2),
        "most": round(ordered[-1], 2),
    }


def main() -> int:
    """0 if nothing was lost, doubled, wrong or silent."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--exams", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--pause-s", type=float, default=0.5, help="of a sender after an exam")
    parser.add_argument("--folder", type=Path, help="kept afterwards; otherwise a temporary one")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mammoedge-torture-") as temporary:
        result = torture(
            arguments.folder or Path(temporary),
            exams=arguments.exams,
            seed=arguments.seed,
            kinds=tuple(arguments.faults),
            pause_s=arguments.pause_s,
        )
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        for name, value in result.items():
            print(f"{name:28} {len(value) if isinstance(value, tuple) else value}")
            for item in value if isinstance(value, tuple) else ():
                print(f"{'':28} {item}")
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
