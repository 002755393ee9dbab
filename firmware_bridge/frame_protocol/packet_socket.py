"""A connected SOCK_SEQPACKET socket: packets with file descriptors in, whole messages out."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import socket
import struct
import termios
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_bridge.frame_protocol.messages import MAX_MESSAGE_BYTES
from firmware_bridge.frame_protocol.protocol import Packet
from models.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Iterator

CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)
DESCRIPTORS_READ = 4
"""More than a message may have, so that a second one is seen, refused and closed."""
ANCILLARY_BYTES = socket.CMSG_SPACE(DESCRIPTORS_READ * array.array("i").itemsize)


class PeerGoneError(PeerError):
    """The peer closed, died, or does not read."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Who is at the other end, as the kernel says it."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """The peer's credentials at the time of its connect(2)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, _gid = CREDENTIALS.unpack(raw)
    return Peer(pid=pid, uid=uid)


class FrameSocket:
    """One thread reads, any thread sends.

    Args:
        connection: taken over; `close` closes it.
        send_timeout_s: how long a peer may not read.
    """

    def __init__(self, connection: socket.socket, *, send_timeout_s: float) -> None:
        connection.settimeout(send_timeout_s)
        self._connection = connection
        self._sending = threading.Lock()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    @contextmanager
    def receive(self, timeout_s: float) -> Iterator[tuple[Packet, list[int]] | None]:
        """The next packet and its descriptors, which are closed afterwards; None at the time-out.

        Raises:
            PeerGoneError: no more will come.
        """
        if not self._poll.poll(timeout_s * 1000):
            yield None
            return
        try:
            data, ancillary, flags, _ = self._connection.recvmsg(
                MAX_MESSAGE_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise PeerGoneError from error
        descriptors = _descriptors(ancillary)
        try:
            if not data and not descriptors and self._hung_up():
                raise PeerGoneError
            yield (
                Packet(
                    data=data,
                    descriptors=len(descriptors),
                    truncated=bool(flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)),
                ),
                descriptors,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def send(self, message: bytes) -> None:
        """Sends one message. Raises PeerGoneError; the connection is of no more use then."""
        try:
            with self._sending:
                self._connection.send(message, socket.MSG_NOSIGNAL)
        except OSError as error:
            raise PeerGoneError from error

    def hang_up(self) -> None:
        """Nothing more is read; what came before still is. Wakes the reader."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)

    def cut(self) -> None:
        """Ends both directions at once; a thread that waits in `send` comes back."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the connection; no thread may use it any more. What we said last can be read."""
        self.cut()
        # A socket that closes with unread messages resets its peer (net/unix/af_unix.c,
        # unix_release_sock), and the peer would not read why it was sent away.
        with contextlib.suppress(OSError):
            while _unread_bytes(self._connection):
                self._connection.recv(1, socket.MSG_DONTWAIT)
        self._connection.close()

    def _hung_up(self) -> bool:
        # An empty packet reads like the end of a stream: only the kernel's word tells them apart.
        watch = select.poll()
        watch.register(self._connection, select.POLLRDHUP)
        return bool(watch.poll(0))


def _unread_bytes(connection: socket.socket) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(connection, termios.FIONREAD, count)  # SIOCINQ, unix(7)
    return count[0]


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return found.tolist()
