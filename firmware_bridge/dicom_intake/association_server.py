"""Takes connections: no more than the associations can need, each with parts that keep limits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from firmware_bridge.dicom_intake.spooling_dimse import SpoolingDimse
from firmware_bridge.dicom_intake.spooling_socket import SpoolingSocket
from firmware_bridge.dicom_network.upper_layer import SpoolingUpperLayer

if TYPE_CHECKING:
    import ssl

    from firmware_bridge.dicom_intake.incoming_object import IncomingObject
    from firmware_bridge.dicom_network.association_limits import AssociationLimits


class AssociationOwner(Protocol):
    """Whom an association works for."""

    @property
    def limits(self) -> AssociationLimits:
        """What one association may take."""
        ...

    def open_object(self, assoc: Any) -> IncomingObject:
        """The file of an object whose first bytes are about to come."""
        ...

    def transfer_broken(self, assoc: Any, what: str) -> None:
        """A transfer was given up half-way, and its file removed."""
        ...

    def handshake_failed(self, fault: OSError) -> None:
        """A connection was no TLS of ours."""
        ...


class AssociationServer(ThreadedAssociationServer):  # type: ignore[misc] # pynetdicom is untyped here
    """Takes no more connections than the associations can need."""

    owner: AssociationOwner
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
            self.owner.handshake_failed(fault)
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
        owner: AssociationOwner = self.server.owner
        limits = owner.limits
        assoc.dimse = SpoolingDimse(assoc, open_object=owner.open_object)
        assoc.dul = SpoolingUpperLayer(assoc, limits=limits, broken=owner.transfer_broken)
        assoc.acse_timeout, assoc.network_timeout = self.ae.acse_timeout, self.ae.network_timeout
        assoc.set_socket(
            SpoolingSocket(assoc, client_socket=self.request, pdu_timeout_s=limits.pdu_timeout_s)
        )
        return assoc
