"""SIGTERM and SIGINT as an event, so that a command ends in order."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self


class StopSignals:
    """For the time of the block both signals set `event` instead of ending the process.

    Outside the main thread (tests) signals are left as they are.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._signal = 0
        self._before: list[tuple[int, Any]] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before.append((number, signal.signal(number, self._on_signal)))
        return self

    def __exit__(self, *_exc: object) -> None:
        for number, before in self._before:
            signal.signal(number, before)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._signal = number
        self.event.set()

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells have it."""
        return 128 + self._signal
