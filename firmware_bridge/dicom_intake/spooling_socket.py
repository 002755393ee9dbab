"""The socket of an association that brings objects: large reads, and a time for each PDU."""

from __future__ import annotations

import socket
import time
from typing import Any

from pynetdicom.transport import AssociationSocket


class SpoolingSocket(AssociationSocket):  # type: ignore[misc] # pynetdicom is untyped here
    """A socket that reads as much as there is, within a time, and can take back a PDU header.

    Until the peer has asked for an association there is one deadline for all of its request,
    however it is cut into bytes.
    """

    def __init__(
        self, assoc: Any, *, client_socket: Any, pdu_timeout_s: float, request_timeout_s: float
    ) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self._pdu_timeout_s = pdu_timeout_s
        self._request_until_s: float | None = time.monotonic() + request_timeout_s
        self._given_back = b""
        # pynetdicom leaves an accepted socket blocking without end.
        client_socket.settimeout(pdu_timeout_s)
        # An answer is one small segment: it must not wait for the peer's acknowledgement.
        client_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request_complete(self) -> None:
        """The peer has asked: from now on each PDU has its own time."""
        if self._request_until_s is not None and self.socket is not None:
            self._request_until_s = None
            self.socket.settimeout(self._pdu_timeout_s)

    def give_back(self, header: bytes) -> None:
        """The next `recv` starts with these bytes."""
        self._given_back = header

    def recv(self, nr_bytes: int) -> bytearray:
        """Reads `nr_bytes`, or fewer if the peer closes. Raises TimeoutError, OSError."""
        data = bytearray(nr_bytes)
        head, self._given_back = self._given_back[:nr_bytes], self._given_back[nr_bytes:]
        data[: len(head)] = head
        with memoryview(data) as view:
            count = len(head) + self.receive_into(view[len(head) :])
        del data[count:]
        return data

    def receive_into(self, view: memoryview) -> int:
        """Fills `view`; fewer bytes only if the peer closes. Raises TimeoutError, OSError."""
        deadline_s = time.monotonic() + self._pdu_timeout_s
        filled = 0
        while filled < len(view):
            if self.socket is None:
                return filled
            if self._request_until_s is not None:
                self.socket.settimeout(max(0.001, self._request_until_s - time.monotonic()))
            count = self.socket.recv_into(view[filled:])
            if count == 0:
                return filled
            filled += count
            self._acknowledge_at_once()
            if filled < len(view) and time.monotonic() > deadline_s:
                raise TimeoutError("PDU not complete in time")
        return filled

    def _acknowledge_at_once(self) -> None:
        """Many senders leave Nagle's algorithm on (RFC 896).

        Their last, short segment waits for our acknowledgement, which Linux would delay by 40 ms.
        The option wears off (tcp(7)), hence each time.
        """
        if hasattr(socket, "TCP_QUICKACK"):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
