"""A ledger that went back, or was damaged: noticed, said, begun anew with what is whole."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing

import pytest

from runtime.image.outcome import Flag
from runtime.ledger.high_water_mark import SECTOR_BYTES, HighWaterMark, Mark
from runtime.ledger.integrity import HASHED, RowHashes
from runtime.ledger.ledger import Ledger, LedgerError
from runtime.messages.payloads import EventKind
from runtime.messages.status_reason import StatusReason
from tests.runtime.exams.test_exam_service import ALL, Bench
from tests.support.builders import result
from tests.support.unit_under_test import MESSAGE_FACTORY
from tests.support.waiting import CHILD_S

PAGE = 4096
STUDIES = [f"1.2.{number}" for number in range(1, 9)]
TRUTH = {study: Flag.PRIORITY if number % 2 else Flag.NONE for number, study in enumerate(STUDIES)}


def filled(folder, studies=STUDIES, *, judged=True):
    """A ledger with exams, every second of them `priority`; all of it waits for the broker."""
    bench = Bench(folder)
    for study in studies:
        for view in ALL:
            bench.receive(view, study=study, sop=f"{study}.{ALL.index(view) + 1}")
            if judged:
                bench.judge_next(result(0.9 if TRUTH[study] is Flag.PRIORITY else 0.1))
    return bench


def cut_off(bench):
    """As after a kill: the files stay as they are, the lock goes with the connection."""
    folder = bench.ledger._path.parent
    copy = folder.with_name(folder.name + "-kept")
    shutil.copytree(folder, copy)
    bench.ledger.close()
    shutil.rmtree(folder)
    copy.rename(folder)


def flags(ledger):
    """What each exam's flag is, in the ledger's own rows."""
    found = {}
    for study in STUDIES:
        flag = ledger.transact(lambda tx, study=study: tx.exam_flag(study))
        if flag is not None:
            found[study] = flag.flag
    return found


# --- the one that was left ------------------------------------------------------------------------


def test_a_ledger_that_was_left_cleanly_is_the_same(tmp_path):
    """Its name, its numbers and its rows go on; nothing is said."""
    bench = filled(tmp_path)
    name, last = bench.ledger.ledger_id, bench.ledger.last_seq()
    bench.ledger.close()
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert (ledger.ledger_id, ledger.last_seq()) == (name, last)
        assert ledger.renewal is None
        assert ledger.fault is None
        assert flags(ledger) == TRUTH
        assert ledger.examine() == ()


def test_a_ledger_of_an_older_version_gets_its_hashes_and_goes_on(tmp_path):
    """It has neither mark nor hashes; and one that the older version opened in between, too."""
    filled(tmp_path).ledger.close()
    path = tmp_path / "ledger.db"
    path.with_suffix(".mark").unlink()
    with closing(sqlite3.connect(path)) as older:
        older.execute("DROP TABLE row_hashes")
    with Ledger(path) as ledger:
        name, last = ledger.ledger_id, ledger.last_seq()
        assert ledger.renewal is None
        assert ledger.examine() == ()
    with closing(sqlite3.connect(path)) as older:  # it writes without hashes
        older.execute("UPDATE exams SET timed_out = 1")
        older.execute(
            "INSERT INTO outbox (kind, topic, payload, retained, at_ms, expires_at_ms)"
            " VALUES ('event', 't', x'7b7d', 0, 1, 2)"
        )
        older.commit()
    with Ledger(path) as ledger:
        assert (ledger.ledger_id, ledger.last_seq()) == (name, last + 1)
        assert ledger.renewal is None
        assert ledger.examine() == ()


KILLED = """
import os, sys
from pathlib import Path
from runtime.ledger.high_water_mark import HighWaterMark
from runtime.ledger.ledger import Ledger

take_over = HighWaterMark.take_over

def killed(mark, *given):
    if sys.argv[2] == "behind":
        take_over(mark, *given)
    os._exit(9)

