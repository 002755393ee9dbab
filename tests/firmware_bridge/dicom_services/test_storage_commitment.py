"""Storage Commitment: failure, but for what a named PACS has committed itself."""

from __future__ import annotations

import threading
import time

import pytest
from pydantic import ValidationError
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.pdu import A_ABORT_RQ, A_RELEASE_RQ, P_DATA_TF

from firmware_bridge.dicom_intake.settings import DicomIntakeSettings
from firmware_bridge.dicom_network.association_end import end_association
from firmware_bridge.dicom_network.reactor_pause import pause_surely
from firmware_bridge.dicom_network.transfer_syntaxes import STORAGE_COMMITMENT
from firmware_bridge.dicom_services import storage_commitment
from firmware_bridge.dicom_services.storage_commitment import AT_ONCE
from tests.support.brokers import free_port
from tests.support.waiting import wait_until

INSTANCE = "1.2.840.10008.1.20.1.1"
MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"


def reference(uid):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MAMMOGRAM, uid
    return item


def request(*uids, transaction="1.9.1"):
    """What a unit asks."""
    ds = Dataset()
    if transaction:
        ds.TransactionUID = transaction
    ds.ReferencedSOPSequence = Sequence(reference(uid) for uid in uids)
    return ds


class Pacs:
    """An archive that has some objects, and says so on the association of the request."""

    def __init__(self, *has, transaction=None, releases=True) -> None:
        self.has, self._transaction, self._releases = has, transaction, releases
        self.ends = []
        """What it heard of the end of each association."""
        entity = AE(ae_title="PACS")
        entity.add_supported_context(STORAGE_COMMITMENT)
        self.server = entity.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[
                (evt.EVT_N_ACTION, self._asked),
                (evt.EVT_PDU_SENT, self._answered),
                (evt.EVT_PDU_RECV, self._told),
            ],
        )
        self.address = f"PACS@127.0.0.1:{self.server.server_address[1]}"
        self._owed = []

    def _asked(self, event):
        if not self._releases:
            event.assoc.acse.is_release_requested = lambda: False
        asked = event.action_information
        report = Dataset()
        report.TransactionUID = self._transaction or asked.TransactionUID
        found = [i.ReferencedSOPInstanceUID for i in asked.ReferencedSOPSequence]
        # It lists one more that nobody asked for: that must not reach the unit.
        report.ReferencedSOPSequence = Sequence(
            reference(uid) for uid in ("6.6.6", *(uid for uid in found if uid in self.has))
        )
        self._owed.append((report, 2, STORAGE_COMMITMENT, INSTANCE))
        return 0x0000, None

    def _told(self, event):
        if isinstance(event.pdu, A_RELEASE_RQ | A_ABORT_RQ):
            self.ends.append(type(event.pdu))

    def _answered(self, event):
        """It reports as soon as its answer to the request is on its way."""
        if isinstance(event.pdu, P_DATA_TF) and self._owed:
            reporting = event.assoc.send_n_event_report
            threading.Thread(target=reporting, args=self._owed.pop(), daemon=True).start()


@pytest.fixture
def pacs():
    """Starts archives."""
    started = []

    def start(*has, **options):
        started.append(Pacs(*has, **options))
        return started[-1]

    yield start
    for archive in started:
        archive.server.shutdown()


class Asking:
    """A unit that asks for commitment and waits for the report."""

    def __init__(self, door) -> None:
        self.reports = []
        self._reported, self._done = threading.Event(), threading.Event()
        entity = AE(ae_title="MAMMO1")
        entity.add_requested_context(STORAGE_COMMITMENT)
        self.assoc = entity.associate(
            "127.0.0.1",
            door.port,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, pause_surely),
                (evt.EVT_N_EVENT_REPORT, self._heard),
                (evt.EVT_PDU_SENT, self._answered),
            ],
        )
        assert self.assoc.is_established

    def _heard(self, event):
        self.reports.append((event.event_type, event.event_information))
        self._reported.set()
        return 0x0000, None

    def _answered(self, event):
        if self._reported.is_set() and isinstance(event.pdu, P_DATA_TF):
            self._done.set()

    def ask(self, ds):
        return self.assoc.send_n_action(ds, 1, STORAGE_COMMITMENT, INSTANCE)[0]

    def answer(self, ds):
        """(event type, committed, failed) of the report."""
        assert self.ask(ds).Status == 0x0000
        wait_until(self._done.is_set, "the report of the commitment, and our answer to it")
        kind, report = self.reports[0]
        assert report.TransactionUID == ds.TransactionUID
        return kind, *(
            [item.ReferencedSOPInstanceUID for item in report.get(name, [])]
            for name in ("ReferencedSOPSequence", "FailedSOPSequence")
        )


