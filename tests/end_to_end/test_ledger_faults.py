"""A unit whose ledger went back or is damaged, or whose disk fails: said, and no image is lost."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
from contextlib import closing, contextmanager

import pytest

from firmware_bridge.dicom_network.destination import Destination
from firmware_bridge.sender.storage_scu import Outcome, StorageScu, outgoing
from runtime.ledger.ledger import Ledger
from tests.conftest import skip_or_fail
from tests.end_to_end.conftest import wait_for_final
from tests.support.exams import write_exam
from tests.support.waiting import CHILD_S, wait_until

SOON_S = 5.0


def send(unit, exam):
    """All views; what the unit answered to each."""
    files = [outgoing(path) for path in exam.files.values()]
    with StorageScu(Destination.parse(unit.address), files) as sender:
        return [sender.send(file) for file in files]


def stored(unit, exam):
    """All views are answered with success."""
    assert {answer.outcome for answer in send(unit, exam)} == {Outcome.STORED}
    return exam


def reasons(subscriber):
    """Why the unit says that it is degraded."""
    said = subscriber.topics("status")
    return said[-1].body["reasons"] if said else []


def events(subscriber):
    """What the unit said that happened."""
    return {record.body["event"] for record in subscriber.topics("event")}


def test_images_that_a_ledger_of_before_does_not_know_are_judged(story):
    """Answered with success, then an old ledger is put back: all are judged."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600).start().wait_listening()
    subscriber = story.subscriber()
    first = stored(unit, write_exam(story.folder / "exam1", 1))
    wait_for_final(subscriber, first.study_uid, unit)
    unit.stop()
    ledger = unit.folder / "data" / "ledger.db"
    shutil.copy(ledger, story.folder / "older.db")
    unit.start().wait_listening()
    worker = unit.worker_pid()
    os.kill(worker, signal.SIGSTOP)  # a busy hour: images are answered, and wait
    exams = [stored(unit, write_exam(story.folder / f"exam{n}", n)) for n in (2, 3)]
    unit.kill()
    os.kill(worker, signal.SIGKILL)
    for rest in ledger.parent.glob("ledger.db-*"):
        rest.unlink()
    shutil.copy(story.folder / "older.db", ledger)
    unit.start().wait_listening()
    for exam in exams:
        wait_for_final(subscriber, exam.study_uid, unit, images=4)
    wait_until(lambda: "images_recovered" in events(subscriber), "the event")
    assert len(list((unit.folder / "data" / "spool").glob("*.dcm"))) == 12
    assert not (unit.folder / "data" / "set-aside").exists()


def test_a_whole_folder_that_is_put_back_counts_under_a_new_name(story):
    """What a site knows by (ledger, number) is not said a second time with other content."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600).start().wait_listening()
    subscriber = story.subscriber()
    data, backup = unit.folder / "data", story.folder / "backup"
    wait_for_final(subscriber, stored(unit, write_exam(story.folder / "e1", 1)).study_uid, unit)
    unit.stop()
    shutil.copytree(data, backup)
    unit.start().wait_listening()
    wait_for_final(subscriber, stored(unit, write_exam(story.folder / "e2", 2)).study_uid, unit)
    before = subscriber.topics("status")[-1].body["ledger_id"]
    unit.stop()
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    unit.start().wait_listening()
    wait_until(lambda: "ledger_rolled_back" in reasons(subscriber), "degraded")
    assert subscriber.topics("status")[-1].body["ledger_id"] != before
    wait_until(lambda: "ledger_rolled_back" in events(subscriber), "the event")


def test_a_new_epoch_is_said_though_a_command_opened_the_ledger_first(story):
    """`mammoedge retire` was given up, or the first start failed: the next one says it, once."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600).start().wait_listening()
    subscriber = story.subscriber()
    unit.stop()
    (unit.folder / "data" / "ledger.mark").unlink()
    with Ledger(unit.folder / "data" / "ledger.db") as ledger:
        assert not ledger.renewal.said
    for _ in range(2):
        unit.start().wait_listening()
        wait_until(lambda: "ledger_rolled_back" in events(subscriber), "the event")
        unit.stop()
    said = [record.body["event"] for record in subscriber.topics("event")]
    assert said.count("ledger_rolled_back") == 1


