"""Real brokers on free loopback ports: Debian's Mosquitto, and the embedded one of the demo."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

from tests.support.waiting import LONG_S, wait_until

MOSQUITTO = "/usr/sbin/mosquitto"


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker(Protocol):
    """What tests need of either."""

    host: str
    port: int


class Mosquitto:
    """Debian's mosquitto with a configuration of its own.

    `folder`: for configuration and persistence. `lines`: more lines of mosquitto.conf. `acl`:
    lines of an access control file. Killed and restarted it keeps port and folder.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        folder: Path,
        *,
        lines: tuple[str, ...] = (),
        acl: tuple[str, ...] = (),
        persistence: bool = False,
        port: int | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.port = port or free_port()
        self.prefix = prefix
        """What it is started with: ("faketime", "-f", "+25h")."""
        self.folder = folder
        self.process: subprocess.Popen | None = None
        self._acl = folder / "acl"
        folder.mkdir(parents=True, exist_ok=True)
        # Started as root it would change to the user mosquitto, who cannot read our folder.
        text = ["user root", "allow_anonymous true", "log_dest stderr", "log_type all", *lines]
        if persistence:
            text += ["persistence true", f"persistence_location {folder}/"]
        if acl:
            self.set_acl(acl)
            text.append(f"acl_file {self._acl}")
        if not any(line.startswith("listener") for line in lines):
            text.insert(0, f"listener {self.port} {self.host}")
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text("\n".join(text) + "\n")

    def set_acl(self, lines: tuple[str, ...]) -> None:
        """Writes the access rules; `reload` makes a running broker read them."""
        self._acl.write_text("\n".join(lines) + "\n")
        self._acl.chmod(0o700)

    def reload(self) -> None:
        """Reads the access rules again."""
        self.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)

    def start(self) -> Self:
        """Starts it; returns when it takes connections."""
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, MOSQUITTO, "-c", str(self._configuration)],
                stdout=log,
                stderr=log,
                # A group of its own: `faketime` has the broker as a child, and both must go.
                start_new_session=True,
            )
        wait_until(self.is_up, what="mosquitto listens")
        return self

    def is_up(self) -> bool:
        """Whether someone listens on the port."""
        assert self.process.poll() is None, (self.folder / "mosquitto.log").read_text()
        with suppress(OSError), socket.create_connection((self.host, self.port), 0.5):
            return True
        return False

    def kill(self) -> None:
        """SIGKILL: what it had not written is lost."""
        if self.process is not None:
            with suppress(ProcessLookupError):  # it died before, and was noticed
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(LONG_S)
            self.process = None

    def stop(self) -> None:
        """SIGTERM: it writes what it keeps."""
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(LONG_S)
        self.process = None

    def log(self) -> str:
        """What it said, over all its lives."""
        return (self.folder / "mosquitto.log").read_text()

    def restart(self) -> None:
        """Killed and started again."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.kill()


def mosquitto_missing() -> str | None:
    """Why Mosquitto cannot be used here, or None."""
    if Path(MOSQUITTO).exists() or shutil.which("mosquitto"):
        return None
    return "mosquitto (Debian package) is not installed"
