"""Whoever shows the ledger is told of each change, and of nothing else."""

from __future__ import annotations

import pytest

from runtime.ledger.ledger import Ledger


def test_listeners_hear_of_changes_only(tmp_path):
    """A write that committed is told; a read, and a write that was undone, are not."""
    heard = []
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.on_commit(lambda: heard.append(ledger))
        ledger.transact(lambda tx: tx.jobs_open())
        assert heard == []
        ledger.transact(lambda tx: tx.set_meta("a", "1"))
        assert len(heard) == 1

        def fails(tx):
            tx.set_meta("a", "2")
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011 - our own, one line above
            ledger.transact(fails)
        assert len(heard) == 1