@pytest.mark.parametrize("table", ["exams", "outcomes", "objects_by_study"])
def test_a_damaged_page_is_rebuilt_at_the_start(story, table):
    """Twelve bytes of a page flipped between two lives: said, and the next exam is judged."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600).start().wait_listening()
    subscriber = story.subscriber()
    exam = stored(unit, write_exam(story.folder / "exam1", 1))
    truth = wait_for_final(subscriber, exam.study_uid, unit, images=4)["flag"]
    unit.stop()
    damage_page(unit.folder / "data" / "ledger.db", table)
    unit.start().wait_listening()
    wait_until(lambda: "ledger_rebuilt" in reasons(subscriber), "degraded")
    again = stored(unit, write_exam(story.folder / "exam2", 2))
    assert wait_for_final(subscriber, again.study_uid, unit, images=4)["final"]
    assert wait_for_final(subscriber, exam.study_uid, unit, images=4)["flag"] == truth
    wait_until(lambda: "ledger_rebuilt" in events(subscriber), "the event")
    assert list((unit.folder / "data" / "set-aside").glob("ledger-1/ledger.db"))


def damage_page(ledger, name):
    """The first bytes of a table's or an index's first page."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro&immutable=1", uri=True)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)
        ).fetchone()
    content = bytearray(ledger.read_bytes())
    for place in range((page - 1) * 4096, (page - 1) * 4096 + 12):
        content[place] ^= 0x5A
    ledger.write_bytes(content)


def test_damage_while_the_unit_runs_is_said_and_takes_no_image(story):
    """Each page of the running ledger is noise: degraded within seconds, out of resources."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600).start().wait_listening()
    subscriber = story.subscriber()
    wait_for_final(subscriber, stored(unit, write_exam(story.folder / "e1", 1)).study_uid, unit)
    unit.stop()
    unit.start().wait_listening()
    wait_until(lambda: subscriber.statuses()[-1] == "online", "online")
    ledger = unit.folder / "data" / "ledger.db"
    with ledger.open("r+b") as file:  # what is not in SQLite's memory yet
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    (unit.folder / "data" / "ledger.db-wal").write_bytes(os.urandom(64 * 4096))
    exam = write_exam(story.folder / "e2", 2)
    answers = []

    def refused():
        answers.extend(send(unit, exam))
        return "ledger_failed" in reasons(subscriber)

    wait_until(refused, lambda: f"degraded; the log ends:\n{unit.log[-2000:]}", step_s=0.5)
    last = send(unit, exam)
    assert {(answer.outcome, answer.status) for answer in last} == {(Outcome.REFUSED, 0xA700)}
    assert subscriber.statuses()[-1] == "degraded"
    assert "starting" not in reasons(subscriber)


@contextmanager
def small_disk(folder, *how):
    """A file system of its own, of 96 MB at most; `how`: what mount is told."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        skip_or_fail("a small file system needs root and mount")
    folder.mkdir(parents=True, exist_ok=True)
    mounted = run("mount", *how, folder)
    if mounted.returncode:
        skip_or_fail(f"mount: {mounted.stderr.decode()[:100]}")
    try:
        yield folder
    finally:
        assert run("umount", "-l", folder).returncode == 0


def run(*words):
    """A tool of the system."""
    return subprocess.run(words, capture_output=True, check=False, timeout=CHILD_S)


def tmpfs():
    """In memory: full when it is full."""
    return ("-t", "tmpfs", "-o", "size=64m", "tmpfs")


def ext4(image):
    """On a loop device, so that it can fail as a disk does."""
    if shutil.which("mkfs.ext4") is None:
        skip_or_fail("mkfs.ext4 (Debian's e2fsprogs) is not installed")
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(96 << 20)
        assert run("mkfs.ext4", "-q", image).returncode == 0
    return ("-o", "loop", image)


