"""What comes in over the network: DICOM Storage, Verification, MPPS, Storage Commitment SCP.

The answer "Success" leaves only after the receiver has made the object durable.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from socketserver import BaseServer
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pynetdicom import AE, evt

from firmware_bridge.dicom_intake.admission import Admission
from firmware_bridge.dicom_intake.association_server import AssociationHandler, AssociationServer
from firmware_bridge.dicom_intake.incoming_object import IncomingObject, remove_leftovers
from firmware_bridge.dicom_intake.object_identity import matches_command
from firmware_bridge.dicom_intake.settings import DicomIntakeSettings
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.store_status import StoreRefusal, StoreStatus
from firmware_bridge.dicom_network.transfer_syntaxes import (
    KEY_OBJECT_SELECTION,
    accepted_contexts,
    passed_over_contexts,
)
from firmware_bridge.dicom_services.mpps import MppsService, StepReader
from firmware_bridge.dicom_services.rejection_note import NO_REJECTION_NOTE, tell_rejections
from firmware_bridge.dicom_services.storage_commitment import StorageCommitment
from runtime.exams.intake_ports import (
    IntakePorts,
    ObjectPassedOverError,
    ObjectRefusedError,
    OutOfRoomError,
)
from runtime.image.header import HeaderRefusedError, passed_over
from runtime.ledger.ledger import LedgerError
from runtime.messages.payloads import EventKind
from runtime.system.pending_connections import PendingConnections
from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydicom.dataset import Dataset

    from firmware_bridge.dicom_network.association_limits import AssociationLimits

LOGGER = logging.getLogger(__name__)
SOURCE = "dicom"
REPORTS_AT_ONCE = 10
REPORTS_PER_S = 0.1


class DicomIntake:
    """Listens for associations and hands their objects to the receiver.

    Args:
        settings: checked already.
    """

    settings_type: ClassVar[type[BaseModel]] = DicomIntakeSettings

    def __init__(self, settings: BaseModel) -> None:
        if not isinstance(settings, DicomIntakeSettings):
            raise TypeError("DicomIntake takes DicomIntakeSettings")
        self.settings = settings
        self._ports: IntakePorts | None = None
        self._server: AssociationServer | None = None
        self._listening: threading.Thread | None = None
        self._port = settings.port
        self._admission = Admission(settings.admission)
        self._most_pending = 2 * settings.max_associations + 2
        self._pending: PendingConnections[socket.socket] = PendingConnections(
            most=self._most_pending,
            per_address=settings.max_associations + 2,
            is_known=settings.admission.is_known_address,
        )
        self._report_lock = threading.Lock()
        self._faults_said: set[str] = set()
        self._reports = TokenBucket(
            capacity=REPORTS_AT_ONCE, per_s=REPORTS_PER_S, monotonic=time.monotonic
        )

    @property
    def port(self) -> int:
        """The port that it listens on; the real one after `start` if the settings say 0."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._server is not None

    @property
    def alive(self) -> bool:
        """Whether it still listens."""
        thread = self._listening
        return self.running and thread is not None and thread.is_alive()

    @property
    def address(self) -> str:
        """`dicom://HOST:PORT (AE TITLE)`."""
        scheme = "dicom" if self.settings.tls is None else "dicom-tls"
        return f"{scheme}://{self.settings.host}:{self._port} ({self.settings.ae_title})"

    def start(self, ports: IntakePorts) -> None:
        """Removes leftovers of an earlier run and listens.

        Raises:
            OSError: the port is taken, or a certificate cannot be read.
        """
        self._ports = ports
        tls = self.settings.tls.server_context() if self.settings.tls else None
        steps = MppsService(
            StepReader(procedure_views=self.settings.procedure_views),
            ports.notices,
            storage_fault=self._step_not_recorded,
        )
        removed = remove_leftovers(ports.objects.incoming)
        if removed:
            LOGGER.info("removed %d files that were half received", removed)
        # What pynetdicom has to say at INFO is what peers do all day.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        try:
            server = self._application_entity().make_server(
                (self.settings.host, self.settings.port),
                evt_handlers=[
                    (evt.EVT_C_STORE, self._store),
                    (evt.EVT_N_CREATE, steps.create),
                    (evt.EVT_N_SET, steps.set),
                    (evt.EVT_N_ACTION, self._commitment().request),
                    (evt.EVT_REQUESTED, self._admit),
                    (evt.EVT_REQUESTED, _offer_to_pass_over),
                    (evt.EVT_REJECTED, self._rejected),
                ],
                server_class=AssociationServer,
                request_handler=AssociationHandler,
            )
        except OSError as fault:
            # The system's own words name no port: which of the unit's ports is taken?
            raise OSError(fault.errno, fault.strerror, self.address) from fault
        server.owner, server.tls, server.pending = self, tls, self._pending
        self._server = server
        self._port = server.server_address[1]
        self._listening = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.5}, name="dicom", daemon=True
        )
        self._listening.start()

    def stop(self) -> None:
        """Closes the port, lets objects that are arriving finish within the time, hangs up."""
        server, self._server = self._server, None
        if server is None:
            return
        BaseServer.shutdown(server)
        server.server_close()
        deadline_s = time.monotonic() + self.settings.drain_timeout_s
        # Twice not busy: between handler and response there is a moment that looks like rest.
        calm = 0
        while calm < 2 and time.monotonic() < deadline_s:
            busy = any(assoc.dimse.busy for assoc in server.active_associations)
            calm = 0 if busy else calm + 1
            time.sleep(0.02)
        for assoc in server.active_associations:
            # The thread of a busy association sits in recv: only the socket wakes it.
            assoc.dul.socket._shutdown_socket()  # noqa: SLF001
        for assoc in server.active_associations:
            assoc.join(timeout=5.0)

    @property
    def limits(self) -> AssociationLimits:
        """What one association may take."""
        return self.settings.limits

    def open_object(self, assoc: Any) -> IncomingObject:
        """The file of an object whose first bytes are about to come."""
        del assoc
        try:
            return IncomingObject(
                self._require_ports().objects.incoming,
                limits=self.settings.limits,
                started_s=time.monotonic(),
                room=self._room,
            )
        except Exception as fault:
            # It ends the association's thread, which says it to nobody who listens.
            self._say_fault(fault)
            raise

    def _room(self, size_bytes: int) -> StoreRefusal | None:
        """Why an object must not grow by so many bytes; None if it may."""
        try:
            self._require_ports().objects.check_room(size_bytes)
        except OutOfRoomError:
            return StoreRefusal(status=StoreStatus.OUT_OF_RESOURCES, comment="out of room")
        except (LedgerError, OSError) as fault:
            return _storage_fault(fault)
        return None

    def transfer_broken(self, assoc: Any, what: str) -> None:
        """Reports that a transfer was given up half-way, and its file removed."""
        self._report(EventKind.ASSOCIATION_REFUSED, f"aborted: {what}", assoc)

    def handshake_failed(self, fault: OSError) -> None:
        """Reports a connection that was no TLS of ours: clear text, no or a wrong certificate."""
        reason = fault.reason if isinstance(fault, ssl.SSLError) else type(fault).__name__
        self._report(EventKind.ASSOCIATION_REFUSED, f"TLS handshake failed: {reason}", None)

    def pushed_out(self) -> None:
        """Reports a connection that was closed for others: it had not asked for anything."""
        self._report(EventKind.ASSOCIATION_REFUSED, "asked for nothing, others waited", None)

    def _step_not_recorded(self, fault: LedgerError | OSError) -> None:
        what = f"a procedure step cannot be recorded: {type(fault).__name__}"
        LOGGER.error(what)
        self._report(EventKind.FAULT, what, None)

    def _commitment(self) -> StorageCommitment:
        pacs = self.settings.commitment_pacs
        return StorageCommitment(
            pacs=Destination.parse(pacs) if pacs else None,
            ae_title=self.settings.ae_title,
            timeout_s=self.settings.commitment_timeout_s,
        )

    def _application_entity(self) -> AE:
        settings = self.settings
        entity = AE(ae_title=settings.ae_title)
        entity.supported_contexts = accepted_contexts()
        # Ours to decide, in `_admit`: pynetdicom would count those that have not asked.
        entity.maximum_associations = settings.max_associations + self._most_pending + 1
        entity.maximum_pdu_size = settings.limits.max_pdu_bytes
        entity.require_calling_aet = list(settings.calling_ae_titles)
        entity.acse_timeout = settings.acse_timeout_s
        entity.dimse_timeout = settings.network_timeout_s
        entity.network_timeout = settings.network_timeout_s
        return entity

    def _admit(self, event: Any) -> None:
        """What pynetdicom does not look at before it accepts: our names, and the room."""
        assoc, settings = event.assoc, self.settings
        calling, allowed = _calling_title(assoc), settings.calling_ae_titles
        if allowed and calling not in allowed:
            return  # pynetdicom rejects it
        called = settings.called_ae_titles
        if called and assoc.requestor.primitive.called_ae_title.strip() not in called:
            # PS3.8 9.3.4: rejected permanent, by the service user, called AE title not recognised.
            self._reject(event, 0x01, 0x01, 0x07)
        elif not self._admission.admits(
            assoc, address=assoc.requestor.address, calling_title=calling
        ):
            # Rejected transient, by the service provider (presentation), local limit exceeded.
            self._reject(event, 0x02, 0x03, 0x02)
        else:
            self._pending.leave(assoc.dul.socket.socket)

    def _reject(self, event: Any, result: int, source: int, reason: int) -> None:
        event.assoc.acse.send_reject(result, source, reason)
        self._rejected(event)
        event.assoc.kill()

    def _rejected(self, event: Any) -> None:
        self._report(EventKind.ASSOCIATION_REFUSED, "rejected", event.assoc)

    def _report(self, kind: EventKind, what: str, assoc: Any) -> None:
        """Within a limit: a scanner on the network must not fill the outbox.

        Who it was stands in the log only: a title is whatever a peer calls itself.
        """
        with self._report_lock:
            allowed = self._reports.take()
        more = "" if allowed else " (too many: not published)"
        LOGGER.info("%s, from %r%s", what, _calling_title(assoc), more)
        if allowed:
            self._publish(kind, what)

    def _publish(self, kind: EventKind, detail: str) -> None:
        try:
            self._require_ports().events.report(kind, detail, source=SOURCE)
        except LedgerError as fault:
            LOGGER.error("an event is lost: %s", type(fault).__name__)  # noqa: TRY400 - no defect

    def _say_fault(self, fault: Exception) -> None:
        """A defect of ours, by its kind alone (its text may quote the data set), once each."""
        what = f"an image could not be handled: {type(fault).__name__}"
        LOGGER.error(what)
        with self._report_lock:
            news = what not in self._faults_said
            self._faults_said.add(what)
        if news:
            self._publish(EventKind.FAULT, what)

    def _store(self, event: Any) -> int | Dataset:
        event.assoc.dimse.handling = True
        try:
            refusal = self._take(event)
        except (LedgerError, OSError) as fault:
            refusal = _storage_fault(fault)
        except Exception as fault:
            # pynetdicom answers with a failure (0xC211), and says nothing to anybody else.
            self._say_fault(fault)
            raise
        finally:
            event.assoc.dimse.handling = False
        return int(StoreStatus.SUCCESS) if refusal is None else refusal.response()

    def _take(self, event: Any) -> StoreRefusal | None:
        """Makes the object durable, or says why not."""
        incoming: IncomingObject | None = event.request._dataset_file  # noqa: SLF001
        if incoming is None:
            return StoreRefusal(status=StoreStatus.CANNOT_UNDERSTAND, comment="no data set")
        refusal = incoming.refusal or self._check_command(event, incoming)
        if refusal is not None:
            return refusal
        if event.context.abstract_syntax == KEY_OBJECT_SELECTION:
            return self._take_note(incoming)
        try:
            self._require_ports().objects.receive(
                incoming.path, source=SOURCE, peer=_calling_title(event.assoc)
            )
        except OutOfRoomError:
            return StoreRefusal(status=StoreStatus.OUT_OF_RESOURCES, comment="out of room")
        except ObjectRefusedError as refused:
            return _answer_to(refused)
        return None

    def _take_note(self, note: IncomingObject) -> StoreRefusal | None:
        """A rejection note: its word goes to the ledger, the document itself is not kept."""
        try:
            told = tell_rejections(note.path, self._require_ports().notices)
        except HeaderRefusedError as refused:
            return StoreRefusal.of(refused.reason)
        return None if told else _passed_over(NO_REJECTION_NOTE)

    def _check_command(self, event: Any, incoming: IncomingObject) -> StoreRefusal | None:
        """What the request says must be what was agreed, and what the data set says."""
        request, context = event.request, event.context
        if request.AffectedSOPClassUID != context.abstract_syntax:
            return StoreRefusal(
                status=StoreStatus.SOP_CLASS_NOT_SUPPORTED, comment="SOP class not negotiated"
            )
        if not matches_command(
            incoming.path,
            data_set_offset=incoming.data_set_offset,
            transfer_syntax_uid=context.transfer_syntax,
            sop_class_uid=request.AffectedSOPClassUID,
            sop_instance_uid=request.AffectedSOPInstanceUID,
        ):
            return StoreRefusal(
                status=StoreStatus.DOES_NOT_MATCH_SOP_CLASS,
                comment="SOP class or instance UID is not that of the request",
            )
        return None

    def _require_ports(self) -> IntakePorts:
        if self._ports is None:
            raise RuntimeError("the intake was not started")
        return self._ports


