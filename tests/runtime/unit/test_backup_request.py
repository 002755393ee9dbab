"""A copy of a running ledger is asked for, and whatever goes wrong nothing lies about."""

from __future__ import annotations

import os
import time

import pytest

from runtime.ledger.ledger import Ledger
from runtime.unit import backup_request
from runtime.unit.backup_request import COPY, LEFT_OVER_S, REQUEST, NoAnswerError, answer, ask


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def test_a_copy_that_nobody_took_is_removed(tmp_path, ledger):
    """Who asked was killed: the copy stays for those who are slow, and no longer."""
    (tmp_path / REQUEST).touch()
    answer(tmp_path, ledger)
    answer(tmp_path, ledger)
    assert (tmp_path / COPY).exists()
    long_ago_s = time.time() - LEFT_OVER_S - 1
    os.utime(tmp_path / COPY, (long_ago_s, long_ago_s))
    answer(tmp_path, ledger)
    assert not (tmp_path / COPY).exists()
    answer(tmp_path, ledger)


def test_a_request_ends_with_who_asked(tmp_path, monkeypatch):
    """No answer, or Ctrl-C: no service makes a copy for it later."""
    with pytest.raises(NoAnswerError):
        ask(tmp_path, 0.0)
    assert not list(tmp_path.iterdir())

    def interrupted(_seconds):
        assert (tmp_path / REQUEST).exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(backup_request.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path, 60.0)
    assert not list(tmp_path.iterdir())
