"""A pause of pynetdicom's own thread that has begun when it is said to have begun.

Before a request, pynetdicom (3.0.4, association.py) pauses the thread that serves an association,
so that it does not take the answer out of the queue. It clears an event and looks at a flag that
the thread sets before it waits for that event; a thread that has just come through still has the
flag set, looks into the queue once more and takes an answer that it cannot use: the sender waits
in vain for as long as it is patient. On a busy machine that is one request in some hundreds.
"""

from __future__ import annotations

import math
import threading
import time
from queue import Empty
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 0.05
END_LOOK_S = 0.25
NO_CONNECTION = "Sta1"
"""Of the upper layer's state machine: idle (PS3.8 table 9-1)."""


class ReactorPause(threading.Event):
    """The event of one association: who clears it returns when the thread does wait for it."""

    def __init__(self, assoc: Any) -> None:
        super().__init__()
        self._assoc = assoc
        self._running = threading.Lock()
        """Held by the association's thread while it is between two waits."""
        self._holds = False
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        """The association's thread: here it rests."""
        if threading.current_thread() is not self._assoc:
            return super().wait(timeout)
        if self._holds:
            self._running.release()
            self._holds = False
        while super().wait(timeout):
            self._running.acquire()
            if self.is_set():
                self._holds = True
                return True
            self._running.release()  # cleared in between: who did it may go on
        return False

    def clear(self) -> None:
        """Who asks: returns when the association's thread rests, or has ended."""
        super().clear()
        if threading.current_thread() is self._assoc:
            return
        while not self._running.acquire(timeout=LOOK_S):
            if not self._assoc.is_alive():
                return
        self._running.release()


def answer_or_end(assoc: Any) -> Callable[..., Any]:
    """`DIMSEServiceProvider.get_msg` that does not wait for the answer of a peer that is gone.

    pynetdicom says once, when the connection breaks, that nothing will come; the association's
    thread may take that word out of the queue just before it is paused, and who asks then waits
    until its patience is over.
    """
    provider = assoc.dimse

    def get_msg(block: bool = False) -> Any:  # noqa: FBT001, FBT002 - pynetdicom's signature
        if not block:
            return type(provider).get_msg(provider, block=False)
        patience_s = provider.dimse_timeout
        end_s = math.inf if patience_s is None else time.monotonic() + patience_s
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                return provider.msg_queue.get(timeout=min(left_s, END_LOOK_S))
            except Empty:
                if (
                    not assoc.dul.is_alive()
                    or assoc.dul.state_machine.current_state == NO_CONNECTION
                ):
                    break
        return None, None

    return get_msg


def pause_surely(event: Any) -> None:
    """Handler of evt.EVT_CONN_OPEN of an association that we ask for: its thread runs later."""
    event.assoc._reactor_checkpoint = ReactorPause(event.assoc)  # noqa: SLF001 - no other way in
    event.assoc.dimse.get_msg = answer_or_end(event.assoc)
