"""`mammoedge simulate-site`: a site of a thousand units on one machine, measured.

Real messages through real ledgers, outboxes and publishers, a real Mosquitto, and `mammoedge site`
as a process of its own. Two phases: a pace some six times that of a clinic, for latency; then
everything at once, for throughput.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.site.queries.intake_figures import rows_received, streams_replayed, wire_latency
from runtime.site.simulation.processes import (
    SITE,
    StartedPlayer,
    StartedService,
    started_broker,
    started_player,
    started_service,
)
from runtime.site.store.store import Store, StoreError

if TYPE_CHECKING:
    from argparse import Namespace

UNITS_A_PROCESS = 250
CLINIC_PACE = 1 / 100
"""Exams a second and unit in the first phase; 50 exams in eight hours are 1/576."""
PACED_S = 30.0
PATIENCE_S = 300.0
FLAGS_AN_EXAM = 8
"""Four views and four revisions of the exam."""


@dataclass(frozen=True, kw_only=True)
class SiteFigures:
    """What was measured. `flags`: messages of views and exams."""

    units: int
    services: int
    flags: int
    lost: int
    paced_flags_per_s: float
    wire_p50_ms: float
    wire_p95_ms: float
    commit_p95_ms: float
    burst_flags_per_s: float
    memory_mb: tuple[float, ...]
    """Of the service(s): units there, after the pace, after each quarter of the burst."""
    replays: int
    load_average: float


def simulate_command(arguments: Namespace) -> int:
    """`mammoedge simulate-site`; 0 if nothing was lost, else 1."""
    try:
        with ExitStack() as stack:
            figures = _measured(arguments, stack)
    except OSError as error:
        print(f"mammoedge: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(asdict(figures)))
    else:
        for name, value in asdict(figures).items():
            print(f"{name:20} {value}")
    return int(figures.lost > 0)


def _measured(arguments: Namespace, stack: ExitStack) -> SiteFigures:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mammoedge-site-")))
    # A ledger's fsync belongs to the unit's own disk: a thousand of them on one say nothing.
    shared_memory = Path("/dev/shm")  # noqa: S108 - a folder of our own within it
    units_folder = shared_memory if os.access(shared_memory, os.W_OK) else folder
    host, port = stack.enter_context(started_broker(arguments.broker, folder))
    database = arguments.database or f"sqlite:///{folder}/site.db"
    services = [
        stack.enter_context(
            started_service(folder, number, database, (host, port), shared=arguments.services > 1)
        )
        for number in range(1, arguments.services + 1)
    ]
    for service in services:
        service.wait_until_it_listens()
    store = stack.enter_context(Store(database))
    players = _players(arguments, stack, (host, port), units_folder)
    for player in players:
        player.hear()
    _say(f"{arguments.units} units are connected")
    memory = [_memory_mb(services)]
    pace = arguments.exams_per_second or arguments.units * CLINIC_PACE
    paced = max(1, min(arguments.exams, round(PACED_S * pace / arguments.units)))
    began_s = time.monotonic()
    last = _say_exams(players, paced, pace / len(players))
    _wait_for(store, last, services)
    paced_s = time.monotonic() - began_s
    with store.reading() as connection:
        wire = wire_latency(connection)
    commit_ms = max(service.state()["commit_p95_ms"] for service in services)
    memory.append(_memory_mb(services))
    _say(f"paced: {wire.images} images, p95 {wire.p95_ms:.0f} ms")
    burst = max(0, arguments.exams - paced)
    began_s = time.monotonic()
    stored = _wait_for(store, last, services)
    for quarter in _quarters(burst):
        last = _say_exams(players, quarter, 0.0)
        stored = _wait_for(store, last, services)
        memory.append(_memory_mb(services))
    burst_s = time.monotonic() - began_s
    expected = sum(last.values())
    with store.reading() as connection:
        replays = streams_replayed(connection)
    return SiteFigures(
        units=arguments.units,
        services=arguments.services,
        flags=expected,
        lost=expected - stored,
        paced_flags_per_s=round(paced * arguments.units * FLAGS_AN_EXAM / paced_s, 1),
        wire_p50_ms=round(wire.p50_ms, 1),
        wire_p95_ms=round(wire.p95_ms, 1),
        commit_p95_ms=commit_ms,
        burst_flags_per_s=round(burst * arguments.units * FLAGS_AN_EXAM / burst_s, 1),
        memory_mb=tuple(memory),
        replays=replays,
        load_average=round(os.getloadavg()[0], 1),
    )


def _players(
    arguments: Namespace, stack: ExitStack, broker: tuple[str, int], folder: Path
) -> list[StartedPlayer]:
    """Processes that play the units between them, each unit's ledger below `folder`."""
    processes = arguments.processes or -(-arguments.units // UNITS_A_PROCESS)
    per_process = -(-arguments.units // processes)
    return [
        stack.enter_context(
            started_player(*broker, first, min(per_process, arguments.units - first), folder)
        )
        for first in range(0, arguments.units, per_process)
    ]


def _say_exams(players: list[StartedPlayer], exams: int, per_second: float) -> dict[str, int]:
    for player in players:
        player.ask(exams=exams, per_second=per_second)
    last: dict[str, int] = {}
    for player in players:
        last |= player.hear()["last_seq"]
    return last


def _wait_for(store: Store, last: dict[str, int], services: list[StartedService]) -> int:
    """Until everything is in the store; how many numbers are. Raises SimulationError."""
    expected = sum(last.values())
    deadline_s = time.monotonic() + PATIENCE_S
    stored = 0
    while time.monotonic() < deadline_s:
        for service in services:
            service.require_alive()
        with suppress(StoreError), store.reading() as connection:
            stored = rows_received(connection, SITE)
        if stored >= expected:
            break
        time.sleep(0.2)
    return stored


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _quarters(exams: int) -> list[int]:
    """So that memory is looked at on the way: growth that ends is a cache, that lasts a leak."""
    ends = [exams * quarter // 4 for quarter in range(5)]
    return [end - begin for begin, end in pairwise(ends) if end > begin]


def _memory_mb(services: list[StartedService]) -> float:
    """Resident memory of the services together."""
    pages = 0
    for service in services:
        pages += int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
