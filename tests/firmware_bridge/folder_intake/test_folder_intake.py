"""A watched folder: complete files go in, half ones wait, strange ones do no harm."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from firmware_bridge.folder_intake.file_stability import FileStability
from firmware_bridge.folder_intake.intake import FolderIntake, FolderIntakeSettings
from firmware_bridge.folder_intake.watched_file import FileState
from runtime.image.reasons import Reason
from tests.support.waiting import wait_until

SETTLE_S = 0.2


@pytest.fixture
def inbox(tmp_path):
    return tmp_path / "inbox"


@pytest.fixture
def watch(receiver, inbox):
    """Starts an intake on the inbox with the settings given."""
    intakes = []

    def start(**settings):
        settings = {"settle_s": SETTLE_S, "rescan_s": 0.5, **settings}
        intake = FolderIntake(FolderIntakeSettings(folder=inbox, **settings))
        intake.start(receiver.ports)
        intakes.append(intake)
        return intake

    yield start
    for intake in intakes:
        intake.stop()


def test_a_file_that_is_copied_in_is_taken_and_removed(watch, receiver, inbox, view_file):
    """The bytes are the same, the file leaves the folder, and nothing stays in `incoming`."""
    watch()
    shutil.copy(view_file, inbox / "a.dcm")
    receiver.wait_stored(1)
    path, source, _ = receiver.stored[0]
    assert path.read_bytes() == view_file.read_bytes()
    assert source == "folder"
    wait_until(lambda: not (inbox / "a.dcm").exists(), "a.dcm is taken out of the inbox")
    assert list(receiver.incoming.iterdir()) == []


def test_files_that_are_there_at_start_are_taken(watch, receiver, inbox, view_file):
    """What came while we were down is not forgotten."""
    inbox.mkdir()
    shutil.copy(view_file, inbox / "a.dcm")
    watch()
    receiver.wait_stored(1)


def test_sub_folders_are_watched(watch, receiver, inbox, view_file):
    """Also those that are made later."""
    watch()
    (inbox / "exam" / "series").mkdir(parents=True)
    shutil.copy(view_file, inbox / "exam" / "series" / "a.dcm")
    receiver.wait_stored(1)


def test_a_file_that_is_still_growing_waits(watch, receiver, inbox, view_file):
    """Written in pieces with pauses shorter than the settling time: taken once, whole."""
    watch()
    data = view_file.read_bytes()
    step = len(data) // 6 + 1
    for start in range(0, len(data), step):
        with (inbox / "a.dcm").open("ab") as file:
            file.write(data[start : start + step])
        time.sleep(SETTLE_S / 2)
        assert receiver.stored == []
    receiver.wait_stored(1)
    assert receiver.stored[0][0].read_bytes() == data


def test_a_copy_that_stalls_is_not_taken_half(watch, receiver, inbox, view_file):
    """Its size does not change for long, but somebody has it open for writing."""
    watch()
    data = view_file.read_bytes()
    with (inbox / "a.dcm").open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        time.sleep(SETTLE_S * 5)
        assert receiver.stored == []
        file.write(data[len(data) // 2 :])
    receiver.wait_stored(1)
    assert receiver.stored[0][0].read_bytes() == data


def test_a_file_under_a_name_of_unfinished_copies_waits_for_its_rename(
    watch, receiver, inbox, view_file
):
    """`.part` and hidden names are not touched; the rename makes them complete."""
    watch()
    for name in ("a.dcm.part", ".b.dcm"):
        shutil.copy(view_file, inbox / name)
    time.sleep(SETTLE_S * 4)
    assert receiver.stored == []
    (inbox / "a.dcm.part").rename(inbox / "a.dcm")
    receiver.wait_stored(1)


def test_what_is_not_dicom_is_set_aside_with_the_reason(watch, receiver, inbox):
    """It goes to `refused`, once, with a text beside it; an empty file too."""
    watch()
    (inbox / "report.pdf").write_bytes(b"%PDF-1.7" + bytes(500))
    (inbox / "empty").write_bytes(b"")
    refused = inbox / "refused"
    wait_until((refused / "report.pdf.reason.txt").exists, "the reason of report.pdf")
    wait_until((refused / "empty.reason.txt").exists, "the reason of the empty file")
    assert (refused / "report.pdf.reason.txt").read_text() == "not_dicom\n"
    assert (refused / "report.pdf").exists()
    assert [path.name for path in inbox.iterdir() if path.is_file()] == []
    assert receiver.stored == []


def test_what_the_receiver_refuses_is_set_aside(watch, receiver, inbox, view_file):
    """The receiver's reason stands in the text."""
    receiver.refuse = Reason.NOT_MAMMOGRAPHY
    watch()
    shutil.copy(view_file, inbox / "ct.dcm")
    reason = inbox / "refused" / "ct.dcm.reason.txt"
    wait_until(reason.exists, "the reason is written")
    assert reason.read_text().startswith("not_mammography")


