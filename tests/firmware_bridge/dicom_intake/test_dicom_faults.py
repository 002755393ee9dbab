"""A disk, a ledger or a handler that fails: the sender hears a status, the operator hears of it."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from firmware_bridge.dicom_intake.incoming_object import WRITE_BACK_BYTES, IncomingObject
from firmware_bridge.dicom_network.association_limits import MEBIBYTE, AssociationLimits
from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.dicom_network.store_status import StoreRefusal, StoreStatus
from firmware_bridge.sender.storage_scu import Outcome, StorageScu, outgoing
from runtime.exams.intake_ports import OutOfRoomError
from runtime.ledger.ledger import LedgerError
from tests.support.synthetic import mammogram_dataset, write
from tests.support.waiting import LONG_S, joined, wait_until

NAME = "DOE^JANE"
LIMITS = AssociationLimits(
    max_pdu_bytes=MEBIBYTE, max_object_bytes=1 << 32, object_timeout_s=10, pdu_timeout_s=1
)


def send_one(door, path):
    """Sends one file as it is; what became of it."""
    file = outgoing(path)
    with StorageScu(
        Destination(ae_title="ANY", host="127.0.0.1", port=door.port), [file]
    ) as sender:
        return sender.send(file)


@pytest.fixture
def large_file(tmp_path):
    """A view of 17 MB."""
    return write(mammogram_dataset(rows=3000, columns=2800), tmp_path / "large.dcm")


def test_it_is_alive_between_start_and_stop(open_door):
    """What the service asks to know whether it still listens."""
    door = open_door()
    assert door.intake.alive
    door.intake.stop()
    assert not door.intake.alive


@pytest.mark.parametrize("where", ["fault_of_room", "fault_of_receive"])
@pytest.mark.parametrize(
    "fault",
    [LedgerError(Path("ledger.db"), NAME), OSError(errno.EIO, "Input/output error", NAME)],
    ids=["ledger", "disk"],
)
def test_a_fault_of_ledger_or_disk_is_out_of_resources(door, view_file, caplog, where, fault):
    """A700, logged by its kind alone, nothing kept; the next image is taken."""
    setattr(door.receiver, where, fault)
    assert send_one(door, view_file).status == 0xA700
    assert type(fault).__name__ in caplog.text
    assert NAME not in caplog.text
    assert door.half_received == []
    setattr(door.receiver, where, None)
    assert send_one(door, view_file).outcome is Outcome.STORED


def test_a_folder_that_is_gone_is_out_of_resources(door, view_file, caplog):
    """The file of an object cannot even be made: answered, and said."""
    door.receiver.incoming.rmdir()
    assert send_one(door, view_file).status == 0xA700
    assert "No such file or directory" in caplog.text
    door.receiver.incoming.mkdir()
    assert send_one(door, view_file).outcome is Outcome.STORED


def test_an_unforeseen_error_is_answered_logged_and_reported_once(door, view_file, caplog):
    """The sender hears C211; the operator hears the kind of error, and none of its text."""
    door.receiver.fault_of_receive = ValueError(f"invalid value {NAME}")
    for _ in range(2):
        assert send_one(door, view_file).status == 0xC211
    assert door.receiver.reports == [
        ("fault", "an image could not be handled: ValueError", "dicom")
    ]
    assert "ValueError" in caplog.text
    assert NAME not in caplog.text
    assert door.half_received == []


def test_an_event_that_cannot_be_written_does_no_harm(open_door, dcmtk, view_file, tmp_path):
    """A ledger that fails while a peer is rejected: the next one is served."""
    door = open_door(calling_ae_titles=("UNIT1",))
    door.receiver.fault_of_report = LedgerError(tmp_path / "ledger.db", "disk I/O error")
    dcmtk("storescu", "-aet", "WHO", "127.0.0.1", door.port, view_file, check=False)
    assert "(Success)" in dcmtk(
        "storescu", "-v", "-aet", "UNIT1", "127.0.0.1", door.port, view_file
    )


def test_room_is_asked_for_while_an_object_arrives(door, large_file):
    """At its beginning, and every few megabytes for the next few."""
    assert send_one(door, large_file).outcome is Outcome.STORED
    sizes = large_file.stat().st_size // (WRITE_BACK_BYTES + MEBIBYTE)
    assert door.receiver.asked_for_room[0] == 0
    assert door.receiver.asked_for_room.count(WRITE_BACK_BYTES) >= sizes


def test_many_objects_at_once_leave_the_reserve_alone(door, large_file):
    """Room for one and a half of them, six arrive: the disk never holds more than there is room.

    All were begun while there was room. Those that find none on their way are refused as out of
    resources, and the rest of them is dropped.
    """
    size_bytes = large_file.stat().st_size
    capacity = size_bytes + size_bytes // 2
    most = 0
    lock = threading.Lock()
    all_begun = threading.Barrier(6)

    def check_room(ahead_bytes=0):
        nonlocal most
        if not ahead_bytes:
            all_begun.wait(LONG_S)
            return
        folders = (door.receiver.incoming, door.receiver.stored_folder)
        with lock:
            held = 0
            for path in (path for folder in folders for path in folder.iterdir()):
                try:
                    held += path.stat().st_size
                except FileNotFoundError:
                    continue
            most = max(most, held)
        if held + ahead_bytes > capacity:
            raise OutOfRoomError

    door.receiver.check_room = check_room
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(send_one(door, large_file)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread, "the sender")
    assert {sent.status for sent in results} <= {0x0000, 0xA700}
    assert 0xA700 in {sent.status for sent in results}
    assert most <= capacity + 6 * (WRITE_BACK_BYTES + MEBIBYTE)
    wait_until(lambda: door.half_received == [], "no half object is left")


def test_an_object_without_room_on_its_way_drops_the_rest(tmp_path):
    """Refused at the next look; nothing is left, nothing more is written, and it asks no more."""
    refusal = StoreRefusal(status=StoreStatus.OUT_OF_RESOURCES, comment="out of room")
    asked = []

    def room(size_bytes):
        asked.append(size_bytes)
        return refusal if len(asked) == 2 else None

    incoming = IncomingObject(tmp_path, limits=LIMITS, started_s=0.0, room=room)
    incoming.begin(b"meta")
    for _ in range(12):
        incoming.append(bytes(MEBIBYTE), now_s=1.0)
    assert incoming.refusal is refusal
    assert asked == [0, WRITE_BACK_BYTES]
    assert list(tmp_path.iterdir()) == []


def test_a_disk_fault_at_the_end_refuses_the_object(tmp_path):
    """A close that fails may have lost bytes: no success."""
    incoming = IncomingObject(tmp_path, limits=LIMITS, started_s=0.0, room=lambda _: None)

    def fails():
        raise OSError(errno.EIO, "Input/output error")

    incoming._close = fails
    incoming.close()
    assert incoming.refusal.status == 0xA700
