"""A real unit: the service as a child process, with a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from runtime.publishing.message_factory import MessageFactory
from runtime.publishing.site_key import read_site_key, write_site_key
from tests.support.brokers import free_port
from tests.support.waiting import LONG_S, wait_until

ROOT = Path(__file__).resolve().parents[2]
SITE, UNIT = "st-anna", "mammo-1"

UNIT_TOML = """\
[unit]
site = "{site}"
unit = "{unit}"
[storage]
folder = "data"
reserve_mb = {reserve_mb}
[model]
package = "{package}"
precision = "{precision}"
devices = ["CPU"]
{threads}
allow_unsigned = true
[worker]
job_timeout_s = {job_timeout_s}
[exam]
idle_timeout_s = {idle_timeout_s}
[identity]
site_key_file = "site.key"
[broker]
host = "127.0.0.1"
port = {broker_port}
tls = false
backoff_first_s = 0.05
backoff_longest_s = 0.5
health_interval_s = 1
[intake.dicom]
ae_title = "UNIT"
host = "127.0.0.1"
port = {dicom_port}
[intake.folder]
folder = "inbox"
"""


class UnitProcess:
    """A unit's service, started and killed as a test likes; its folder outlives it."""

    def __init__(
        self,
        folder: Path,
        *,
        package: Path,
        broker_port: int,
        precision: str = "fp32",
        threads: int | None = 1,
        idle_timeout_s: float = 30,
        job_timeout_s: float = 20,
        reserve_mb: int = 0,
        console: str | None = None,
        command: tuple[str, ...] = ("-m", "runtime.cli.main", "run"),
        more_toml: str = "",
    ) -> None:
        self.folder = folder
        self.dicom_port = free_port()
        self.console_port = free_port()
        self.starts = 0
        self._console = console
        self._command = command
        self._more_toml = more_toml
        self._process: subprocess.Popen | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "inbox").mkdir(exist_ok=True)
        self.config = folder / "unit.toml"
        self.write_config(
            package=package,
            precision=precision,
            threads="" if threads is None else f"threads = {threads}",
            broker_port=broker_port,
            idle_timeout_s=idle_timeout_s,
            job_timeout_s=job_timeout_s,
            reserve_mb=reserve_mb,
        )
        if not (folder / "site.key").exists():
            write_site_key(folder / "site.key")

    def write_config(self, **values: object) -> None:
        """Writes unit.toml anew."""
        text = UNIT_TOML.format(site=SITE, unit=UNIT, dicom_port=self.dicom_port, **values)
        text += self._more_toml
        if self._console is not None:
            text += f"[console]\nenabled = true\nport = {self.console_port}\n{self._console}\n"
        self.config.write_text(text)

    @property
    def console_url(self) -> str:
        """The technologist's page (units that were given `console`, more lines of its section)."""
        return f"http://127.0.0.1:{self.console_port}/"

    @property
    def address(self) -> str:
        """For senders: AE@host:port."""
        return f"UNIT@127.0.0.1:{self.dicom_port}"

    @property
    def log(self) -> str:
        """Everything that the service said on standard error, over all its lives."""
        return (self.folder / "service.log").read_text()

    @property
    def process(self) -> subprocess.Popen:
        """The running child."""
        assert self._process is not None, "the unit was not started"
        return self._process

    def message_factory(self) -> MessageFactory:
        """What a site that holds the key can compute: the unit's pseudonyms."""
        key = read_site_key(self.folder / "site.key")
        return MessageFactory(site=SITE, unit=UNIT, boot_id="", site_key=key)

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> Self:
        """Starts the service; returns at once."""
        self.starts += 1
        with (self.folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._command, "--config", str(self.config), *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=os.environ | (environment or {}),
            )
        return self

    def wait_listening(self, timeout_s: float = 60) -> Self:
        """Returns when images can be sent."""
        import socket

        def listens() -> bool:
            assert self.process.poll() is None, self.log[-4000:]
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.dicom_port)) == 0

        wait_until(listens, "the DICOM port listens", timeout_s)
        return self

    def wait_log(self, text: str, timeout_s: float = 60) -> None:
        """Returns when the service has said `text`."""
        wait_until(
            lambda: text in self.log, lambda: f"{text!r} in the log:\n{self.log[-3000:]}", timeout_s
        )

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LONG_S)

    def stop(self, timeout_s: float = 60) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def memory_mb(self, pid: int | None = None) -> float:
        """Peak resident memory of the service (or of `pid`), MB."""
        status = Path(f"/proc/{pid or self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def worker_pid(self) -> int:
        """The pixel worker's process."""
        found: list[int] = []

        def looks() -> list[int]:
            for task in Path(f"/proc/{self.process.pid}/task").iterdir():
                found.extend(map(int, (task / "children").read_text().split()))
            return found

        wait_until(looks, f"a worker below {self.process.pid}")
        return found[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()