HighWaterMark.take_over = killed
Ledger(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("when", ["before", "behind"])
def test_a_kill_while_an_older_version_s_ledger_gets_its_hashes_is_no_rollback(tmp_path, when):
    """Hashes without a mark would be a ledger of ours whose mark was taken away."""
    filled(tmp_path, STUDIES[:1]).ledger.close()
    path = tmp_path / "ledger.db"
    path.with_suffix(".mark").unlink()
    with closing(sqlite3.connect(path)) as older:
        older.execute("DROP TABLE row_hashes")
        (name,) = older.execute("SELECT value FROM meta WHERE key = 'ledger_id'").fetchone()
    child = subprocess.run([sys.executable, "-c", KILLED, path, when], check=False, timeout=CHILD_S)
    assert child.returncode == 9
    with Ledger(path) as ledger:
        assert (ledger.ledger_id, ledger.renewal) == (name, None)
        assert ledger.examine() == ()


def test_a_mark_of_a_newer_version_is_read(tmp_path):
    """What it says besides is passed over: going back a version is no damage."""
    mark = HighWaterMark(tmp_path / "ledger.db")
    said = {"ledger_id": "a1", "last_seq": 7, "file": "1:2", "sha256": "", "later": [1]}
    body = json.dumps(said).encode()
    body = body.ljust(SECTOR_BYTES - 10)
    mark.path.write_bytes(b"%08x %s\n" % (zlib.crc32(body.rstrip()), body))
    assert mark.read() == Mark(ledger_id="a1", last_seq=7, file="1:2")
    mark.close()


def test_hashes_that_are_gone_after_a_clean_stop_are_damage(tmp_path):
    """No version of us took them away: what they would have shown is not believed."""
    filled(tmp_path, STUDIES[:2]).ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("DELETE FROM row_hashes")
        connection.execute("UPDATE exams SET flag = replace(flag, 'priority', 'none')")
        connection.commit()
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert "the hashes of its rows are gone" in ledger.renewal.detail
        assert flags(ledger) == {}


def test_a_version_that_hashes_other_columns_gets_its_own(tmp_path, monkeypatch):
    """An update of the software is no damage."""
    filled(tmp_path, STUDIES[:2]).ledger.close()
    monkeypatch.setitem(HASHED, "outcomes", ("job_id", "outcome"))
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.renewal is None
        assert ledger.examine() == ()


# --- one that went back ---------------------------------------------------------------------------


def went_back(folder, make):
    """A ledger with a few exams; `make` of it and of an older copy what was found at the start."""
    bench = filled(folder, STUDIES[:3])
    bench.ledger.close()
    path = folder / "ledger.db"
    older = folder / "older.db"
    shutil.copy(path, older)
    bench = filled(folder, STUDIES[3:])
    name, last = bench.ledger.ledger_id, bench.ledger.last_seq()
    bench.ledger.close()
    make(path, older)
    return Ledger(path, boot_id="next"), name, last


def put_back_in_place(path, older):
    path.write_bytes(older.read_bytes())


def put_back_as_a_file(path, older):
    path.unlink()
    older.rename(path)


def put_back_with_its_mark(path, older):
    """As a backup of the whole folder has it: nothing in it says that it is old."""
    folder = path.parent
    with Ledger(path):
        pass
    copy = folder.with_name("backup")
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    copy.rename(folder)


def taken_away(path, _older):
    path.unlink()


def mark_taken_away(path, _older):
    path.with_suffix(".mark").unlink()


@pytest.mark.parametrize(
    "make",
    [
        put_back_in_place,
        put_back_as_a_file,
        put_back_with_its_mark,
        taken_away,
        mark_taken_away,
    ],
)
def test_a_ledger_that_is_not_the_one_that_was_left_begins_a_new_epoch(tmp_path, make):
    """A new name, numbers from 1; what the broker does not have is numbered anew, in order."""
    ledger, name, _ = went_back(tmp_path, make)
    with ledger:
        assert ledger.ledger_id != name
        assert not ledger.renewal.said
        assert ledger.renewal.reason is StatusReason.LEDGER_ROLLED_BACK
        rows = ledger.waiting(1000)
        said = [json.loads(row.payload) for row in rows]
        numbers = list(range(1, len(rows) + 1))
        assert [row.seq for row in rows] == numbers
        assert [each["seq"] for each in said] == numbers
        assert {each["boot_id"] for each in said} <= {"next"}
        assert ledger.last_seq() == len(rows)
        kept = flags(ledger)
        assert kept == {study: TRUTH[study] for study in kept}
        again = ledger.ledger_id
        ledger.delivered([row.seq for row in rows], 5)
    for said in (False, True):
        with Ledger(tmp_path / "ledger.db") as ledger:
            assert ledger.ledger_id == again
            assert ledger.renewal.said == said  # it is kept until an event says it
            ledger.renewal_was_said()
            assert ledger.renewal.said


def test_the_end_of_the_log_that_was_lost_is_noticed(tmp_path):
    """After a kill 24 bytes of the -wal are zero: the rows behind are gone, numbers with them."""
    folder = tmp_path / "unit"
    folder.mkdir()
    bench = filled(folder)
    last = bench.ledger.last_seq()
    cut_off(bench)
    wal = folder / "ledger.db-wal"
    content = bytearray(wal.read_bytes())
    frame = 32 + 3 * (PAGE + 24)
    content[frame : frame + 24] = bytes(24)
    wal.write_bytes(content)
    with Ledger(folder / "ledger.db", boot_id="next") as ledger:
        assert ledger.renewal is not None
        assert ledger.last_seq() < last


def test_revisions_of_an_earlier_epoch_keep_their_place_in_the_history(tmp_path):
    """Two epochs later numbers are still unique, and what is delivered now is found by its own."""
    ledger, _, _ = went_back(tmp_path, put_back_as_a_file)
    rows = ledger.waiting(1000)
    ledger.delivered([row.seq for row in rows], 77)
    ledger.close()
    (tmp_path / "ledger.mark").unlink()
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.last_seq() == 0
        revisions = ledger.transact(lambda tx: tx.exam_history.revisions(STUDIES[0]))
        assert [each.published_at_ms for each in revisions] == [77] * len(ALL)


# --- damage ---------------------------------------------------------------------------------------


def flip_bytes(path, chance):
    """Twenty bytes anywhere."""
    content = bytearray(path.read_bytes())
    for _ in range(20):
        content[chance.randrange(len(content))] ^= 1 + chance.randrange(255)
    path.write_bytes(content)


def noise_in_pages(path, chance):
    """Twenty pages of noise, or half of a small file."""
    content = bytearray(path.read_bytes())
    pages = len(content) // PAGE
    for page in chance.sample(range(pages), min(20, pages // 2)):
        content[page * PAGE : (page + 1) * PAGE] = chance.randbytes(PAGE)
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("damage", [flip_bytes, noise_in_pages])
def test_no_damage_between_two_lives_is_silent(tmp_path, damage, seed):
    """The start says it, in a new epoch; no flag that is left is a wrong one."""
    filled(tmp_path).ledger.close()
    path = tmp_path / "ledger.db"
    damage(path, random.Random(seed))
    with Ledger(path, boot_id="next") as ledger:
        assert not ledger.renewal.said
        for study, flag in flags(ledger).items():
            assert flag is TRUTH[study]
        for row in ledger.waiting(1000):
            assert json.loads(row.payload)["boot_id"] == "next"
        assert ledger.examine() == ()


@pytest.mark.parametrize("seed", range(8))
def test_no_damage_after_a_kill_brings_a_wrong_flag(tmp_path, seed):
    """There is no clean stop to compare with: SQLite's checks and the rows' own hashes find it."""
    folder = tmp_path / "unit"
    folder.mkdir()
    bench = filled(folder, STUDIES[:4])
    bench.ledger.close()
    bench = filled(folder, STUDIES[4:])
    cut_off(bench)
    flip_bytes(folder / "ledger.db", random.Random(seed))
    with Ledger(folder / "ledger.db", boot_id="next") as ledger:
        for study, flag in flags(ledger).items():
            assert flag is TRUTH[study]
        assert ledger.examine() == ()


def changed_by_hand(path, statement, *values):
    """What a byte that flipped on the disk does, where SQLite's own checks see nothing."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement, values)
        connection.commit()
        said = connection.execute("PRAGMA integrity_check").fetchall()
    assert said == [("ok",)]


def test_a_payload_that_changed_is_not_said_and_the_rest_is_kept(tmp_path):
    """The row's exam is made anew from the spool; every other exam is kept whole."""
    filled(tmp_path).ledger.close()
    path = tmp_path / "ledger.db"
    changed_by_hand(
        path,
        "UPDATE outcomes SET outcome = replace(outcome, '0.9', '0.1') WHERE job_id = 5",
    )
    path.with_suffix(".mark").unlink()  # the file's own hash would say it first
    with Ledger(path, boot_id="next") as ledger:
        assert ledger.renewal.reason is StatusReason.LEDGER_REBUILT
        assert "outcomes: 1 rows" in ledger.renewal.detail
        assert "1 exams are taken in again" in ledger.renewal.detail
        kept = flags(ledger)
        assert set(kept) == set(STUDIES) - {STUDIES[1]}
        assert kept == {study: TRUTH[study] for study in kept}
    damaged = tmp_path / "set-aside" / "ledger-1" / "ledger.db"
    assert damaged.exists()


def rebuilt_without_a_message(folder):
    """One row of the outbox is damaged, which no exam hangs on; the ledger as it opens then."""
    changed_by_hand(folder / "ledger.db", "UPDATE outbox SET topic = topic || 'x' WHERE seq = 1")
    (folder / "ledger.mark").unlink()
    return Ledger(folder / "ledger.db", boot_id="next")


@pytest.mark.parametrize("done", [True, False])
def test_an_exam_with_a_comparison_is_kept(tmp_path, done):
    """A comparison leaves no outcome, and misses none."""
    bench = filled(tmp_path, STUDIES[:1])
    bench.receive(ALL[0], study=STUDIES[0], sop=f"{STUDIES[0]}.1", sha="2")
    if done:
        bench.compare_next()
    bench.ledger.close()
    with rebuilt_without_a_message(tmp_path) as ledger:
        assert ledger.renewal.reason is StatusReason.LEDGER_REBUILT
        assert "taken in again" not in ledger.renewal.detail
        assert flags(ledger) == {STUDIES[0]: TRUTH[STUDIES[0]]}
        assert (ledger.transact(lambda tx: tx.next_job()) is None) == done


def test_a_changed_row_of_a_surplus_image_is_damage(tmp_path):
    """It says whether an image counts."""
    bench = filled(tmp_path, STUDIES[:1])
    bench.ledger.transact(lambda tx: tx.arrivals.add_surplus(4711, STUDIES[0]))
    bench.ledger.close()
    changed_by_hand(tmp_path / "ledger.db", "UPDATE surplus_images SET image_id = 1")
    (tmp_path / "ledger.mark").unlink()
    with Ledger(tmp_path / "ledger.db", boot_id="next") as ledger:
        assert "surplus_images: 1 rows" in ledger.renewal.detail


def test_want_of_memory_while_opening_is_no_damage(tmp_path, monkeypatch):
    """The next start opens the ledger as it is."""
    filled(tmp_path, STUDIES[:1]).ledger.close()
    path = tmp_path / "ledger.db"
    path.with_suffix(".mark").unlink()

    def fails(_hashes):
        error = sqlite3.OperationalError("out of memory")
        error.sqlite_errorcode = sqlite3.SQLITE_NOMEM
        raise error

    monkeypatch.setattr(RowHashes, "faults", fails)
    with pytest.raises(LedgerError, match="out of memory"):
        Ledger(path)
    assert not (tmp_path / "set-aside").exists()


def test_a_damaged_ledger_that_cannot_be_set_aside_says_what_to_do(tmp_path):
    """It stays where it is, until a person has made room for it."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no ledger" * 1000)
    place = tmp_path / "set-aside"
    place.write_bytes(b"a file where the folder should be")
    with pytest.raises(LedgerError, match=f"cannot be moved to {place}: .*; let the service's"):
        Ledger(path)
    assert path.read_bytes() == b"no ledger" * 1000
    place.unlink()
    with Ledger(path) as ledger:
        assert ledger.renewal.reason is StatusReason.LEDGER_REBUILT


def test_a_folder_that_must_not_be_written_is_named_with_what_to_do(tmp_path, monkeypatch):
    """Nobody is refused by a folder's mode in a container where all are root."""

    def refused(*_args):
        raise PermissionError(
            errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "ledger.mark")
        )

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(LedgerError, match=f"ledger.mark: .*write into {tmp_path}"):
        Ledger(tmp_path / "ledger.db")


@pytest.mark.parametrize(
    ("code", "damaged", "advice"),
    [
        (sqlite3.SQLITE_CANTOPEN, False, True),
        (sqlite3.SQLITE_READONLY_DIRECTORY, False, True),
        (sqlite3.SQLITE_FULL, False, False),
        (sqlite3.SQLITE_BUSY, False, False),
        (sqlite3.SQLITE_NOMEM, False, False),
        (sqlite3.SQLITE_CORRUPT_INDEX, True, False),
        (sqlite3.SQLITE_NOTADB, True, False),
        (sqlite3.SQLITE_ERROR, True, False),
    ],
)
def test_what_sqlite_says_while_opening_is_sorted(tmp_path, code, damaged, advice):
    """Damage moves the ledger away, so nothing else may be taken for it."""
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    fault = LedgerError.while_opening(tmp_path / "ledger.db", error)
    assert fault.damaged == damaged
    assert (f"write into {tmp_path}" in fault.detail) == advice


# --- while it runs --------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path):
    bench = filled(tmp_path)
    yield bench.ledger
    bench.ledger.close()


def behind_its_back(ledger, statement):
    """A row changes and its hash does not."""

    def work(tx):
        connection = tx._connection
        connection.execute("DROP TRIGGER temp.hash_changed_outbox")
        connection.execute("DROP TRIGGER temp.hash_changed_exams")
        connection.execute(statement)

    ledger.transact(work)


def test_a_damaged_message_is_passed_over_and_said(ledger):
    """The others go out; the ledger fails from then on, whatever else succeeds."""
    told = []
    ledger.on_fault(lambda: told.append(ledger.fault))
    behind_its_back(
        ledger,
        "UPDATE outbox SET payload = CAST(replace(CAST(payload AS TEXT), 'none', 'nine') AS BLOB)",
    )
    rows = ledger.waiting(1000)
    assert rows
    assert all(b'"nine"' not in row.payload for row in rows)
    ledger.delivered([rows[0].seq], 5)
    assert ledger.fault.reason is StatusReason.LEDGER_FAILED
    assert ledger.fault.damaged
    assert len(told) == 1


def test_a_damaged_exam_is_not_judged_by(ledger):
    """Who reads it gets an error, never another flag."""
    behind_its_back(ledger, "UPDATE exams SET flag = replace(flag, 'priority', 'none')")
    with pytest.raises(LedgerError, match="exams"):
        flags(ledger)
    assert ledger.fault.damaged


def test_a_disk_that_fails_is_said_and_the_end_of_it_too(ledger):
    """A storage fault passes; what the ledger knew last is still answered."""
    before = (ledger.last_seq(), ledger.backlog(), ledger.ledger_id)
    full = "database or disk is full"

    def fails(tx):
        error = sqlite3.OperationalError(full)
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with pytest.raises(LedgerError, match=full):
        ledger.transact(fails)
    assert ledger.fault.reason is StatusReason.STORAGE_FAILED
    assert (ledger.last_seq(), ledger.backlog(), ledger.ledger_id) == before
    assert ledger.fault.reason is StatusReason.STORAGE_FAILED  # nothing was written meanwhile
    bench_event(ledger)
    assert ledger.fault.reason is StatusReason.STORAGE_FAILED  # a row more or less proves nothing
    ledger.prove_disk()
    assert ledger.fault is None


def test_a_mark_that_cannot_be_written_is_said(ledger, monkeypatch):
    """What was committed is committed; the disk is not well all the same."""

    def fails(*_args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pwrite", fails)
    before = ledger.last_seq()
    assert bench_event(ledger) == before + 1
    assert ledger.fault.reason is StatusReason.STORAGE_FAILED
    with pytest.raises(LedgerError):
        ledger.prove_disk()
    monkeypatch.undo()
    ledger.prove_disk()
    assert ledger.fault is None


def test_after_a_transaction_that_failed_the_next_start_reads_every_row(tmp_path):
    """Whatever it was: the hash of the file says only that it did not change since."""
    bench = filled(tmp_path, STUDIES[:1])

    def misses(tx):
        return tx.object(4711)

    with pytest.raises(KeyError):
        bench.ledger.transact(misses)
    bench.ledger.close()
    assert b'"sha256": ""' in (tmp_path / "ledger.mark").read_bytes()
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.renewal is None
    assert b'"sha256": ""' not in (tmp_path / "ledger.mark").read_bytes()


def bench_event(ledger):
    """One more row of the outbox; its number."""
    event = MESSAGE_FACTORY.event_message(EventKind.EXPOSURE, at_ms=1)
    return ledger.add_event(event, 1)