def _offer_to_pass_over(event: Any) -> None:
    """Before the negotiation: what holds no images is accepted too, where it is proposed."""
    proposed = event.assoc.requestor.primitive.presentation_context_definition_list
    acceptor = event.assoc.acceptor
    acceptor.supported_contexts = [
        *acceptor.supported_contexts,
        *passed_over_contexts(str(context.abstract_syntax) for context in proposed),
    ]


def _answer_to(refused: ObjectRefusedError) -> StoreRefusal:
    if isinstance(refused, ObjectPassedOverError):
        return _passed_over(refused.name)
    return StoreRefusal.of(refused.reason)


def _passed_over(name: str) -> StoreRefusal:
    return StoreRefusal(status=StoreStatus.ELEMENTS_DISCARDED, comment=passed_over(name))


def _storage_fault(fault: LedgerError | OSError) -> StoreRefusal:
    """Our disk or ledger failed: the sender may try again (PS3.4 table B.2-1)."""
    LOGGER.error("an image is refused: %s", type(fault).__name__)
    return StoreRefusal(status=StoreStatus.OUT_OF_RESOURCES, comment="storage fault")


def _calling_title(assoc: Any) -> str:
    """The calling AE title: a machine's name, as short as PS3.5 has it."""
    primitive = assoc.requestor.primitive if assoc is not None else None
    return cast("str", primitive.calling_ae_title).strip()[:16] if primitive is not None else "?"