def test_two_refused_files_of_one_name_are_both_kept(watch, inbox):
    """The second gets a name of its own."""
    watch()
    for _ in range(2):
        (inbox / "a.txt").write_text("no DICOM")
        wait_until(lambda: not (inbox / "a.txt").exists(), "a.txt is taken out of the inbox")
    # Two files, two reasons; the reason is written when its file has arrived there.
    wait_until(lambda: len(list((inbox / "refused").glob("a*.txt"))) == 4, "four files are refused")


def test_without_room_files_wait_where_they_are(watch, receiver, inbox, view_file):
    """Out of room is not a refusal: the file stays, and is taken when there is room."""
    receiver.room = False
    watch()
    shutil.copy(view_file, inbox / "a.dcm")
    time.sleep(SETTLE_S * 5)
    assert (inbox / "a.dcm").exists()
    assert not list((inbox / "refused").iterdir())
    receiver.room = True
    receiver.wait_stored(1)


def test_taken_files_can_be_kept(watch, receiver, inbox, view_file):
    """With `after = "keep"` they move to the sub-folder `taken`, and are not taken again."""
    watch(after="keep")
    shutil.copy(view_file, inbox / "a.dcm")
    wait_until((inbox / "taken" / "a.dcm").exists, "a.dcm is put aside as taken")
    time.sleep(SETTLE_S * 4)
    assert len(receiver.stored) == 1


def test_links_pipes_and_huge_files_do_no_harm(watch, receiver, inbox, tmp_path, view_file):
    """None is followed, waited on or copied; a file beside them is taken as usual."""
    watch(max_object_mib=1)
    outside = shutil.copy(view_file, tmp_path / "outside.dcm")
    (inbox / "link.dcm").symlink_to(outside)
    (inbox / "loop").symlink_to(inbox, target_is_directory=True)
    os.mkfifo(inbox / "pipe.dcm")
    with (inbox / "huge.dcm").open("wb") as file:
        file.write(bytes(128) + b"DICM")
        file.truncate(1 << 40)  # sparse: takes no room
    shutil.copy(view_file, inbox / "a.dcm")
    receiver.wait_stored(1)
    huge = inbox / "refused" / "huge.dcm.reason.txt"
    wait_until(huge.exists, "the huge file is refused")
    assert huge.read_text() == "too_large\n"
    assert (inbox / "link.dcm").is_symlink()
    assert Path(outside).exists()
    assert len(receiver.stored) == 1


def test_a_stop_and_a_start_take_everything_once(watch, receiver, inbox, view_file):
    """Files that come while the service is down are taken by the next one."""
    intake = watch()
    shutil.copy(view_file, inbox / "a.dcm")
    receiver.wait_stored(1)
    intake.stop()
    shutil.copy(view_file, inbox / "b.dcm")
    watch()
    receiver.wait_stored(2)


def test_settling_is_counted_from_the_last_change():
    """Pure: a file is settled when its state is the same for the whole time."""
    stability = FileStability(settle_s=1.0)
    path = Path("a.dcm")
    small, large = (FileState(inode=1, size_bytes=size, modified_ns=0) for size in (1, 2))
    assert stability.look({path: small}, now_s=0.0) == {}
    assert stability.look({path: large}, now_s=0.9) == {}
    assert stability.look({path: large}, now_s=1.8) == {}
    assert stability.look({path: large}, now_s=2.0) == {path: large}
    assert stability.next_ready_s == pytest.approx(1.9)
    stability.forget(path)
    assert stability.next_ready_s is None


def test_what_failed_waits_and_comes_last():
    """Pure: a postponed file is ready at its time or when it changes, after those never tried."""
    stability = FileStability(settle_s=1.0)
    bad, good = Path("a.dcm"), Path("b.dcm")
    old, new = (FileState(inode=1, size_bytes=size, modified_ns=0) for size in (1, 2))
    stability.look({bad: old, good: old}, now_s=0.0)
    stability.postpone(bad, until_s=5.0)
    assert list(stability.look({bad: old, good: old}, now_s=1.0)) == [good]
    assert list(stability.look({bad: old, good: old}, now_s=5.0)) == [good, bad]
    stability.postpone(bad, until_s=100.0)
    stability.look({bad: new, good: old}, now_s=6.0)
    assert list(stability.look({bad: new, good: old}, now_s=7.0)) == [bad, good]
