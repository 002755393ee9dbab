"""After every fault the site's picture is the unit's ledger: nothing lost, doubled or stale."""

from __future__ import annotations

import pytest

from runtime.exams.clock_jump import ANCHOR_NOTE
from runtime.exams.unit_clock import ClockAnchor
from runtime.ledger.ledger import Ledger
from tests.conftest import skip_or_fail
from tests.support.brokers import mosquitto_missing
from tests.support.waiting import wait_until
from tests.support.wire_faults import DAY_MS, FAULTS, faketime_missing, play


@pytest.mark.parametrize("fault", FAULTS)
def test_the_picture_equals_the_ledger_after(fault, tmp_path):
    """Row by row, and each exam's flag; what expired says so under its number."""
    if reason := mosquitto_missing() or faketime_missing():
        skip_or_fail(reason)
    proof = play(fault, tmp_path)
    assert proof.holds, proof
    assert proof.rows >= 8


def test_a_service_notices_that_its_clock_was_set_while_it_was_down(story):
    """Its ledger has the machine's two clocks of then: an event says by how much, and the state."""
    story.broker.start()
    unit = story.unit().start().wait_listening()
    subscriber = story.subscriber()
    wait_until(subscriber.statuses, what="birth")
    assert unit.stop() == 0
    with Ledger(unit.folder / "data" / "ledger.db") as ledger:
        note = ledger.transact(lambda tx: tx.meta(ANCHOR_NOTE))
        anchor = ClockAnchor.model_validate_json(note)
        day_ahead = anchor.model_copy(update={"wall_ms": anchor.wall_ms + DAY_MS})
        ledger.transact(lambda tx: tx.set_meta(ANCHOR_NOTE, day_ahead.model_dump_json()))
    subscriber.forget()
    unit.start()
    wait_until(
        lambda: any(r.body["event"] == "clock_jumped" for r in subscriber.topics("event")),
        "the event",
    )
    wait_until(
        lambda: any("clock_jumped" in r.body["reasons"] for r in subscriber.topics("status")),
        "degraded",
    )
    (event,) = [r.body for r in subscriber.topics("event") if r.body["event"] == "clock_jumped"]
    assert -86401 < event["data"]["jump_s"] < -86399
