"""From the socket to the disk: the seam between pynetdicom and the files of incoming objects.

pynetdicom's own chunked mode (`_config.STORE_RECV_CHUNKED_DATASET`) does the same with a global
switch and temporary files in the system's folder; it reads sockets 4 KiB at a time, copies each
byte seven times, knows no limit on PDUs or objects, leaves files of aborted transfers behind and
waits for ever on a peer that stalls inside a PDU. Here each association is given its own parts
(`RequestHandler` is where pynetdicom makes them) and what reaches the service class is what the
chunked mode hands it: a C-STORE primitive with the path of a complete DICOM file.

Written against pynetdicom 3.0.x. Overridden: `DULServiceProvider._read_pdu_data` and
`_is_transport_event` here, `DIMSEServiceProvider.get_msg` in `spooling_dimse`,
`AssociationSocket.recv` in `spooling_socket`.
"""

from __future__ import annotations

import time
from struct import Struct
from typing import TYPE_CHECKING, Any

from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError

from firmware_bridge.dicom_network.association_limits import (
    MAX_NEGOTIATION_BYTES,
    AssociationLimits,
    LimitExceededError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PDU_HEADER = Struct(">BxL")  # PS3.8 9.3.1: type, reserved, length
PDV_HEADER = Struct(">LBB")  # PS3.8 9.3.5.1 and E.2: length, context, message control header
assert PDU_HEADER.size == PDV_HEADER.size == 6  # noqa: S101 - a struct's size is checked at import
P_DATA_TF = 0x04
ESTABLISHED = "Sta6"  # PS3.8 9.2.2: ready for data transfer
CONNECTION_CLOSED = "Evt17"  # PS3.8 9.2.3
INVALID_PDU = "Evt19"

POLL_ACTIVE_S = 0.001
POLL_RESTING_S = 0.01
REST_AFTER_S = 1.0


def fragments(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """The presentation data values of a P-DATA-TF PDU: context, control header, bytes.

    Raises:
        LimitExceededError: a length points outside the PDU.
    """
    offset = 0
    while offset < len(body):
        if offset + PDV_HEADER.size > len(body):
            raise LimitExceededError("broken PDU")
        length, context_id, control = PDV_HEADER.unpack_from(body, offset)
        end = offset + 4 + length  # the length counts context and control header
        if length < 2 or end > len(body):
            raise LimitExceededError("broken PDU")
        yield context_id, control, body[offset + PDV_HEADER.size : end]
        offset = end


class SpoolingUpperLayer(DULServiceProvider):  # type: ignore[misc] # pynetdicom is untyped here
    """Reads PDUs within limits; while an object arrives it does nothing else."""

    def __init__(
        self,
        assoc: Any,
        *,
        limits: AssociationLimits,
        broken: Callable[[Any, str], None],
        ended: Callable[[], None],
    ) -> None:
        super().__init__(assoc)
        self._ended = ended
        self._limits = limits
        self._broken = broken
        self._active_at_s = time.monotonic()
        self._buffer = memoryview(bytearray(limits.max_pdu_bytes))

    def run_reactor(self) -> None:
        """Runs until the connection is gone, then removes what was left half received."""
        try:
            super().run_reactor()
        except InvalidEventError:
            # Our abort met the peer's, or its hanging up: PS3.8 table 9-10 has no transition for
            # that, and nothing is left to be said on this connection.
            if self.socket is not None:
                self.socket.close()
        finally:
            self._ended()
            self.assoc.dimse.discard()
            if not self.assoc.is_established:
                # The association waits for its request and would hold its place until that times
                # out: nothing (None) comes any more.
                self.to_user_queue.put(None)

    def _is_transport_event(self) -> bool:
        """Polls often while the peer is active, seldom while it only keeps the line open.

        Only the first PDU after a rest comes later by that: an object is read without polling.
        """
        active = bool(super()._is_transport_event())
        now_s = time.monotonic()
        if active:
            self._active_at_s = now_s
        resting = now_s - self._active_at_s > REST_AFTER_S
        self._run_loop_delay = POLL_RESTING_S if resting else POLL_ACTIVE_S
        return active

    def _read_pdu_data(self) -> None:
        try:
            while self._read_one_pdu() and not self._kill_thread:
                self._idle_timer.restart()
        except LimitExceededError as fault:
            self._give_up(fault.what, INVALID_PDU)
        except OSError:
            self._give_up("connection lost or too slow", CONNECTION_CLOSED)

    def _give_up(self, what: str, event: str) -> None:
        """A-ABORT, or nothing if the connection is gone (PS3.8 table 9-10)."""
        worth_a_word = self.assoc.dimse.receiving or event == INVALID_PDU
        self.assoc.dimse.discard()
        self.event_queue.put(event)
        if worth_a_word:
            self._broken(self.assoc, what)

    def _read_one_pdu(self) -> bool:
        """Whether to go on reading at once: an object is under way."""
        header = self.socket.recv(PDU_HEADER.size)
        if len(header) == PDU_HEADER.size:
            pdu_type, length = PDU_HEADER.unpack(header)
            is_data = pdu_type == P_DATA_TF
            if length > (self._limits.max_pdu_bytes if is_data else MAX_NEGOTIATION_BYTES):
                raise LimitExceededError("PDU too large")
            if is_data and self.state_machine.current_state == ESTABLISHED:
                return self._read_data(length)
        elif self.assoc.dimse.receiving:
            raise ConnectionError("closed inside an object")
        self.socket.give_back(bytes(header))
        super()._read_pdu_data()
        self.socket.request_complete()
        return False

    def _read_data(self, length: int) -> bool:
        body = self._buffer[:length]
        if self.socket.receive_into(body) < length:
            raise ConnectionError("closed inside a PDU")
        for context_id, control, fragment in fragments(body):
            self.assoc.dimse.receive_fragment(context_id, control, fragment)
        return bool(self.assoc.dimse.receiving)
