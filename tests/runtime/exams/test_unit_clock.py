"""A clock that jumps: nothing ages by it, forward, back, and across restarts."""

from __future__ import annotations

import pytest

from runtime.exam_rules.state_machine import Exam, Phase
from runtime.exams.clock_jump import SETTLED_AFTER_MS, ClockJump
from runtime.exams.unit_clock import UnitClock
from runtime.ledger.ledger import Ledger
from runtime.messages.payloads import EventKind
from runtime.publishing.message_factory import MessageFactory

MESSAGE_FACTORY = MessageFactory(site="s", unit="u", boot_id="b", site_key=b"k" * 32)
MINUTE, DAY = 60_000, 24 * 3600 * 1000
START = 1_795_000_000_000


class Machine:
    """Both clocks of a machine, as a test sets them."""

    def __init__(self) -> None:
        self.wall, self.elapsed, self.boot = START, 5 * MINUTE, "first"

    def passes(self, ms: int) -> None:
        """Time goes by."""
        self.wall += ms
        self.elapsed += ms

    def off(self, ms: int, *, wall: int | None = None) -> None:
        """The machine is switched off and on again."""
        self.wall = self.wall + ms if wall is None else wall
        self.elapsed, self.boot = 1000, f"after {self.boot}"

    def clock(self) -> UnitClock:
        """The unit's clock on this machine."""
        return UnitClock(wall=lambda: self.wall, elapsed=lambda: self.elapsed, boot=self.boot)


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


def watched_clock(machine, ledger):
    """A service that starts."""
    clock = machine.clock()
    clock_jump = ClockJump(clock=clock, ledger=ledger, message_factory=MESSAGE_FACTORY)
    clock_jump.open()
    return clock, clock_jump


def add_row(ledger, clock):
    """An event, which expires after seven days."""
    now_ms = clock.now_ms()
    return ledger.add_event(MESSAGE_FACTORY.event_message(EventKind.EXPOSURE, at_ms=now_ms), now_ms)


def ages(ledger, clock) -> dict[int, tuple[int, int]]:
    """(age, time until expiry) of the rows that wait."""
    now_ms = clock.now_ms()
    return {row.seq: (now_ms - row.at_ms, row.expires_at_ms - now_ms) for row in ledger.waiting(9)}


def jumps(ledger) -> list[float]:
    """What the events say, in seconds."""
    import json

    bodies = [json.loads(row.payload) for row in ledger.waiting(99)]
    return [b["data"]["jump_s"] for b in bodies if b["event"] == "clock_jumped"]


@pytest.mark.parametrize("jump", [DAY, -DAY, 40_000, -30 * 365 * DAY])
def test_nothing_ages_by_a_jump(machine, ledger, jump):
    """Neither before anybody has looked, nor after; what passes afterwards counts again."""
    clock, clock_jump = watched_clock(machine, ledger)
    add_row(ledger, clock)
    machine.passes(MINUTE)
    machine.wall += jump
    assert ages(ledger, clock)[1] == (MINUTE, 7 * DAY - MINUTE)
    assert clock_jump.look()
    assert clock.now_ms() == machine.wall
    assert ages(ledger, clock)[1] == (MINUTE, 7 * DAY - MINUTE)
    machine.passes(MINUTE)
    assert not clock_jump.look()
    assert ages(ledger, clock)[1] == (2 * MINUTE, 7 * DAY - 2 * MINUTE)
    assert jumps(ledger) == [jump / 1000]


def test_a_jump_there_and_back_is_two_events_and_no_difference(machine, ledger):
    """As with a time server that was wrong for a moment."""
    clock, clock_jump = watched_clock(machine, ledger)
    add_row(ledger, clock)
    for jump in (DAY, -DAY):
        machine.wall += jump
        clock_jump.look()
    assert ages(ledger, clock)[1] == (0, 7 * DAY)
    assert jumps(ledger) == [DAY / 1000, -DAY / 1000]