def test_a_full_disk_without_a_reserve_is_said_and_passes(story):
    """`reserve_mb = 0`: said within five seconds, nothing is taken; then the same images."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600, reserve_mb=0)
    with small_disk(unit.folder / "data", *tmpfs()) as disk:
        try:
            unit.start().wait_listening()
            subscriber = story.subscriber()
            unit.wait_log("worker ready")
            wait_until(lambda: subscriber.statuses()[-1:] == ["online"], "online")
            filler = disk / "filler"
            fill(filler)
            wait_until(lambda: "storage_failed" in reasons(subscriber), "said", SOON_S + 2)
            exam = write_exam(story.folder / "exam1", 1)
            answers = send(unit, exam)
            assert {(a.outcome, a.status) for a in answers} == {(Outcome.REFUSED, 0xA700)}
            filler.unlink()
            wait_until(lambda: "storage_failed" not in reasons(subscriber), "its end")
            wait_until(lambda: "disk_low" not in reasons(subscriber), "room again")
            stored(unit, exam)
            wait_for_final(subscriber, exam.study_uid, unit, images=4)
        finally:
            unit.stop()


def fill(path):
    """To the last block."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_a_file_that_cannot_be_moved_holds_up_nothing(story):
    """A disk of its own, a torn file that nobody may move: the image behind it is judged."""
    if shutil.which("chattr") is None:
        skip_or_fail("chattr (Debian's e2fsprogs) is not installed")
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600)
    exam = write_exam(story.folder / "exam1", 1)
    with small_disk(unit.folder / "data", *ext4(story.folder / "disk.img")) as disk:
        spool = disk / "spool"
        spool.mkdir()
        torn = spool / "torn.dcm"
        torn.write_bytes(b"half of a picture")
        (spool / "else.txt").write_bytes(b"no picture")
        os.utime(torn, (0, 0))
        for number, path in enumerate(exam.files.values()):
            shutil.copy(path, spool / f"{number}.dcm")
        assert run("chattr", "+i", torn).returncode == 0
        try:
            unit.start().wait_listening()
            subscriber = story.subscriber()
            wait_for_final(subscriber, exam.study_uid, unit, images=4)
            wait_until(lambda: "images_recovered" in events(subscriber), "the event")
            said = [record.body["detail"] for record in subscriber.topics("event")]
            assert any("4 taken in again, 1 set aside" in detail for detail in said)
            wait_until(lambda: "files_set_aside" in reasons(subscriber), "files_set_aside")
            assert torn.exists()
        finally:
            unit.stop()
            run("chattr", "-i", torn)


EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("I", 2)


def test_a_disk_that_dies_is_said_and_what_it_had_is_judged_when_it_is_back(story):
    """Every access to the file system is an I/O error: degraded, out of resources; no flag lost."""
    story.broker.start()
    unit = story.unit(idle_timeout_s=3600)
    disk = ext4(story.folder / "disk.img")
    exam = write_exam(story.folder / "exam1", 1)
    with small_disk(unit.folder / "data", *disk) as folder:
        unit.start().wait_listening()
        subscriber = story.subscriber()
        unit.wait_log("worker ready")
        wait_until(lambda: subscriber.statuses()[-1:] == ["online"], "online")
        worker = unit.worker_pid()
        os.kill(worker, signal.SIGSTOP)
        stored(unit, exam)
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        os.close(descriptor)
        wait_until(lambda: "storage_failed" in reasons(subscriber), "said", SOON_S + 2)
        answers = send(unit, write_exam(story.folder / "exam2", 2))
        assert {answer.outcome for answer in answers} <= {Outcome.REFUSED}
        assert subscriber.statuses()[-1] == "degraded"
        unit.kill()
        os.kill(worker, signal.SIGKILL)
    with small_disk(unit.folder / "data", *disk):
        try:
            unit.start().wait_listening()
            wait_for_final(subscriber, exam.study_uid, unit, images=4)
            wait_until(lambda: "storage_failed" not in reasons(subscriber), "over")
        finally:
            unit.stop()
