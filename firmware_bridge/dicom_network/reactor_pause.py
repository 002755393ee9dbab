"""A pause of pynetdicom's own thread that has begun when it is said to have begun.

Before a request, pynetdicom (3.0.4, association.py) pauses the thread that serves an association,
so that it does not take the answer out of the queue. It clears an event and looks at a flag that
the thread sets before it waits for that event; a thread that has just come through still has the
flag set, looks into the queue once more and takes an answer that it cannot use: the sender waits
in vain for as long as it is patient. On a busy machine that is one request in some hundreds.
"""

from __future__ import annotations

import threading
from typing import Any

LOOK_S = 0.05


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
                self._tell_the_end()
                return
        self._running.release()
        if not self._assoc.is_alive():
            self._tell_the_end()

    def _tell_the_end(self) -> None:
        """Nobody will answer any more: who asks need not wait until its patience is over.

        pynetdicom's transport says so once, when the connection breaks, and the association's
        thread takes that word out of the queue as it ends: between the asker's look at
        `is_established` and its wait.
        """
        self._assoc.dimse.msg_queue.put((None, None))


def pause_surely(event: Any) -> None:
    """Handler of evt.EVT_CONN_OPEN of an association that we ask for: its thread runs later."""
    event.assoc._reactor_checkpoint = ReactorPause(event.assoc)  # noqa: SLF001 - no other way in
