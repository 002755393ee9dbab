"""Messages of an association that brings objects: commands in memory, data sets on the disk."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Any

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_ACTION, N_CREATE, N_EVENT_REPORT, N_SET
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from firmware_bridge.dicom_network.association_limits import MAX_MESSAGE_BYTES, LimitExceededError
from firmware_bridge.dicom_network.transfer_syntaxes import (
    PROCEDURE_STEP,
    STORAGE_COMMITMENT,
    VERIFICATION,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware_bridge.dicom_intake.incoming_object import IncomingObject

COMMAND = 0b01  # PS3.8 E.2
LAST_FRAGMENT = 0b10
NOTICE_RELEASE_S = 0.005
"""How often an association looks whether its peer wants to release it."""


SERVED: dict[str, tuple[type, ...]] = {
    VERIFICATION: (C_ECHO,),
    PROCEDURE_STEP: (N_CREATE, N_SET),
    STORAGE_COMMITMENT: (N_ACTION, N_EVENT_REPORT),
}
"""Messages by abstract syntax; all others are storage."""


class SpoolingDimse(DIMSEServiceProvider):  # type: ignore[misc] # pynetdicom is untyped here
    """Command sets as pynetdicom reads them; the data sets of C-STORE requests to the disk.

    Args:
        assoc: the association.
        open_object: makes the file of a C-STORE request; given the association.
    """

    def __init__(self, assoc: Any, *, open_object: Callable[[Any], IncomingObject]) -> None:
        super().__init__(assoc)
        self.message: Any = None
        self._open_object = open_object
        self._object: IncomingObject | None = None
        self._message_bytes = 0
        self.handling = False
        """Whether a handler is making an object durable right now."""

    @property
    def busy(self) -> bool:
        """Whether an object is arriving, waiting for its handler, or about to be answered."""
        unsent = self.assoc.dul.to_provider_queue.qsize()
        return bool(self.receiving or self.handling or self.msg_queue.qsize() or unsent)

    @property
    def receiving(self) -> bool:
        """Whether an object is under way."""
        return self._object is not None

    def get_msg(self, block: bool = False) -> Any:  # noqa: FBT001, FBT002 - pynetdicom's signature
        """The next complete message, or (None, None).

        The association polls each millisecond. Waiting here instead wakes it the moment that an
        object is complete, and otherwise only as often as a release must be noticed. With `block`
        somebody waits for the answer to a request of ours.
        """
        timeout_s = self.dimse_timeout if block else NOTICE_RELEASE_S
        try:
            context_id, primitive = self.msg_queue.get(timeout=timeout_s)
        except queue.Empty:
            return None, None
        if context_id is None or self._is_served(context_id, primitive):
            return context_id, primitive
        # pynetdicom would answer some of these in the name of another service, leave the file of
        # others behind, and end the association's thread over the rest.
        _discard_object_of(primitive)
        self.assoc.abort()
        return None, None

    def _is_served(self, context_id: int, primitive: Any) -> bool:
        """Whether the message is one that its presentation context is there for."""
        context = self.assoc._accepted_cx.get(context_id)  # noqa: SLF001
        if context is None:
            return False
        if not isinstance(primitive, SERVED.get(context.abstract_syntax, (C_STORE,))):
            return False
        if not isinstance(primitive, C_STORE):
            return True
        service = uid_to_service_class(primitive.AffectedSOPClassUID)
        return issubclass(service, StorageServiceClass)

    def receive_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        """Takes one presentation data value.

        Raises:
            LimitExceededError: too large, too slow, or out of order.
        """
        if self._object is None:
            self._message_bytes += len(fragment)
            if self._message_bytes > MAX_MESSAGE_BYTES:
                raise LimitExceededError("message too large")
            self._give(context_id, control, bytes(fragment))
            self._open_if_store(context_id)
        elif control & COMMAND:
            raise LimitExceededError("command inside a data set")
        else:
            self._object.append(fragment, now_s=time.monotonic())
            if control & LAST_FRAGMENT:
                self._finish(self._object, context_id)

    def discard(self) -> None:
        """Removes the file that is under way, and complete ones that nobody came for."""
        abandoned, self._object = self._object, None
        if abandoned is not None:
            abandoned.discard()
        while True:
            try:
                _, primitive = self.msg_queue.get_nowait()
            except queue.Empty:
                return
            _discard_object_of(primitive)

    def _give(self, context_id: int, control: int, data: bytes) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, bytes([control]) + data))
        self.receive_primitive(primitive)
        if self.message is None:
            self._message_bytes = 0

    def _finish(self, incoming: IncomingObject, context_id: int) -> None:
        incoming.close()
        message, self.message, self._message_bytes = self.message, None, 0
        primitive = message.message_to_primitive()
        if not primitive.is_valid_request:
            raise LimitExceededError("incomplete command")
        self._object = None
        self.msg_queue.put((context_id, primitive))

    def _open_if_store(self, context_id: int) -> None:
        """Opens a file as soon as the command set of a C-STORE request is complete."""
        message = self.message
        if not isinstance(message, C_STORE_RQ) or message._data_set_file is not None:  # noqa: SLF001
            return
        if context_id not in self.assoc._accepted_cx:  # noqa: SLF001
            raise LimitExceededError("presentation context not accepted")
        # One operation at a time was agreed (PS3.7 D.3.3.3); a peer that sends a third request
        # while the first is being answered would fill the disk with objects that nobody judges.
        if self.msg_queue.qsize():
            raise LimitExceededError("more than one operation at a time")
        command = message.command_set
        incoming = self._open_object(self.assoc)
        # pynetdicom hands these two on to the service class: it unlinks `name` after the handler.
        message._data_set_file = incoming  # noqa: SLF001
        message._data_set_path = incoming.path  # noqa: SLF001
        self._object = incoming
        meta = create_file_meta(
            sop_class_uid=command.AffectedSOPClassUID,
            sop_instance_uid=command.AffectedSOPInstanceUID,
            transfer_syntax=self.assoc._accepted_cx[context_id].transfer_syntax[0],  # noqa: SLF001
        )
        incoming.begin(b"\0" * 128 + b"DICM" + encode_file_meta(meta))


def _discard_object_of(primitive: Any) -> None:
    """Removes the file of a message that nobody will serve, if it has one."""
    unserved = getattr(primitive, "_dataset_file", None)
    if unserved is not None:
        unserved.discard()