def test_without_a_pacs_every_request_fails(door):
    """We keep copies: a unit must never hear a success after which it may delete its images."""
    unit = Asking(door)
    status = unit.ask(request("1.5.1"))
    assert status.Status == 0x0110
    assert "copies" in status.ErrorComment
    unit.assoc.release()
    assert unit.reports == []


def test_what_the_pacs_has_committed_is_committed(open_door, pacs):
    """All of it: event type 1, and nothing that was not asked for."""
    unit = Asking(open_door(commitment_pacs=pacs("1.5.1", "1.5.2").address))
    assert unit.answer(request("1.5.1", "1.5.2")) == (1, ["1.5.1", "1.5.2"], [])
    unit.assoc.release()


def test_what_the_pacs_has_not_committed_fails(open_door, pacs):
    """One of two: event type 2, each in its list."""
    unit = Asking(open_door(commitment_pacs=pacs("1.5.1").address))
    assert unit.answer(request("1.5.1", "1.5.2")) == (2, ["1.5.1"], ["1.5.2"])
    unit.assoc.release()


def test_a_pacs_that_is_not_there_commits_nothing(open_door):
    """Nobody answers: failed, all of it."""
    unit = Asking(open_door(commitment_pacs=f"PACS@127.0.0.1:{free_port()}"))
    assert unit.answer(request("1.5.1")) == (2, [], ["1.5.1"])
    unit.assoc.release()


def test_a_report_of_another_transaction_commits_nothing(open_door, pacs):
    """A success that is not the answer to our question is none."""
    archive = pacs("1.5.1", transaction="1.2.3.666")
    unit = Asking(open_door(commitment_pacs=archive.address, commitment_timeout_s=1.0))
    assert unit.answer(request("1.5.1")) == (2, [], ["1.5.1"])
    unit.assoc.release()


def test_pacs_that_never_release_keep_nobody_waiting(open_door, pacs, monkeypatch):
    """More of them than we ask at once: each association is aborted, and the next is asked."""
    monkeypatch.setattr(storage_commitment, "RELEASE_TIMEOUT_S", 0.2)
    archive = pacs("1.5.1", releases=False)
    door = open_door(commitment_pacs=archive.address, commitment_timeout_s=600.0)
    for _ in range(AT_ONCE + 1):
        unit = Asking(door)
        assert unit.answer(request("1.5.1")) == (1, ["1.5.1"], [])
        unit.assoc.release()
    wait_until(lambda: archive.ends.count(A_ABORT_RQ) == AT_ONCE + 1, "every abort")


def test_a_release_that_never_returns_is_left_behind():
    """pynetdicom waits for a thread that may be gone: we do not; an abort sets it free."""

    class Stuck:
        """Hangs in `release` until it is aborted."""

        def __init__(self) -> None:
            self.aborted, self.returned = threading.Event(), threading.Event()
            self.abort = self.aborted.set

        def release(self) -> None:
            assert self.aborted.wait(60)
            self.returned.set()

    assoc = Stuck()
    end_association(assoc, 0.05)
    wait_until(assoc.returned.is_set, "the hanging release comes back")


def test_the_report_is_answered_before_the_release(open_door, pacs, monkeypatch):
    """However slow the answer: data behind a release request would break the association."""
    send = DIMSEServiceProvider.send_msg

    def slowly(provider, primitive, context_id) -> None:
        answers_a_report = isinstance(primitive, N_EVENT_REPORT) and (
            primitive.MessageIDBeingRespondedTo is not None
        )
        if answers_a_report:
            time.sleep(0.2)
        send(provider, primitive, context_id)

    monkeypatch.setattr(DIMSEServiceProvider, "send_msg", slowly)
    archive = pacs("1.5.1")
    unit = Asking(open_door(commitment_pacs=archive.address))
    assert unit.answer(request("1.5.1")) == (1, ["1.5.1"], [])
    unit.assoc.release()
    wait_until(lambda: archive.ends, "the end at the archive")
    assert archive.ends == [A_RELEASE_RQ]


@pytest.mark.parametrize("ds", [request(), request("1.5.1", transaction="")])
def test_a_request_for_nothing_is_refused(open_door, pacs, ds):
    """No objects, or no transaction: invalid argument, the PACS is not asked."""
    unit = Asking(open_door(commitment_pacs=pacs().address))
    assert unit.ask(ds).Status == 0x0115
    unit.assoc.release()


def test_the_address_of_the_pacs_is_checked():
    """A typing error is found at start."""
    with pytest.raises(ValidationError, match="AE@HOST:PORT"):
        DicomIntakeSettings(commitment_pacs="PACS")
