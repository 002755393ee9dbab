"""The watchdog: a run of tests ends, whatever hangs, and every thread's stack says where.

pytest-timeout fails a test that takes too long by raising inside it. A library's loop can swallow
that (Textual's does), and a thread that is joined for ever never hears of it. So in each process
of a run, worker or not, a timer is armed that needs neither Python nor its lock: `faulthandler`
writes the stacks of all threads and ends the process. During a test it stands behind the test's
own time-out, between tests at the end of the whole run. xdist reports the test whose worker died
as failed, and goes on with another worker.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

MARGIN_S = 60.0
"""Behind the test's own time-out: time to fail in order, and to tear down."""
LONGEST_RUN_S = 75 * 60.0
"""The suite takes 10 to 15 minutes; CI ends everything after 90."""
AT_ONCE_S = 0.001


class Watchdog:
    """One process's timer."""

    def __init__(self, *, out: TextIO, margin_s: float, longest_run_s: float) -> None:
        self._out = out
        self._margin_s = margin_s
        self._run_ends_s = time.monotonic() + longest_run_s

    def watch_run(self) -> None:
        """Between tests: what is left of the run."""
        self._arm(self._run_ends_s - time.monotonic())

    def watch_test(self, timeout_s: float) -> None:
        """Its own time-out and the margin, and never longer than the run."""
        left_s = self._run_ends_s - time.monotonic()
        self._arm(min(timeout_s + self._margin_s, left_s) if timeout_s else left_s)

    def _arm(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(max(AT_ONCE_S, seconds), exit=True, file=self._out)

    def watch_exit(self) -> None:
        """The run is over: a thread that nobody ended keeps its process for so long, not longer."""
        self._arm(self._margin_s)


WATCHDOG = pytest.StashKey[Watchdog]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Both bounds can be set in the configuration, as a test of them does."""
    parser.addini("watchdog_margin_s", "behind a test's time-out", default=str(MARGIN_S))
    parser.addini("watchdog_longest_run_s", "of the whole run", default=str(LONGEST_RUN_S))


def pytest_configure(config: pytest.Config) -> None:
    """Arms it for the run. A copy of standard error: pytest takes the real one away in tests."""
    config.stash[WATCHDOG] = Watchdog(
        out=os.fdopen(os.dup(sys.__stderr__.fileno()), "w"),
        margin_s=float(config.getini("watchdog_margin_s")),
        longest_run_s=float(config.getini("watchdog_longest_run_s")),
    )
    config.stash[WATCHDOG].watch_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Behind the last test. A worker that is done first waits here for the others."""
    watchdog = config.stash[WATCHDOG]
    watchdog.watch_run() if hasattr(config, "workerinput") else watchdog.watch_exit()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Set-up, test and tear-down of one test."""
    watchdog = item.config.stash[WATCHDOG]
    watchdog.watch_test(timeout_of(item))
    try:
        return (yield)
    finally:
        watchdog.watch_run()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """pytest has just ended every timer of faulthandler; the failed test is not torn down yet."""
    if isinstance(node, pytest.Item):
        node.config.stash[WATCHDOG].watch_test(timeout_of(node))


def timeout_of(item: pytest.Item) -> float:
    """The bound that pytest-timeout keeps for this test; 0: none."""
    mark = item.get_closest_marker("timeout")
    if mark is not None and (mark.args or "timeout" in mark.kwargs):
        return float(mark.args[0] if mark.args else mark.kwargs["timeout"])
    return float(item.config.getini("timeout") or 0)
