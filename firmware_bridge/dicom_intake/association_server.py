"""Takes connections: few that ask for nothing, and each with parts that keep limits."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any, Protocol

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from firmware_bridge.dicom_intake.spooling_dimse import SpoolingDimse
from firmware_bridge.dicom_intake.spooling_socket import SpoolingSocket
from firmware_bridge.dicom_network.upper_layer import SpoolingUpperLayer
from runtime.system.pending_connections import PendingConnections

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

    def pushed_out(self) -> None:
        """A connection that had not asked for an association was closed: there were too many."""
        ...


class AssociationServer(ThreadedAssociationServer):  # type: ignore[misc] # pynetdicom is untyped here
    """Takes each connection; of those that ask for nothing no more than a few are kept."""

    owner: AssociationOwner
    pending: PendingConnections[socket.socket]
    tls: ssl.SSLContext | None = None

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """A connection costs two threads: one too many that has not asked makes another one go."""
        self._push_out(self.pending.enter(request, client_address[0]))
        return True

    def _push_out(self, connection: socket.socket | None) -> None:
        if connection is None:
            return
        with contextlib.suppress(OSError):  # it ended by itself, a moment ago
            # Not `SSLSocket.shutdown`: it takes the session away from under a running handshake.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
            self.owner.pushed_out()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in the connection's own thread.

        pynetdicom's server shakes hands where it accepts connections: a peer that connects and
        says nothing would lock all others out.
        """
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(self.ae.acse_timeout)
        try:
            secured = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        except OSError as fault:  # the peer is gone already
            self.pending.leave(request)
            self.owner.handshake_failed(fault)
            self.shutdown_request(request)
            return
        try:
            if not self.pending.replace(request, secured):
                self.shutdown_request(secured)
                return
            secured.do_handshake()
        except OSError as fault:
            self.pending.leave(secured)
            self.owner.handshake_failed(fault)
            self.shutdown_request(secured)
            return
        super().finish_request(secured, client_address)


class AssociationHandler(RequestHandler):  # type: ignore[misc] # pynetdicom is untyped here
    """Gives each association the parts that write to the disk within limits."""

    def _create_association(self) -> Any:
        assoc = super()._create_association()
        owner: AssociationOwner = self.server.owner
        limits = owner.limits
        assoc.dimse = SpoolingDimse(assoc, open_object=owner.open_object)
        connection = self.request
        assoc.dul = SpoolingUpperLayer(
            assoc,
            limits=limits,
            broken=owner.transfer_broken,
            ended=lambda: self.server.pending.leave(connection),
        )
        assoc.acse_timeout, assoc.network_timeout = self.ae.acse_timeout, self.ae.network_timeout
        assoc.set_socket(
            SpoolingSocket(
                assoc,
                client_socket=self.request,
                pdu_timeout_s=limits.pdu_timeout_s,
                request_timeout_s=self.ae.acse_timeout,
            )
        )
        return assoc
