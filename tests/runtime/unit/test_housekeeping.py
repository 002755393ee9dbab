"""What is looked at once a day while the unit is idle."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from runtime.ledger.ledger import Ledger
from runtime.messages.status_reason import StatusReason
from runtime.unit.housekeeping import DAY_MS, examine_ledger

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
