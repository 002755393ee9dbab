"""What is looked at once a day while the unit is idle."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime.ledger.ledger import Ledger
from runtime.ledger.transaction import LedgerTransaction
from runtime.messages.status_reason import StatusReason
from runtime.unit.housekeeping import DAY_MS, examine_ledger, keep_house

NOW_MS = 1_795_348_800_000


class WatchedLedger(Ledger):
    """A ledger that counts how often it was examined."""

    examined = 0

    def examine(self):
        self.examined += 1
        return super().examine()


@pytest.fixture
def parts(tmp_path):
    with WatchedLedger(tmp_path / "ledger.db") as ledger:
        yield SimpleNamespace(ledger=ledger)


def test_the_ledger_is_examined_once_a_day(parts):
    """Also after the clock was set back: better once more than never."""
    for at_ms, times in ((0, 1), (DAY_MS - 1, 1), (DAY_MS, 2), (-DAY_MS, 3)):
        examine_ledger(parts, NOW_MS + at_ms)
        assert parts.ledger.examined == times
    assert parts.ledger.fault is None


def test_what_is_found_is_said_until_the_ledger_is_rebuilt(parts):
    """The unit takes no image from then on."""

    def work(tx):
        tx.set_meta("note", "as it was")
        tx._connection.execute("DROP TRIGGER temp.hash_changed_meta")
        tx._connection.execute("UPDATE meta SET value = 'another' WHERE key = 'note'")

    parts.ledger.transact(work)
    examine_ledger(parts, NOW_MS)
    assert parts.ledger.fault.reason is StatusReason.LEDGER_FAILED
    assert parts.ledger.fault.damaged


class RemovingSpooler:
    """Takes files out of the spool."""

    def remove(self, path):
        Path(path).unlink()


class NoDrift:
    """An exam service that has no drift to say."""

    def publish_drift(self, _reference, _settings):
        """Nothing is due."""


OLD = SimpleNamespace(
    storage=SimpleNamespace(keep_images_days=7, keep_records_days=30),
    expiry=SimpleNamespace(replay_days=7),
    drift=None,
)


def test_no_exam_is_forgotten_before_its_files_are(parts, tmp_path):
    """After a month switched off: more files are due than one pass removes, none loses its row."""
    parts.spooler, parts.exam_service, parts.reference = RemovingSpooler(), NoDrift(), None
    long_ago_ms = NOW_MS - 31 * DAY_MS

    def fill(tx):
        for number in range(250):
            path = tmp_path / f"{number}.dcm"
            path.write_bytes(b"x")
            study_uid = f"1.2.{number // 4}"
            tx._connection.execute(
                "INSERT OR IGNORE INTO exams VALUES (?, 'final', 1, NULL, 0, ?, NULL)",
                (study_uid, long_ago_ms),
            )
            tx._connection.execute(
                "INSERT INTO objects (sop_uid, sha256, study_uid, path, size_bytes, header, role,"
                " source, peer, received_at_ms) VALUES (?, ?, ?, ?, 1, '', '', '', '', ?)",
                (str(number), str(number), study_uid, str(path), long_ago_ms),
            )

    parts.ledger.transact(fill)
    for left in (50, 0):
        keep_house(parts, OLD, NOW_MS)
        files = {str(path) for path in tmp_path.glob("*.dcm")}
        assert len(files) == left
        assert parts.ledger.transact(LedgerTransaction.spooled_paths) == files
    exams = parts.ledger.transact(
        lambda tx: tx._connection.execute("SELECT count(*) FROM exams").fetchone()
    )
    assert exams == (0,)
