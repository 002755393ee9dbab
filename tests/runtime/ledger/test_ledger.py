"""The ledger's promises: no gap, no double, no half of a transaction."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.image.outcome import JobOutcome
from runtime.ledger.ledger import Ledger, LedgerError
from runtime.messages.payloads import EventKind
from runtime.publishing.message_factory import MessageFactory

MESSAGE_FACTORY = MessageFactory(site="s", unit="u", boot_id="b", site_key=b"k" * 32)


def event(at_ms=1000):
    return MESSAGE_FACTORY.event_message(EventKind.FAULT, at_ms=at_ms, detail="x")


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


def test_a_transaction_that_fails_leaves_no_gap_in_seq(ledger):
    """A number that was given in an undone transaction is given again."""
    ledger.add_event(event(), 1000)

    def half(tx):
        tx.enqueue(event(), 1000)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.transact(half)
    assert ledger.add_event(event(), 1000) == 2
    assert [row.seq for row in ledger.waiting(10)] == [1, 2]


def test_numbers_are_not_given_again_after_old_rows_are_forgotten(ledger):
    """Retention deletes rows, never the count."""
    seq = ledger.add_event(event(), 1000)
    ledger.delivered([seq], 2000)
    assert ledger.transact(lambda tx: tx.outbox.forget_before(3000)) == 1
    assert ledger.add_event(event(), 1000) == seq + 1


def test_a_second_service_on_one_ledger_is_refused(ledger, tmp_path):
    """Two services cannot interleave their numbers."""
    with pytest.raises(LedgerError, match="locked"):
        Ledger(tmp_path / "ledger.db")


def test_a_file_that_is_no_ledger_is_set_aside(tmp_path):
    """Garbage is named, not overwritten; a new ledger begins, and says why."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database, for sure" * 100)
    with Ledger(path) as ledger:
        assert not ledger.renewal.said
        assert "not a database" in ledger.renewal.detail
        assert "none of its rows could be read" in ledger.renewal.detail
    kept = tmp_path / "set-aside" / "ledger-1" / "ledger.db"
    assert kept.read_bytes().startswith(b"not a database, for sure")


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: path.symlink_to("/dev/full")]
)
def test_what_is_no_file_is_refused_at_once(tmp_path, make):
    """A folder, a device: nothing is read of it, nothing is moved."""
    path = tmp_path / "ledger.db"
    make(path)
    with pytest.raises(LedgerError, match="is not a file"):
        Ledger(path)
    assert path.exists()


def test_waiting_rows_come_in_order_without_those_in_flight(ledger):
    """The publisher gets the oldest rows that it does not already have under way."""
    for _ in range(5):
        ledger.add_event(event(), 1000)
    ledger.delivered([2], 2000)
    assert [row.seq for row in ledger.waiting(2, skip={1})] == [3, 4]


def test_replay_makes_rows_wait_again_and_parked_ones_too(ledger):
    """The site that saw a gap gets everything from there on; what is new goes first."""
    for _ in range(4):
        ledger.add_event(event(), 1000)
    ledger.delivered([1, 2, 3], 2000)
    ledger.park(4, event(), 2000)
    assert ledger.backlog().parked == 1
    assert ledger.replay_from(2) == 3
    rows = ledger.waiting(10)
    assert [(row.seq, row.replayed) for row in rows] == [
        (5, False),
        (2, True),
        (3, True),
        (4, True),
    ]


def test_the_count_of_open_jobs_follows_the_commits(tmp_path):
    """Asked of every object that comes in, without a transaction; it outlives a restart."""
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for _ in range(3):
            ledger.transact(lambda tx: tx.add_job("1.2.3", "a" * 64, "fp32", [(1, "view")], 1000))

        def half(tx):
            tx.add_job("1.2.3", "a" * 64, "fp32", [(1, "view")], 1000)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ledger.transact(half)
        assert ledger.jobs_open == 3
        ledger.transact(lambda tx: tx.finish_job(JobOutcome(job_id=2, images=()), 2000))
        assert ledger.jobs_open == 2
    with Ledger(path) as ledger:
        assert ledger.jobs_open == ledger.transact(lambda tx: tx.jobs_open()) == 2


def test_wait_for_rows_sees_a_commit(ledger):
    """The publisher need not poll: a commit that added rows ends its wait."""
    version = ledger.wait_for_rows(-1, 0)
    ledger.add_event(event(), 1000)
    assert ledger.wait_for_rows(version, 5) > version


def test_a_ledger_that_was_lost_begins_another_life(tmp_path):
    """The same file keeps its id over restarts; a new file under the same unit has another."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        first = ledger.ledger_id
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.ledger_id == first
    (tmp_path / "ledger.db").unlink()
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert first != ledger.ledger_id
        assert len(ledger.ledger_id) == 16


def test_what_is_removed_is_gone_from_the_file(tmp_path):
    """SQLite may be built without it: the ledger asks for it in its own words."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        asked = ledger.transact(
            lambda tx: tx._connection.execute("PRAGMA secure_delete").fetchone()[0]
        )
    assert asked == 1


STRANGER = """
import shutil
import subprocess
import sys
from pathlib import Path
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0.1, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
"""


@pytest.mark.parametrize("life", ["new", "left cleanly", "a copy"])
def test_no_other_process_gets_at_an_open_ledger(tmp_path, life):
    """Whatever we look at when we open it: SQLite's lock holds, also against a stranger's tool."""
    path = tmp_path / "own" / "ledger.db"
    path.parent.mkdir()
    if life != "new":
        Ledger(path).close()
    if life == "a copy":
        path = Path(shutil.copytree(tmp_path / "own", tmp_path / "copy")) / "ledger.db"
    with Ledger(path):
        stranger = subprocess.run(
            [sys.executable, "-c", STRANGER, str(path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert "database is locked" in stranger.stderr
