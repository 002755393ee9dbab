"""The processes of a simulation: a Mosquitto, site services, and players of units."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from models.errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

SITE = "simulated"


class SimulationError(ResourceError):
    """It could not be measured; the text says why."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started_broker(named: str | None, folder: Path) -> Iterator[tuple[str, int]]:
    """The broker that was named (HOST:PORT), or a Mosquitto of ours; its host and port."""
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
class StartedService:
    """A site service; ended with its block."""

    process: subprocess.Popen[bytes]
    metrics_port: int
    log: Path

    def state(self) -> dict[str, Any]:
        """Its own word of itself. Raises OSError: it does not answer."""
        url = f"http://127.0.0.1:{self.metrics_port}/health"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                said: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            said = json.load(error)
        return said

    def require_alive(self) -> None:
        """Raises SimulationError: it has ended; with the end of its log."""
        if self.process.poll() is not None:
            raise SimulationError(f"the service has ended: {self.log.read_text()[-2000:]}")

    def wait_until_it_listens(self) -> None:
        """Raises SimulationError: it does not, within two minutes."""
        deadline_s = time.monotonic() + 120
        while time.monotonic() < deadline_s and self.process.poll() is None:
            with suppress(OSError):
                if self.state()["broker_up"]:
                    return
            time.sleep(0.1)
        raise SimulationError(f"the service does not listen: {self.log.read_text()[-2000:]}")


@contextmanager
def started_service(
    folder: Path, number: int, database: str, broker: tuple[str, int], *, shared: bool
) -> Iterator[StartedService]:
    """`mammoedge site` on that database; `shared`: in a group with the others."""
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
            [sys.executable, "-m", "runtime.cli.main", "site", "--config", settings],
            stdout=log,
            stderr=log,
        )
    try:
        yield StartedService(process=process, metrics_port=metrics_port, log=log_file)
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True, kw_only=True)
class StartedPlayer:
    """A process that plays units; see `simulated_units`."""

    to: IO[str]
    of: IO[str]

    def ask(self, **said: object) -> None:
        """Tells it what to do; `hear` has the answer."""
        self.to.write(json.dumps(said) + "\n")
        self.to.flush()

    def hear(self) -> dict[str, Any]:
        """Its next answer. Raises SimulationError: it ended, or its units cannot connect."""
        line = self.of.readline()
        if not line:
            raise SimulationError("a process that played units ended")
        said: dict[str, Any] = json.loads(line)
        if said.get("connected") is False:
            raise SimulationError(f"units cannot connect: {said['problem']}")
        return said


@contextmanager
def started_player(
    host: str, port: int, first: int, count: int, folder: Path
) -> Iterator[StartedPlayer]:
    """Plays `count` units from number `first` on; their ledgers in `folder`."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "runtime.site.simulation.simulated_units"),
            *(SITE, host, str(port), str(first), str(count), str(folder)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise SimulationError("no pipes")
    try:
        yield StartedPlayer(to=process.stdin, of=process.stdout)
    finally:
        process.stdin.close()
        process.wait()
