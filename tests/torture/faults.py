"""What happens to the clinic. Each fault ends with unit, worker and broker running again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.waiting import LONG_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.torture.clinic import Clinic

LEDGER = "ledger.db"
DAMAGED_BYTES = 20
STRANGERS = 22
HALF_REQUEST = b"\x01\x00\x00\x00\x00\xcd\x00\x01"
"""The first eight bytes of an A-ASSOCIATE-RQ (PS3.8, 9.3.2)."""


@dataclass
class Recovery:
    """Seconds from a fault to the next sign of life, for the faults that are timed."""

    worker_to_flag_s: list[float] = field(default_factory=list)
    control_to_success_s: list[float] = field(default_factory=list)


class Tormentor:
    """Draws faults and does them to a clinic; one thread."""

    def __init__(self, clinic: Clinic, seed: int) -> None:
        self._clinic = clinic
        self._draw = random.Random(seed)
        self.recovery = Recovery()
        self.done: list[str] = []

    def torment(self, kinds: tuple[str, ...], pauses_s: tuple[float, float]) -> None:
        """Until no exam comes any more, and each kind was there at least once."""
        left: list[str] = []
        while self._clinic.busy:
            time.sleep(self._draw.uniform(*pauses_s))
            if not left:
                left = self._draw.sample(kinds, len(kinds))
            kind = left.pop()
            FAULTS[kind](self)
            self.done.append(kind)
            self._revive()
            if not left:
                self._clinic.may_close.set()

    # --- the faults ---------------------------------------------------------------------------

    def control_killed(self) -> None:
        """SIGKILL of the service, as a power cut would."""
        began_s = time.time()
        self._clinic.unit.kill()
        self._clinic.unit.start()
        self._time(
            self.recovery.control_to_success_s, began_s, lambda: self._clinic.sending.answered_at_s
        )

    def control_stopped(self) -> None:
        """SIGTERM: it ends in order."""
        self._clinic.unit.stop()
        self._clinic.unit.start()

    def control_frozen(self) -> None:
        """SIGSTOP for a while: a machine that swaps."""
        self._freeze(self._clinic.unit.process.pid, 0.2, 4.0)

    def worker_killed(self) -> None:
        """A driver crashes."""
        pid = self._worker()
        if pid is None:
            return
        began_s = time.time()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        # What the dead one had judged may still be said: only flags beside a new worker count.
        new_s = began_s

        def flags_of_the_next() -> list[float]:
            nonlocal new_s
            if self._worker() in (None, pid):
                new_s = time.time()
            return [at_s for at_s in self._clinic.flags_heard_s() if at_s > new_s]

        self._time(self.recovery.worker_to_flag_s, began_s, flags_of_the_next)

    def worker_frozen(self) -> None:
        """It stands still, and goes on before anybody gives it up."""
        if (pid := self._worker()) is not None:
            self._freeze(pid, 0.2, 3.0)

    def worker_hung(self) -> None:
        """It stands still for longer than a job may take."""
        if (pid := self._worker()) is not None:
            self._freeze(pid, 9.0, 11.0)

    def broker_killed(self) -> None:
        """SIGKILL; it remembers what it had written."""
        self._clinic.broker.kill()
        time.sleep(self._draw.uniform(0.0, 2.0))
        self._clinic.broker.start()

    def broker_forgets(self) -> None:
        """SIGKILL, and its memory is gone: sessions, retained flags, queues."""
        self._clinic.broker.kill()
        (self._clinic.broker.folder / "mosquitto.db").unlink(missing_ok=True)
        self._clinic.broker.start()

    def broker_frozen(self) -> None:
        """It says nothing and keeps its connections."""
        self._freeze(self._clinic.broker.process.pid, 0.5, 4.0)

    def ledger_restored(self) -> None:
        """Somebody puts a copy of the ledger back that is a few exams old; the spool stays."""
        unit = self._clinic.unit
        ledger, copy = unit.folder / "data" / LEDGER, unit.folder / "copy.db"
        unit.stop()
        shutil.copy(ledger, copy)
        unit.start()
        time.sleep(self._draw.uniform(4.0, 8.0))
        unit.kill()
        self._without_log(ledger)
        shutil.copy(copy, ledger)
        unit.start()

    def ledger_damaged(self) -> None:
        """Bytes of the ledger change while the unit is off."""
        unit = self._clinic.unit
        unit.stop()
        with (unit.folder / "data" / LEDGER).open("r+b") as ledger:
            size = ledger.seek(0, os.SEEK_END)
            for _ in range(DAMAGED_BYTES):
                ledger.seek(self._draw.randrange(100, size))
                ledger.write(self._draw.randbytes(1))
        unit.start()

    def strangers_at_the_door(self) -> None:
        """Connections that never say who they are, while exams come."""
        with ExitStack() as held:
            for _ in range(STRANGERS):
                with suppress(OSError):
                    line = socket.create_connection(
                        ("127.0.0.1", self._clinic.unit.dicom_port), 1, ("127.0.0.9", 0)
                    )
                    held.enter_context(line)
                    line.sendall(HALF_REQUEST)
            time.sleep(self._draw.uniform(1.0, 4.0))

    @staticmethod
    def _without_log(ledger: Path) -> None:
        for suffix in ("-wal", "-shm"):
            ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)

    # --- parts --------------------------------------------------------------------------------

    def _revive(self) -> None:
        """Whoever ended by itself is started again, as a service manager would."""
        if self._clinic.unit.process.poll() is not None:
            self.done.append(f"unit ended by itself ({self._clinic.unit.process.returncode})")
            self._clinic.unit.start()

    def _worker(self) -> int | None:
        """The pixel worker's process; None between two of them."""
        unit = self._clinic.unit.process
        with suppress(OSError):
            for task in Path(f"/proc/{unit.pid}/task").iterdir():
                for pid in (task / "children").read_text().split():
                    if b"runtime.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        return int(pid)
        return None

    def _freeze(self, pid: int, least_s: float, most_s: float) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._draw.uniform(least_s, most_s))
            os.kill(pid, signal.SIGCONT)

    def _time(self, times_s: list[float], began_s: float, signs: Callable[[], list[float]]) -> None:
        """How long until the next sign; nothing is noted once no exam comes any more."""
        deadline_s = time.monotonic() + LONG_S
        while self._clinic.busy and time.monotonic() < deadline_s:
            later = [at_s for at_s in list(signs()) if at_s > began_s]
            if later:
                times_s.append(min(later) - began_s)
                return
            time.sleep(0.02)


FAULTS: dict[str, Callable[[Tormentor], None]] = {
    name: getattr(Tormentor, name)
    for name in (
        "control_killed",
        "control_stopped",
        "control_frozen",
        "worker_killed",
        "worker_frozen",
        "worker_hung",
        "broker_killed",
        "broker_forgets",
        "broker_frozen",
        "strangers_at_the_door",
        "ledger_restored",
        "ledger_damaged",
    )
}
