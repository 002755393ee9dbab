"""`python -m benches.wire`: the publisher's figures, as shipped: QoS 1, TLS, both certificates.

The unit's ledger and publisher run here, the site's subscriber in a process of its own, Debian's
Mosquitto with the configuration of `mammoedge init` between them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.support.builders import exam_flag
from tests.support.named_points import named_points
from tests.support.secured_site import SiteBroker, broker_settings, secured_site
from tests.support.unit_under_test import Unit
from tests.support.waiting import killed_after, wait_until

GOAL_SHARE_MS, GOAL_PER_S, GOAL_ROWS = 5.0, 200, 100_000
GOAL_GROWTH = 0.05
BATCH = 500
LONGEST_PART_S = 1800.0
UNIT = "mammo-1"


def resident_mb() -> float:
    """What this process holds now, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


@contextmanager
def listener(broker: SiteBroker, site: Path, last: int = 0) -> Iterator[subprocess.Popen]:
    """The subscriber's process; it listens."""
    files = [site / "site" / name for name in ("ca.pem", "monitor.pem", "monitor.key")]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "benches.wire_listener"),
            *(str(broker.port), *map(str, files), str(last)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with killed_after(process, "the end of the subscriber's part", LONGEST_PART_S):
            assert process.stdout.readline() == "subscribed\n"
            yield process
    finally:
        process.stdin.close()
        process.wait(60)


def latency(
    unit: Unit, process: subprocess.Popen, published_ns: list[int], repeats: int
) -> dict[str, float]:
    """Of single flags: commit to PUBLISH on the socket, and to the subscriber's process, ms.

    `published_ns`: to where the unit notes when it published.
    """
    shares, ways = [], []
    for number in range(repeats):
        published_ns.clear()
        seq = unit.say_exam(study=f"1.2.{number}")
        committed_ns = time.time_ns()
        at_ns, heard = map(int, process.stdout.readline().split())
        assert heard == seq, (heard, seq)
        # It may be said there before it is noted here.
        wait_until(lambda: published_ns, "what was published is noted", step_s=0.001)
        shares.append((published_ns[0] - committed_ns) / 1e6)
        ways.append((at_ns - committed_ns) / 1e6)
        time.sleep(0.03)  # each flag by itself, as exposures come
    ranked = {"share": sorted(shares), "way": sorted(ways)}
    return {
        f"{name}_{label}_ms": round(values[int(len(values) * part)], 2)
        for name, values in ranked.items()
        for label, part in (("p50", 0.5), ("p95", 0.95))
    }


def queue(unit: Unit, rows: int) -> None:
    """So many flags wait, as after a long outage; written in large transactions."""
    at_ms = unit.clock_ms()
    for start in range(0, rows, BATCH):
        flags = [
            unit.message_factory.exam_message(
                exam_flag(study_instance_uid=f"1.3.{number}"), at_ms=at_ms
            )
            for number in range(start, min(rows, start + BATCH))
        ]

        def work(tx, flags=flags) -> None:
            for flag in flags:
                tx.enqueue(flag, at_ms)

        unit.ledger.transact(work)


def drain(unit: Unit, process: subprocess.Popen, rows: int) -> dict[str, object]:
    """The backlog to the last row: rate, order, memory."""
    samples = [resident_mb()]
    unit.start()
    started_s = time.monotonic()
    while waiting := unit.ledger.backlog().waiting:
        assert process.poll() is None, f"{waiting} rows wait, and nobody listens any more"
        samples.append(resident_mb())
        took_s = time.monotonic() - started_s
        done = rows - waiting
        print(
            f"\r{done} of {rows} rows, {done / took_s:.0f}/s, {samples[-1]:.0f} MB",
            end="",
            file=sys.stderr,
        )
        time.sleep(1)
    print(file=sys.stderr)
    summary = json.loads(process.stdout.readline())
    # The first second fills caches and buffers once; what grows after it would grow for ever.
    settled, largest = samples[min(2, len(samples) - 1)], max(samples)
    seconds = (summary["last_ns"] - summary["first_ns"]) / 1e9
    return {
        "rows": summary["rows"],
        "in_order": summary["in_order"],
        "doubles": summary["doubles"],
        "per_s": round(summary["rows"] / seconds),
        "memory_mb": round(settled, 1),
        "memory_growth_mb": round(largest - settled, 1),
        "memory_growth": round((largest - settled) / settled, 3),
        "memory_median_late_mb": round(median(samples[-10:]), 1),
    }


def measure(folder: Path, repeats: int, rows: int) -> dict[str, object]:
    """All figures of one run."""
    published_ns: list[int] = []

    def reached(point: str) -> None:
        if point == "published":
            published_ns.append(time.time_ns())

    with secured_site(folder / "site", UNIT) as broker:
        settings = broker_settings(folder / "site", UNIT)
        alone = Unit(folder / "alone", broker.port, **settings)
        with named_points(reached), listener(broker, folder / "site") as process:
            alone.start()
            figures: dict[str, object] = latency(alone, process, published_ns, repeats)
        alone.close()
        broker.stop()
        (folder / "site/state/mosquitto.db").unlink(missing_ok=True)  # the first part's flags
        broker.start()
        backlog = Unit(folder / "backlog", broker.port, **settings)
        queue(backlog, rows)
        with listener(broker, folder / "site", rows) as process:
            figures |= drain(backlog, process, rows)
        backlog.close()
    return figures


def table_of(figures: dict[str, object]) -> list[str]:
    """Markdown, with what was to be reached."""
    share, rate, growth = figures["share_p50_ms"], figures["per_s"], figures["memory_growth"]
    ordered = figures["rows"] if figures["in_order"] else 0
    lines = [
        (
            "commit to PUBLISH on the socket, p50 / p95",
            f"{share} / {figures['share_p95_ms']} ms",
            f"<= {GOAL_SHARE_MS} ms p50, {met(share <= GOAL_SHARE_MS)}",
        ),
        (
            "commit to the subscriber's process, p50 / p95",
            f"{figures['way_p50_ms']} / {figures['way_p95_ms']} ms",
            "",
        ),
        ("flags a second from a backlog", rate, f">= {GOAL_PER_S}, {met(rate >= GOAL_PER_S)}"),
        ("backlog drained in order, rows", ordered, f"{GOAL_ROWS}, {met(ordered >= GOAL_ROWS)}"),
        (
            "resident memory during it",
            f"{figures['memory_mb']} MB, growth {figures['memory_growth_mb']} MB",
            f"<= {GOAL_GROWTH:.0%}, {met(growth <= GOAL_GROWTH)}",
        ),
    ]
    rows = [f"| {what} | {measured} | {goal} |" for what, measured, goal in lines]
    return ["| what | measured | goal |", "|---|---|---|", *rows]


def met(holds: object) -> str:
    """The verdict in a word."""
    return "met" if holds else "MISSED"


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=100, help="single flags (%(default)s)")
    parser.add_argument("--rows", type=int, default=GOAL_ROWS, help="backlog (%(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wire-bench-") as folder:
        figures = measure(Path(folder), arguments.repeats, arguments.rows)
    figures["load"] = round(os.getloadavg()[0], 1)
    if arguments.json:
        print(json.dumps(figures))
        return 0
    print("\n".join([*table_of(figures), "", f"load average {figures['load']}"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
