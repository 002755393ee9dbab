"""`mammoedge simulate-site`: a site of a thousand units on one machine, measured.

Real messages through real ledgers, outboxes and publishers, a real Mosquitto, and `mammoedge site`
as a process of its own. Two phases: a pace some six times that of a clinic, for latency; then
everything at once, for throughput.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import func, select

from runtime.site.fleet import percentiles
from runtime.site.store import Store, StoreError
from runtime.site.tables import LATENCIES, NUMBERS, STREAMS, UNITS

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

SITE = "simulated"
UNITS_A_PROCESS = 250
CLINIC_PACE = 1 / 100
"""Exams a second and unit in the first phase; 50 exams in eight hours are 1/576."""
PACED_S = 30.0
PATIENCE_S = 300.0
FLAGS_AN_EXAM = 8
"""Four views and four revisions of the exam."""


class SimulationError(Exception):
    """It could not be measured; the text says why."""


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
    except (SimulationError, StoreError, OSError) as error:
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
    host, port = stack.enter_context(_broker(arguments.broker, folder))
    database = arguments.database or f"sqlite:///{folder}/site.db"
    services = [
        stack.enter_context(
            _service(folder, number, database, (host, port), shared=arguments.services > 1)
        )
        for number in range(1, arguments.services + 1)
    ]
    for service in services:
        service.wait_until_it_listens()
    store = stack.enter_context(Store(database))
    per_process = -(
        -arguments.units // (arguments.processes or -(-arguments.units // UNITS_A_PROCESS))
    )
    players = [
        stack.enter_context(
            _player(host, port, first, min(per_process, arguments.units - first), units_folder)
        )
        for first in range(0, arguments.units, per_process)
    ]
    for player in players:
        player.hear()
    _say(f"{arguments.units} units are connected")
    memory = [_memory_mb(services)]
    pace = arguments.exams_per_second or arguments.units * CLINIC_PACE
    paced = max(1, min(arguments.exams, round(PACED_S * pace / arguments.units)))
    began_s = time.monotonic()
    last = _say_exams(players, paced, pace / len(players))
    _wait_for(store, last)
    paced_s = time.monotonic() - began_s
    wire = _wire(store)
    commit_ms = max(service.state()["commit_p95_ms"] for service in services)
    memory.append(_memory_mb(services))
    _say(f"paced: {wire.images} images, p95 {wire.p95_ms:.0f} ms")
    burst = max(0, arguments.exams - paced)
    began_s = time.monotonic()
    stored = _wait_for(store, last)
    for quarter in _quarters(burst):
        last = _say_exams(players, quarter, 0.0)
        stored = _wait_for(store, last)
        memory.append(_memory_mb(services))
    burst_s = time.monotonic() - began_s
    expected = sum(last.values())
    with store.reading() as connection:
        replays = connection.scalar(select(func.count()).where(STREAMS.c.replays_asked > 0))
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
        replays=int(replays or 0),
        load_average=round(os.getloadavg()[0], 1),
    )


def _say_exams(players: list[_Player], exams: int, per_second: float) -> dict[str, int]:
    for player in players:
        player.ask(exams=exams, per_second=per_second)
    last: dict[str, int] = {}
    for player in players:
        last |= player.hear()["last_seq"]
    return last


def _wait_for(store: Store, last: dict[str, int]) -> int:
    """Until everything is in the books; how many numbers are."""
    expected = sum(last.values())
    deadline_s = time.monotonic() + PATIENCE_S
    stored = 0
    while time.monotonic() < deadline_s:
        with suppress(StoreError), store.reading() as connection:
            stored = int(
                connection.scalar(
                    select(func.count())
                    .select_from(NUMBERS)
                    .join(UNITS, NUMBERS.c.unit_id == UNITS.c.unit_id)
                    .where(UNITS.c.site == SITE)
                )
                or 0
            )
        if stored >= expected:
            break
        time.sleep(0.2)
    return stored


def _wire(store: Store) -> Any:
    with store.reading() as connection:
        rows = connection.execute(
            select(LATENCIES.c.bucket, func.sum(LATENCIES.c.images))
            .where(LATENCIES.c.stretch == "wire")
            .group_by(LATENCIES.c.bucket)
        )
        return percentiles("wire", {bucket: int(images) for bucket, images in rows})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- processes ----------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _broker(named: str | None, folder: Path) -> Iterator[tuple[str, int]]:
    if named is not None:
        host, _, port = named.rpartition(":")
        yield host or named, int(port)
        return
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    if not Path(program).exists():
        raise SimulationError("no Mosquitto here: install it (apt-get install mosquitto), or name")
    port_number = _free_port()
    lines = [
        *(["user root"] if os.geteuid() == 0 else []),
        f"listener {port_number} 127.0.0.1",
        "allow_anonymous true",
        # By default it drops what is beyond 1,000 for a client; replay would bring it again.
        "max_queued_messages 0",
        "max_inflight_messages 0",
        "persistence false",
    ]
    configuration = folder / "mosquitto.conf"
    configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", configuration], stdout=log, stderr=log)
    try:
        _wait_for_port(port_number, process)
        yield "127.0.0.1", port_number
    finally:
        process.terminate()
        process.wait()


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SimulationError("Mosquitto does not listen")


@dataclass(frozen=True, kw_only=True)
class _Service:
    process: subprocess.Popen[bytes]
    metrics_port: int
    log: Path

    def state(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.metrics_port}/health"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                said: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            said = json.load(error)
        return said

    def wait_until_it_listens(self) -> None:
        deadline_s = time.monotonic() + 120
        while time.monotonic() < deadline_s and self.process.poll() is None:
            with suppress(OSError):
                if self.state()["broker_up"]:
                    return
            time.sleep(0.1)
        raise SimulationError(f"the service does not listen: {self.log.read_text()[-2000:]}")


@contextmanager
def _service(
    folder: Path, number: int, database: str, broker: tuple[str, int], *, shared: bool
) -> Iterator[_Service]:
    metrics_port = _free_port()
    text = "\n".join(
        [
            f'[site]\nname = "{SITE}"\nservice = "site-{number}"',
            f'[broker]\nhost = "{broker[0]}"\nport = {broker[1]}\ntls = false',
            f'[store]\ndatabase = "{database}"\npatience_s = 30',
            f"[metrics]\nport = {metrics_port}",
            *(['[listen]\ngroup = "books"'] if shared else []),
        ]
    )
    settings = folder / f"site-{number}.toml"
    settings.write_text(text + "\n", encoding="utf-8")
    log_file = folder / f"site-{number}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime.cli", "site", "--config", settings],
            stdout=log,
            stderr=log,
        )
    try:
        yield _Service(process=process, metrics_port=metrics_port, log=log_file)
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True, kw_only=True)
class _Player:
    to: IO[str]
    of: IO[str]

    def ask(self, **said: object) -> None:
        self.to.write(json.dumps(said) + "\n")
        self.to.flush()

    def hear(self) -> dict[str, Any]:
        line = self.of.readline()
        if not line:
            raise SimulationError("a process that played units ended")
        said: dict[str, Any] = json.loads(line)
        if said.get("connected") is False:
            raise SimulationError(f"units cannot connect: {said['problem']}")
        return said


@contextmanager
def _player(host: str, port: int, first: int, count: int, folder: Path) -> Iterator[_Player]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "runtime.site.simulated_units"),
            *(SITE, host, str(port), str(first), str(count), str(folder)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise SimulationError("no pipes")
    try:
        yield _Player(to=process.stdin, of=process.stdout)
    finally:
        process.stdin.close()
        process.wait()


def _quarters(exams: int) -> list[int]:
    """So that memory is looked at on the way: growth that ends is a cache, that lasts a leak."""
    ends = [exams * quarter // 4 for quarter in range(5)]
    return [end - begin for begin, end in pairwise(ends) if end > begin]


def _memory_mb(services: list[_Service]) -> float:
    """Resident memory of the services together."""
    pages = 0
    for service in services:
        pages += int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
