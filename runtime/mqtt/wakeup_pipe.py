"""Wakes a thread that waits in poll(2) for a socket, from any other thread."""

from __future__ import annotations

import socket


class WakeupPipe:
    """A pair of sockets; what rings is thrown away, however often it rang."""

    def __init__(self) -> None:
        self._ring_in, self._ring_out = socket.socketpair()
        self._ring_in.settimeout(0)
        self._ring_out.settimeout(0)

    def fileno(self) -> int:
        """To be registered with a poll for POLLIN."""
        return self._ring_out.fileno()

    def ring(self) -> None:
        """The thread wakes, now or when it waits next."""
        try:
            self._ring_in.send(b"\0")
        except OSError:
            return  # full: the thread is about to wake anyway; closed: there is no thread

    def heard(self) -> None:
        """Called by the thread that woke."""
        try:
            self._ring_out.recv(4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Nobody waits any more."""
        self._ring_in.close()
        self._ring_out.close()
