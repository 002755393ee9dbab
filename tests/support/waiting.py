"""Waits that end: each has a bound, and says what did not come.

Nothing below `tests/` and `benches/` waits in another way without a time-out of its own
(`tests/house/test_waits.py` looks). What swallows even that is ended by the watchdog.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from queue import Empty, Queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable, Iterator
    from typing import IO

LONG_S = 60.0
"""What comes at once on an idle machine comes within that on one where ten others compute."""
CHILD_S = 200.0
"""For a program of its own that starts, computes and ends."""
STEP_S = 0.005


def wait_until(
    condition: Callable[[], object],
    what: str | Callable[[], str],
    timeout_s: float = LONG_S,
    *,
    step_s: float = STEP_S,
) -> None:
    """Returns when the condition holds. AssertionError: `what` did not come in that time.

    A function is asked for its words at the end of a wait in vain: a log, a screen.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, did_not_come(what, timeout_s)
        time.sleep(step_s)


async def wait_until_async(
    condition: Callable[[], object],
    what: str | Callable[[], str],
    timeout_s: float = LONG_S,
    *,
    step: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(STEP_S),
) -> None:
    """The same inside a loop of asyncio, which lives on in each `step`."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, did_not_come(what, timeout_s)
        await step()


def did_not_come(what: str | Callable[[], str], timeout_s: float) -> str:
    """The words of a wait in vain."""
    return f"did not come within {timeout_s:g} s: {what if isinstance(what, str) else what()}"


def joined(thread: threading.Thread, what: str, timeout_s: float = LONG_S) -> None:
    """Returns when the thread has ended."""
    thread.join(timeout_s)
    assert not thread.is_alive(), did_not_come(what, timeout_s)


def next_line(stream: IO[str], what: str, timeout_s: float = LONG_S) -> str:
    """The next line that a child prints; "" at its end."""
    lines: Queue[str] = Queue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=timeout_s)
    except Empty:
        raise AssertionError(did_not_come(what, timeout_s)) from None


def lines_of(stream: IO[str], what: str, timeout_s: float = LONG_S) -> Iterator[str]:
    """The lines that a child prints until it ends; all of them in that time."""
    deadline_s = time.monotonic() + timeout_s
    while line := next_line(stream, what, max(0.0, deadline_s - time.monotonic())):
        yield line


@contextmanager
def killed_after(process: subprocess.Popen[str], what: str, timeout_s: float) -> Iterator[None]:
    """At the deadline the child is killed: who reads what it prints comes back, and it is told.

    For benches: nothing stands between the child and its reader.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout_s, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        assert not late.is_set(), did_not_come(what, timeout_s)
