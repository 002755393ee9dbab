"""A unit for the demo: a folder, a unit.toml, and the service as a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from firmware_bridge.dicom_network.destination import Destination
from runtime.messages.topics import Topics
from runtime.publishing.site_key import write_site_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

STOP_TIMEOUT_S = 25.0
LOG_LINES = 40
_DICOM_ADDRESS = re.compile(r"^dicom://(?P<host>[^:]+):(?P<port>\d+) \((?P<title>[^)]+)\)$")

UNIT_TOML = """\
[unit]
site = "{site}"
unit = "{unit}"

[storage]
folder = "data"
reserve_mb = 64

[model]
package = "{package}"
devices = ["NPU", "GPU", "CPU"]
allow_unsigned = true

[exam]
# Images of the collection that stay alone are exams with views missing: they end by time-out.
idle_timeout_s = {idle_timeout_s}

[identity]
site_key_file = "site.key"

[broker]
host = "{broker_host}"
port = {broker_port}
tls = false

[intake.dicom]
host = "127.0.0.1"
port = 0
"""


@dataclass(frozen=True, kw_only=True)
class DemoUnit:
    """A unit's folder with its settings and its site key."""

    folder: Path
    topics: Topics

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        package: Path,
        broker_host: str,
        broker_port: int,
        idle_timeout_s: float,
    ) -> Self:
        """Writes unit.toml and the key into `folder`."""
        topics = Topics(site="demo", unit="mammo-1")
        text = UNIT_TOML.format(
            site=topics.site,
            unit=topics.unit,
            package=package.resolve().as_posix(),
            idle_timeout_s=idle_timeout_s,
            broker_host=broker_host,
            broker_port=broker_port,
        )
        (folder / "unit.toml").write_text(text, encoding="utf-8")
        write_site_key(folder / "site.key")
        return cls(folder=folder, topics=topics)

    @property
    def config(self) -> Path:
        """The settings."""
        return self.folder / "unit.toml"

    @property
    def site_key_file(self) -> Path:
        """The key."""
        return self.folder / "site.key"


class UnitService:
    """`mammoedge run` as a child process, used as a context manager. Its log goes to a file."""

    def __init__(self, unit: DemoUnit) -> None:
        self._unit = unit
        self._log = unit.folder / "service.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process is not None else None

    def log_tail(self) -> str:
        """The last lines that it wrote."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])

    def __enter__(self) -> Self:
        """Starts it, in a session of its own: Ctrl-C reaches us, and we stop it in order."""
        command = [
            sys.executable,
            "-m",
            "runtime.cli.main",
            "run",
            "--config",
            str(self._unit.config),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stops it: asked first, then killed."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def dicom_destination(intakes: Iterable[str]) -> Destination | None:
    """Where to send to, from the addresses in `status`; None if no DICOM intake is among them."""
    for address in intakes:
        found = _DICOM_ADDRESS.match(address)
        if found is not None:
            return Destination(ae_title=found["title"], host=found["host"], port=int(found["port"]))
    return None
