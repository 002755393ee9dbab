"""Takes connections: no more than the associations can need, each with parts that keep limits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from firmware_bridge.dicom_intake.spooling_dimse import SpoolingDimse
from firmware_bridge.dicom_intake.spooling_socket import SpoolingSocket
from firmware_bridge.dicom_network.upper_layer import SpoolingUpperLayer

if TYPE_CHECKING:
    import ssl

    from firmware_bridge.dicom_intake.storage_scp import DicomIntake


class AssociationServer(ThreadedAssociationServer):  # type: ignore[misc] # pynetdicom is untyped here
    """Knows its intake, and takes no more connections than the associations can need."""

    intake: DicomIntake
    tls: ssl.SSLContext | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._handshakes = 0
        self._handshake_lock = threading.Lock()
        super().__init__(*arguments, **named)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """A silent connection costs two threads: over twice the limit it is closed at once.

        Up to that the negotiation answers, with "local limit exceeded" (PS3.8 9.3.4).
        """
        del request, client_address
        open_now = len(self.active_associations) + self._handshakes
        return open_now < 2 * int(self.ae.maximum_associations) + 2

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in the connection's own thread.

        pynetdicom's server shakes hands where it accepts connections: a peer that connects and
        says nothing would lock all others out.
        """
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with self._handshake_lock:
            self._handshakes += 1
        try:
            request.settimeout(self.ae.acse_timeout)
            secured = self.tls.wrap_socket(request, server_side=True)
        except OSError as fault:
            self.intake.handshake_failed(fault)
            self.shutdown_request(request)
            return
        finally:
            with self._handshake_lock:
                self._handshakes -= 1
        super().finish_request(secured, client_address)


class AssociationHandler(RequestHandler):  # type: ignore[misc] # pynetdicom is untyped here
    """Gives each association the parts that write to the disk within limits."""

    def _create_association(self) -> Any:
        assoc = super()._create_association()
        intake: DicomIntake = self.server.intake
        limits = intake.settings.limits
        assoc.dimse = SpoolingDimse(assoc, open_object=intake.open_object)
        assoc.dul = SpoolingUpperLayer(assoc, limits=limits, broken=intake.transfer_broken)
        assoc.acse_timeout, assoc.network_timeout = self.ae.acse_timeout, self.ae.network_timeout
        assoc.set_socket(
            SpoolingSocket(assoc, client_socket=self.request, pdu_timeout_s=limits.pdu_timeout_s)
        )
        return assoc
