"""A watched folder in trouble: it goes on with the other files, and says once what is wrong."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from firmware_bridge.folder_intake.intake import FolderIntake, FolderIntakeSettings
from firmware_bridge.folder_intake.watched_file import ROOM_CHECK_BYTES, copy_into, state_of
from runtime.exams.intake_ports import OutOfRoomError
from runtime.image.reasons import Reason
from runtime.ledger.ledger import LedgerError
from tests.firmware_bridge.fakes import FakeReceiver
from tests.support.waiting import wait_until

SETTLE_S = 0.1
RESCAN_S = 0.3
NOBODY = 65534
NAME = "DOE^JANE"


@pytest.fixture
def place():
    """A folder of somebody who is not root: for root no file is closed."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    yield folder
    if root:
        os.seteuid(0)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)


@pytest.fixture
def receiver(place):
    return FakeReceiver(place / "unit")


@pytest.fixture
def inbox(place):
    folder = place / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def view(view_file):
    """The bytes of a small mammogram."""
    return view_file.read_bytes()


@pytest.fixture
def intake(view, receiver, inbox):
    """An intake that is not started yet, and stopped at the end.

    The view comes first, so that it is made while we are still root.
    """
    settings = FolderIntakeSettings(folder=inbox, settle_s=SETTLE_S, rescan_s=RESCAN_S)
    made = FolderIntake(settings)
    yield made
    made.stop()


def faults(receiver):
    return [detail for event, detail, _ in receiver.reports if event == "fault"]


def test_it_is_alive_between_start_and_stop(intake, receiver):
    """What the service asks to know whether it still listens."""
    assert not intake.alive
    intake.start(receiver.ports)
    assert intake.alive
    intake.stop()
    assert not intake.alive


def test_a_folder_that_is_closed_does_not_end_it(intake, receiver, inbox, view):
    """Sub-folders without the right to enter, or to read: the others are taken, and it is said."""
    for name, mode in (("no-entry", 0o444), ("no-list", 0o000)):
        (inbox / name).mkdir()
        (inbox / name / f"{NAME}.dcm").write_bytes(view)
        (inbox / name).chmod(mode)
    (inbox / "z.dcm").write_bytes(view)
    intake.start(receiver.ports)
    receiver.wait_stored(1)
    wait_until(lambda: len(faults(receiver)) == 2, "two faults are told")
    time.sleep(RESCAN_S * 3)
    assert sorted(faults(receiver)) == [
        "a file cannot be looked at: Permission denied",
        "a folder cannot be read: Permission denied",
    ]
    (inbox / "no-list").chmod(0o700)
    (inbox / "no-entry").chmod(0o700)
    receiver.wait_stored(3)
    assert intake.alive


def test_a_file_that_cannot_be_read_does_not_stand_in_the_way(
    intake, receiver, inbox, view, caplog
):
    """It comes first in the folder; the others are taken, it waits, and is told of once."""
    for name in (f"a-{NAME}.dcm", "a-2.dcm"):
        (inbox / name).write_bytes(view)
        (inbox / name).chmod(0)
    for number in range(3):
        (inbox / f"b{number}.dcm").write_bytes(view)
    intake.start(receiver.ports)
    receiver.wait_stored(3)
    time.sleep(RESCAN_S * 4)
    assert faults(receiver) == ["a file cannot be taken: Permission denied"]
    assert caplog.text.count("a file cannot be taken") == 2
    assert NAME not in caplog.text
    (inbox / "a-2.dcm").chmod(0o600)
    receiver.wait_stored(4)


def test_a_taken_file_that_cannot_be_removed_is_taken_once(intake, receiver, inbox, view):
    """Without the right to change the folder: not copied again, removed once that is possible."""
    (inbox / "a.dcm").write_bytes(view)
    for own in ("refused", "taken"):
        (inbox / own).mkdir()
    inbox.chmod(0o500)
    intake.start(receiver.ports)
    receiver.wait_stored(1)
    time.sleep(RESCAN_S * 4)
    assert receiver.handed_over == 1
    assert faults(receiver) == ["a file cannot be moved out of the folder: Permission denied"]
    inbox.chmod(0o700)
    wait_until(lambda: not (inbox / "a.dcm").exists(), "a.dcm is taken out of the inbox")
    assert receiver.handed_over == 1


