"""What the page shows while the ledger fails."""

from __future__ import annotations

import pytest

from runtime.ledger.ledger import LedgerError
from runtime.messages.status_reason import StatusReason
from tests.runtime.console.bench import ConsoleBench


@pytest.fixture
def bench(tmp_path):
    bench = ConsoleBench(tmp_path)
    yield bench
    bench.ledger.close()


def test_while_the_ledger_fails_the_page_shows_the_last_exams_and_says_so(bench, monkeypatch):
    """A box without a word would look like one in order."""
    bench.exam("1.2.3")
    before = bench.reader.board()
    assert before.exams

    def fails(*_args):
        raise LedgerError(bench.folder / "ledger.db", "malformed", damaged=True)

    monkeypatch.setattr(bench.ledger, "transact", fails)
    bench.status = bench.status.model_copy(update={"reasons": ("ledger_failed",)})
    board = bench.reader.board()
    assert board.exams == before.exams
    assert StatusReason.LEDGER_FAILED.code in board.system_status.large