def test_small_steps_and_slow_drift_are_no_jump(machine, ledger):
    """What a time daemon does all day long; each look takes it over."""
    clock, clock_jump = watched_clock(machine, ledger)
    for _ in range(50):
        machine.passes(5000)
        machine.wall += 2000
        assert not clock_jump.look()
    assert clock.now_ms() == machine.wall
    assert jumps(ledger) == []


def test_a_jump_while_the_service_was_down_is_seen_at_its_start(machine, ledger):
    """The machine ran on: its elapsed time tells the hours from the jump."""
    clock, _ = watched_clock(machine, ledger)
    add_row(ledger, clock)
    machine.passes(10 * MINUTE)
    machine.wall += DAY
    clock, clock_jump = watched_clock(machine, ledger)
    assert clock_jump.unsettled
    assert ages(ledger, clock)[1][0] == 10 * MINUTE


def test_a_day_switched_off_is_a_day(machine, ledger):
    """What expired while the machine was off has expired: that is no jump."""
    clock, _ = watched_clock(machine, ledger)
    add_row(ledger, clock)
    machine.off(8 * DAY)
    clock, clock_jump = watched_clock(machine, ledger)
    assert not clock_jump.unsettled
    assert ages(ledger, clock)[1] == (8 * DAY, -DAY)


def test_a_machine_that_wakes_in_the_past_has_lost_its_clock(machine, ledger):
    """An empty battery: nothing expires when the network sets the clock right again."""
    clock, _ = watched_clock(machine, ledger)
    add_row(ledger, clock)
    machine.off(0, wall=0)
    clock, clock_jump = watched_clock(machine, ledger)
    assert clock_jump.unsettled
    machine.passes(MINUTE)
    machine.wall = START + 2 * MINUTE
    assert clock_jump.look()
    assert ages(ledger, clock)[1][0] == MINUTE
    assert len(jumps(ledger)) == 2


def test_exams_jobs_and_attention_move_with_the_clock(machine, ledger):
    """Every time that the ledger keeps, whichever table it is in."""
    _, clock_jump = watched_clock(machine, ledger)
    exam = Exam(study_instance_uid="1.2", phase=Phase.COLLECTING, last_activity_ms=machine.wall)
    ledger.transact(lambda tx: tx.save_exam(exam))
    ledger.transact(lambda tx: tx.add_job("1.2", "p", "fp32", [], machine.wall))
    machine.wall += DAY
    clock_jump.look()
    assert ledger.transact(lambda tx: tx.oldest_collecting_ms()) == machine.wall
    assert ledger.transact(lambda tx: tx.jobs_waiting_since(machine.wall)) == []
    moved = ledger.transact(lambda tx: tx.times_kept())
    assert {
        "outbox.expires_at_ms",
        "objects.received_at_ms",
        "exam_attention.priority_since_ms",
    } <= {*moved}


def test_an_hour_after_the_jump_the_unit_is_at_ease(machine, ledger):
    """Until then it is degraded, and nothing is deleted."""
    _, clock_jump = watched_clock(machine, ledger)
    machine.wall += DAY
    clock_jump.look()
    assert clock_jump.unsettled
    machine.passes(SETTLED_AFTER_MS)
    clock_jump.look()
    assert not clock_jump.unsettled


def test_a_ledger_that_fails_leaves_the_clock_as_it_was(machine, ledger):
    """The jump is taken over with the rows or not at all."""

    class Full(Ledger):
        """One that cannot commit."""

        def __init__(self) -> None:
            pass

        def transact(self, work):
            def and_fail(tx):
                work(tx)
                raise ZeroDivisionError

            return ledger.transact(and_fail)

    clock, _ = watched_clock(machine, ledger)
    add_row(ledger, clock)
    clock_jump = ClockJump(clock=clock, ledger=Full(), message_factory=MESSAGE_FACTORY)
    machine.wall += 8 * DAY
    with pytest.raises(ZeroDivisionError):
        clock_jump.look()
    assert ages(ledger, clock)[1] == (0, 7 * DAY)
