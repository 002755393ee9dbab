"""What lay in the spool without a row is taken in beside the work, and said once."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from runtime.ledger.ledger import Ledger, LedgerError
from runtime.messages.payloads import EventKind
from runtime.unit.spool_recovery import FILES_AT_ONCE, TURN_S, SpoolRecovery


class FakeSpooler:
    """Holds names; those that begin with `bad` cannot be read."""

    def __init__(self, names):
        self.names = names
        self.taken: list[str] = []
        self.backlog_is_full = False
        self.broken = False
        self.stuck: set[str] = set()

    def unregistered(self, known):
        assert known == set()
        return [Path(name) for name in self.names]

    def take_in_again(self, path):
        if path.name in self.stuck:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if self.broken:
            raise LedgerError(path, "database or disk is full")
        self.taken.append(path.name)
        return not path.name.startswith("bad")


class Reports:
    """An event reporter that remembers."""

    def __init__(self):
        self.said: list[tuple[EventKind, str]] = []

    def publish(self, kind, detail):
        self.said.append((kind, detail))


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def test_all_files_are_taken_in_a_few_at_a_time_and_said_once(ledger):
    """Artefacts are no images, and are not counted."""
    names = [f"{number}.dcm" for number in range(FILES_AT_ONCE)] + ["0.preview.jpg", "bad.dcm"]
    spooler, reports = FakeSpooler(names), Reports()
    recovery = SpoolRecovery(spooler=spooler, ledger=ledger, events=reports)
    assert recovery.begin() == len(names)
    assert recovery.go_on()
    assert len(spooler.taken) == FILES_AT_ONCE
    assert not recovery.go_on()
    assert not recovery.go_on()
    assert spooler.taken == names
    ((kind, detail),) = reports.said
    assert kind is EventKind.IMAGES_RECOVERED
    assert f"{FILES_AT_ONCE} taken in again, 1 set aside" in detail


def test_images_of_now_have_precedence_and_a_failure_loses_none(ledger):
    """While the backlog is full nothing is added to it; a file that failed is tried again."""
    spooler, reports = FakeSpooler(["a.dcm"]), Reports()
    recovery = SpoolRecovery(spooler=spooler, ledger=ledger, events=reports)
    recovery.begin()
    spooler.backlog_is_full = True
    assert not recovery.go_on()  # nothing to do at once
    assert spooler.taken == []
    spooler.backlog_is_full, spooler.broken = False, True
    with pytest.raises(LedgerError):
        recovery.go_on()
    spooler.broken = False
    assert not recovery.go_on()
    assert spooler.taken == ["a.dcm"]


def test_a_file_that_can_neither_be_read_nor_moved_holds_up_no_other(ledger):
    """It is said once, tried again at the usual pace, and said again when it was taken."""
    spooler, reports = FakeSpooler(["stuck.dcm", "a.dcm", "b.dcm"]), Reports()
    spooler.stuck = {"stuck.dcm"}
    recovery = SpoolRecovery(spooler=spooler, ledger=ledger, events=reports)
    recovery.begin()
    for _ in range(3):
        assert not recovery.go_on()
    assert spooler.taken == ["a.dcm", "b.dcm"]
    ((_, detail),) = reports.said
    assert "2 taken in again" in detail
    assert "1 can be neither read nor moved" in detail
    spooler.stuck.clear()
    assert not recovery.go_on()
    assert "1 taken in again" in reports.said[-1][1]
    assert not recovery.go_on()
    assert len(reports.said) == 2


def test_large_files_do_not_keep_the_service(ledger, monkeypatch):
    """A turn ends when its time is up; the rest is taken in at once after what else is due."""
    spooler, reports = FakeSpooler(["a.dcm", "b.dcm", "c.dcm"]), Reports()
    recovery = SpoolRecovery(spooler=spooler, ledger=ledger, events=reports)
    recovery.begin()
    times = iter([0.0, 0.0, TURN_S + 0.1])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    assert recovery.go_on()
    monkeypatch.undo()
    assert spooler.taken == ["a.dcm"]