def test_a_refused_file_that_cannot_be_moved_is_refused_once(intake, receiver, inbox, view):
    """Each further try would be one more event of a refused image."""
    receiver.refuse = Reason.NOT_MAMMOGRAPHY
    (inbox / "a.dcm").write_bytes(view)
    for own in ("refused", "taken"):
        (inbox / own).mkdir()
    inbox.chmod(0o500)
    intake.start(receiver.ports)
    wait_until(lambda: receiver.handed_over, "a file is handed over")
    time.sleep(RESCAN_S * 4)
    assert receiver.handed_over == 1
    inbox.chmod(0o700)
    wait_until((inbox / "refused" / "a.dcm.reason.txt").exists, "the reason of a.dcm")


def test_a_file_that_is_replaced_while_it_is_taken_is_not_removed(intake, receiver, inbox, view):
    """The second file has the name of the first before that one is removed: both are taken."""
    receiver.delay_s = 0.5
    (inbox / "a.dcm").write_bytes(view)
    intake.start(receiver.ports)
    wait_until(lambda: receiver.handed_over, "a file is handed over")
    (inbox / ".new").write_bytes(view + b"\0\0")
    (inbox / ".new").rename(inbox / "a.dcm")
    receiver.wait_stored(2)
    assert receiver.stored[1][0].read_bytes() == view + b"\0\0"


def test_an_unforeseen_error_does_not_end_it(intake, receiver, inbox, view, caplog):
    """Its kind is logged and reported once, its text (a value of the file, perhaps) nowhere."""
    receiver.fault_of_receive = ValueError(f"invalid value {NAME}")
    (inbox / f"{NAME}.dcm").write_bytes(view)
    intake.start(receiver.ports)
    wait_until(lambda: receiver.handed_over >= 2, "a second attempt")
    assert faults(receiver) == ["unforeseen error: ValueError"]
    assert "ValueError" in caplog.text
    assert NAME not in caplog.text
    assert intake.alive
    receiver.fault_of_receive = None
    receiver.wait_stored(1)


def test_a_file_that_always_fails_lets_the_others_pass(intake, receiver, inbox, view):
    """It comes first in the folder; what comes later is tried before it is tried again."""

    class Choosy(FakeReceiver):
        def receive(self, path, *, source, peer):
            self.fault_of_receive = ValueError() if path.stat().st_size != len(view) else None
            return super().receive(path, source=source, peer=peer)

    receiver = Choosy(receiver.incoming.parent)
    for number in range(3):
        (inbox / f"a{number}.dcm").write_bytes(view + b"\0\0")
        (inbox / f"b{number}.dcm").write_bytes(view)
    intake.start(receiver.ports)
    receiver.wait_stored(3)


def test_a_ledger_that_fails_makes_files_wait(intake, receiver, inbox, view, place):
    """Neither refused nor lost, and the thread goes on; a report that fails is made later."""
    broken = LedgerError(place / "ledger.db", "disk I/O error")
    receiver.fault_of_room = receiver.fault_of_report = broken
    (inbox / "a.dcm").write_bytes(view)
    (inbox / "b.dcm").write_bytes(view)
    (inbox / "b.dcm").chmod(0)
    intake.start(receiver.ports)
    wait_until(lambda: len(receiver.asked_for_room) >= 2, "room is asked for twice")
    assert (inbox / "a.dcm").exists()
    receiver.fault_of_room = None
    receiver.wait_stored(1)
    assert faults(receiver) == []
    receiver.fault_of_report = None
    wait_until(
        lambda: faults(receiver) == ["a file cannot be taken: Permission denied"],
        "the fault is told",
    )


def test_a_file_that_is_too_large_for_the_disk_lets_smaller_ones_pass(
    intake, receiver, inbox, view
):
    """Out of room for one file alone is no pause for all."""
    receiver.room_bytes = len(view)
    (inbox / "a.dcm").write_bytes(view + bytes(1000))
    (inbox / "b.dcm").write_bytes(view)
    intake.start(receiver.ports)
    receiver.wait_stored(1)
    assert (inbox / "a.dcm").exists()


def test_room_is_asked_for_while_a_file_is_copied(place):
    """Others write at the same time: when the disk falls below its reserve, the copy goes."""
    source = place / "large.dcm"
    with source.open("wb") as file:
        file.write(bytes(128) + b"DICM")
        file.truncate(3 * ROOM_CHECK_BYTES)
    asked = []

    def check_room(size_bytes):
        asked.append(size_bytes)
        if len(asked) == 3:
            raise OutOfRoomError

    target = place / "incoming"
    target.mkdir()
    with pytest.raises(OutOfRoomError):
        copy_into(target, source, state=state_of(source), max_bytes=1 << 30, check_room=check_room)
    assert asked == [3 * ROOM_CHECK_BYTES, ROOM_CHECK_BYTES, ROOM_CHECK_BYTES]
    assert list(target.iterdir()) == []
