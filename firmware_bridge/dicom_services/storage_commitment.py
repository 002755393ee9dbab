"""Storage Commitment (PS3.4 annex J): a promise that we do not make, and can only pass on.

We keep copies for some days. A unit that hears "committed" may delete its images: so the answer is
a failure, unless the settings name a PACS that is asked in turn and has committed them itself.

Both answers travel on the association of their request. A PACS that reports on an association of
its own, or a unit that hangs up before, ends in "not committed": the unit keeps its images.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.pdu import P_DATA_TF

from firmware_bridge.dicom_network.association_end import RELEASE_TIMEOUT_S, end_association
from firmware_bridge.dicom_network.message_data_set import MOST_REFERENCES, is_uid, read_message
from firmware_bridge.dicom_network.reactor_pause import pause_surely
from firmware_bridge.dicom_network.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_COMMITMENT,
)
from runtime.dicom_header.attributes import items, text
from runtime.image.header import HeaderRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firmware_bridge.dicom_network.destination import Destination

LOGGER = logging.getLogger(__name__)
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
KEYWORDS = (
    "TransactionUID",
    "ReferencedSOPSequence",
    "ReferencedSOPClassUID",
    "ReferencedSOPInstanceUID",
)
REQUEST_ACTION = 1
ALL_COMMITTED, SOME_NOT = 1, 2
FAILURE_REASON = 0x0110
AT_ONCE = 4


class CommitmentStatus(IntEnum):
    """Status (0000,0900) of the N-ACTION response."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    INVALID_ARGUMENT = 0x0115
    RESOURCE_LIMITATION = 0x0213


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One object by class and instance."""

    sop_class_uid: str
    sop_instance_uid: str


class StorageCommitment:
    """Answers requests for commitment.

    Args:
        pacs: who is asked in turn; None: every request fails.
        ae_title: our own.
        timeout_s: for the PACS to report.
    """

    def __init__(self, *, pacs: Destination | None, ae_title: str, timeout_s: float) -> None:
        self._pacs = pacs
        self._timeout_s = timeout_s
        self._entity = AE(ae_title=ae_title)
        self._entity.add_requested_context(STORAGE_COMMITMENT, EXPLICIT_VR_LITTLE_ENDIAN)
        self._entity.connection_timeout = self._entity.acse_timeout = timeout_s
        self._entity.dimse_timeout = self._entity.network_timeout = timeout_s
        self._free = threading.BoundedSemaphore(AT_ONCE)

    def request(self, event: Any) -> tuple[Dataset, None]:
        """Takes or refuses a request (evt.EVT_N_ACTION)."""
        if self._pacs is None:
            return _answer(
                CommitmentStatus.PROCESSING_FAILURE,
                "only copies are kept here: ask the archive to commit",
            )
        try:
            ds = read_message(
                event.request.ActionInformation, event.context.transfer_syntax, KEYWORDS
            )
        except HeaderRefusedError:
            return _answer(CommitmentStatus.INVALID_ARGUMENT, "the data set cannot be read")
        transaction_uid, wanted = text(ds, "TransactionUID"), references(ds)
        if not is_uid(transaction_uid) or not 0 < len(wanted) <= MOST_REFERENCES:
            return _answer(CommitmentStatus.INVALID_ARGUMENT, "no transaction, or no objects")
        if not self._free.acquire(blocking=False):
            return _answer(CommitmentStatus.RESOURCE_LIMITATION, "too many requests at once")
        threading.Thread(
            target=self._pass_on,
            args=(event.assoc, transaction_uid, wanted, self._pacs),
            name="commitment",
            daemon=True,
        ).start()
        return _answer(CommitmentStatus.SUCCESS, "")

    def _pass_on(
        self, unit: Any, transaction_uid: str, wanted: tuple[Reference, ...], pacs: Destination
    ) -> None:
        """Asks the PACS, then tells the unit what of it is committed."""
        try:
            committed = self._ask(wanted, pacs)
            report = _report(transaction_uid, wanted, committed)
            kind = ALL_COMMITTED if committed.issuperset(wanted) else SOME_NOT
            LOGGER.info("commitment: %d of %d objects", len(committed), len(wanted))
            if unit.is_established:
                unit.send_n_event_report(report, kind, STORAGE_COMMITMENT, PUSH_MODEL_INSTANCE)
        except (RuntimeError, ValueError) as fault:
            # pynetdicom's words for an association that ended in between: the unit hears nothing.
            LOGGER.warning("commitment not reported: %s", fault)
        finally:
            self._free.release()

    def _ask(self, wanted: tuple[Reference, ...], pacs: Destination) -> set[Reference]:
        """What of it the PACS says that it has committed; nothing if it says nothing in time."""
        transaction_uid = generate_uid()
        committed: set[Reference] = set()
        heard_it, done = threading.Event(), threading.Event()

        def heard(event: Any) -> tuple[int, None]:
            ds = read_message(
                event.request.EventInformation, event.context.transfer_syntax, KEYWORDS
            )
            if text(ds, "TransactionUID") == transaction_uid:
                committed.update(references(ds))
                heard_it.set()
            return 0x0000, None

        def sent(event: Any) -> None:
            # Our answer to the report, and not before: data behind a release request breaks
            # the association (PS3.8 table 9-10, Evt9 in Sta7).
            if heard_it.is_set() and isinstance(event.pdu, P_DATA_TF):
                done.set()

        assoc = self._entity.associate(
            pacs.host,
            pacs.port,
            ae_title=pacs.ae_title,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, pause_surely),
                (evt.EVT_N_EVENT_REPORT, heard),
                (evt.EVT_PDU_SENT, sent),
                (evt.EVT_CONN_CLOSE, lambda _event: done.set()),
            ],
        )
        if not assoc.is_established:
            return set()
        try:
            request = Dataset()
            request.TransactionUID = transaction_uid
            request.ReferencedSOPSequence = _sequence(wanted)
            status, _ = assoc.send_n_action(
                request, REQUEST_ACTION, STORAGE_COMMITMENT, PUSH_MODEL_INSTANCE
            )
            if status.get("Status") == CommitmentStatus.SUCCESS:
                done.wait(self._timeout_s)
        finally:
            end_association(assoc, RELEASE_TIMEOUT_S)
        # Whatever else it lists was not asked for.
        return committed & set(wanted)


def references(ds: Dataset) -> tuple[Reference, ...]:
    """The objects that a request or a report lists as (to be) committed."""
    return tuple(
        Reference(
            sop_class_uid=text(item, "ReferencedSOPClassUID"),
            sop_instance_uid=text(item, "ReferencedSOPInstanceUID"),
        )
        for item in items(ds, "ReferencedSOPSequence")
    )


def _report(
    transaction_uid: str, wanted: tuple[Reference, ...], committed: set[Reference]
) -> Dataset:
    """Event Information (PS3.4 table J.3-2)."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    good = [reference for reference in wanted if reference in committed]
    bad = [reference for reference in wanted if reference not in committed]
    if good:
        ds.ReferencedSOPSequence = _sequence(good)
    if bad:
        ds.FailedSOPSequence = _sequence(bad)
        for item in ds.FailedSOPSequence:
            item.FailureReason = FAILURE_REASON
    return ds


def _sequence(listed: Iterable[Reference]) -> Sequence:
    found = []
    for reference in listed:
        item = Dataset()
        item.ReferencedSOPClassUID = reference.sop_class_uid
        item.ReferencedSOPInstanceUID = reference.sop_instance_uid
        found.append(item)
    return Sequence(found)


def _answer(status: CommitmentStatus, comment: str) -> tuple[Dataset, None]:
    response = Dataset()
    response.Status = int(status)
    if comment:
        response.ErrorComment = comment
    return response, None
