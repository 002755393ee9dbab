"""The unit's clock: wall time that does not jump before the ledger knows of it.

Expiry, retention and time-outs are ages. They must survive a restart, so they are kept as wall
times; but somebody sets the clock, or the network does, and then every age is wrong by the jump.
The time since the machine started (CLOCK_BOOTTIME, suspension included) does not jump: what the
two clocks disagree about is a jump, and nothing aged by it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TOLERANCE_MS = 30_000
"""Below this a step is what time daemons do every day; each look takes it over."""


class ClockAnchor(BaseModel):
    """Both clocks at one moment of one life of the machine. Kept in the ledger."""

    model_config = ConfigDict(frozen=True)

    machine_boot: str
    wall_ms: int
    elapsed_ms: int


def wall_ms() -> int:
    """Milliseconds since the epoch, UTC, as the machine believes."""
    return time.time_ns() // 1_000_000


def elapsed_ms() -> int:
    """Milliseconds since the machine started, those that it slept included (clock_gettime(2))."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def machine_boot() -> str:
    """Which life of the machine this is; "" where the kernel does not say."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class UnitClock:
    """Wall time for everything that ages. `now_ms` is thread-safe; one thread sets the anchor."""

    def __init__(
        self,
        *,
        wall: Callable[[], int] = wall_ms,
        elapsed: Callable[[], int] = elapsed_ms,
        boot: str | None = None,
    ) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._boot = machine_boot() if boot is None else boot
        self._anchor = self.reading()

    def reading(self) -> ClockAnchor:
        """Both clocks now, unguarded."""
        return ClockAnchor(
            machine_boot=self._boot, wall_ms=self._wall(), elapsed_ms=self._elapsed()
        )

    @property
    def anchor(self) -> ClockAnchor:
        """What the time is counted from."""
        return self._anchor

    def now_ms(self) -> int:
        """The wall clock, or (after a jump that was not taken over yet) what it would say."""
        anchor, wall = self._anchor, self._wall()
        steady = anchor.wall_ms + self._elapsed() - anchor.elapsed_ms
        return wall if abs(wall - steady) < TOLERANCE_MS else steady

    def jump_ms(self) -> int:
        """How far the wall clock has jumped since the anchor; 0 if it has not."""
        return jump_between(self._anchor, self.reading())

    def follow(self, anchor: ClockAnchor) -> None:
        """From now on the wall clock counts as in this reading."""
        self._anchor = anchor


def jump_between(before: ClockAnchor, now: ClockAnchor) -> int:
    """How far the wall clock was set between two readings, in ms; 0 if nothing speaks for it.

    Within one life of the machine the elapsed time tells. After a new start nobody knows how long
    the machine was off: a later time is believed, an earlier one cannot be.
    """
    passed = now.wall_ms - before.wall_ms
    if before.machine_boot == now.machine_boot != "":
        jump = passed - (now.elapsed_ms - before.elapsed_ms)
    else:
        jump = min(0, passed)
    return jump if abs(jump) >= TOLERANCE_MS else 0
