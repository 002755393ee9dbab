"""Events of the unit itself: what is said, and how often."""

from __future__ import annotations

import json

from runtime.exams.event_reporter import EventReporter
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import EventKind
from tests.support.unit_under_test import MESSAGE_FACTORY


def said(ledger):
    return [json.loads(row.payload) for row in ledger.waiting(1000)]


def reporter(ledger):
    return EventReporter(
        ledger=ledger, message_factory=MESSAGE_FACTORY, clock_ms=lambda: 1_000_000_000
    )


def test_what_is_reported_names_its_source(tmp_path):
    """It goes to the site, and to the log."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        reporter(ledger).report(EventKind.DISK_LOW, "new images are refused", source="disk")
        (event,) = said(ledger)
    assert (event["event"], event["detail"]) == ("disk_low", "disk: new images are refused")
