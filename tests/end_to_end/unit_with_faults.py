"""The real service, with the plug pulled at a named point, or with the poisoned worker."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from runtime.unit.service import Service, configure_logging, intake_types
from runtime.unit.settings import load_settings
from runtime.worker.supervisor import WORKER_COMMAND
from tests.support.named_points import named_points

POISONED_WORKER = (sys.executable, "-m", "tests.end_to_end.poisoned_worker")


class Plug:
    """Kills the victim when a point is reached for the n-th time, then goes on to the next plan.

    `plans`: `POINT:COUNT`, one after the other. What was done is written to `record`.
    """

    def __init__(
        self, plans: list[str], victim: str, record: Path, broker_pid_file: Path | None
    ) -> None:
        self._plans = [(point, int(count)) for point, count in (p.split(":") for p in plans)]
        self._seen = 0
        self._victim = victim
        self._record = record
        self._broker_pid_file = broker_pid_file
        self._lock = threading.Lock()
        self.service: Service | None = None

    def reached(self, point: str) -> None:
        """Called at each named point, from any of the service's threads."""
        with self._lock:
            if not self._plans or point != self._plans[0][0]:
                return
            self._seen += 1
            if self._seen >= self._plans[0][1] and self._pull(point):
                self._plans.pop(0)
                self._seen = 0

    def _pull(self, point: str) -> bool:
        """False if there is nobody to kill at this moment: then at the next time."""
        pid: int | None = os.getpid()
        if self._victim == "worker":
            pid = self.service._parts.supervisor.state.pid
        elif self._victim == "broker":
            pid = int(self._broker_pid_file.read_text() or 0)
        if not pid or not _alive(pid):
            return False
        with self._record.open("a") as record:
            record.write(f"{self._victim} {point}\n")
            record.flush()
        os.kill(pid, signal.SIGKILL)
        return True


def _alive(pid: int) -> bool:
    """Whether the process is there and no zombie (that has no command line any more)."""
    command_line = Path(f"/proc/{pid}/cmdline")
    return command_line.exists() and bool(command_line.read_bytes())


def main() -> int:
    """Like `mammoedge run`, with faults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--pull", nargs="*", default=[], metavar="POINT:COUNT")
    parser.add_argument("--victim", choices=("control", "worker", "broker"), default="control")
    parser.add_argument("--record", type=Path, default=Path(os.devnull))
    parser.add_argument("--broker-pid-file", type=Path)
    parser.add_argument("--poisoned", action="store_true")
    arguments = parser.parse_args()
    configure_logging("INFO")
    plug = Plug(arguments.pull, arguments.victim, arguments.record, arguments.broker_pid_file)
    with named_points(plug.reached):
        service = Service(
            load_settings(arguments.config, intake_types()),
            worker_command=POISONED_WORKER if arguments.poisoned else WORKER_COMMAND,
        )
        plug.service = service
        signal.signal(signal.SIGTERM, lambda *_: service.stop())
        service.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
