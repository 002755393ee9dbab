"""What can happen between a unit and a site, each with the row-by-row proof that nothing was lost.

Real parts on both sides: the unit's ledger and publisher, Debian's Mosquitto (under Debian's
`faketime` where its clock matters), and the site's own subscriber with its picture. The tests run
each fault; `python -m benches.wire_faults` prints them as a table.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from runtime.exams.clock_jump import ClockJump
from runtime.exams.unit_clock import UnitClock, elapsed_ms, wall_ms
from tests.runtime.site.listeners import Listener
from tests.support.brokers import Mosquitto
from tests.support.recording_proxy import RecordingProxy
from tests.support.unit_under_test import Unit
from tests.support.waiting import wait_until

FAKETIME = "/usr/bin/faketime"
HOUR_S = 3600
HOUR_MS, DAY_MS = HOUR_S * 1000, 24 * HOUR_S * 1000


class Clocks:
    """The machine of a unit: its real clocks, and what a test adds to them."""

    def __init__(self) -> None:
        self._wall_ms = 0
        self._elapsed_ms = 0
        self.unit = UnitClock(
            wall=lambda: wall_ms() + self._wall_ms,
            elapsed=lambda: elapsed_ms() + self._elapsed_ms,
        )

    def pass_by(self, ms: int) -> None:
        """Time goes by."""
        self._wall_ms += ms
        self._elapsed_ms += ms

    def jump(self, ms: int) -> None:
        """Somebody sets the clock."""
        self._wall_ms += ms


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The ledger against the picture, after a fault."""

    fault: str
    rows: int
    expired: int
    """Rows that were no longer true when they could be said, and were said to be so."""
    lost: int
    doubled_on_the_wire: int
    doubled: int
    """Rows that stand twice, or differ, in the picture."""
    replays: int
    flags_equal: bool
    """Each exam's flag: the ledger's highest revision, unless it expired."""
    remark: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled or stale."""
        return self.lost == 0 and self.doubled == 0 and self.flags_equal


@dataclass
class Stage:
    """Where a fault is played."""

    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)
    clocks: Clocks = field(default_factory=Clocks)

    def broker(self, **options: object) -> Mosquitto:
        """A Mosquitto, running."""
        broker = Mosquitto(self.folder / "broker", **options)
        self.stack.callback(broker.kill)
        return broker.start()

    def unit(
        self, broker: Mosquitto | RecordingProxy, name: str = "unit", **options: object
    ) -> Unit:
        """A unit on this stage's clocks; not started."""
        options = {"boot_id": f"boot-{name}", "clock_ms": self.clocks.unit.now_ms} | options
        unit = Unit(self.folder / name, broker.port, **options)
        self.stack.callback(unit.close)
        return unit

    def listener(self, broker: Mosquitto, **options: object) -> Listener:
        """A site's subscriber that asks for what it misses; connected."""
        listener = Listener(broker.port, follow_gaps=True, **options)
        self.stack.callback(lambda: listener.subscriber.close(forget=True))
        return listener.until_up()

    def watch_clock(self, unit: Unit) -> ClockJump:
        """What the service does at its start."""
        clock_jump = ClockJump(
            clock=self.clocks.unit, ledger=unit.ledger, message_factory=unit.message_factory
        )
        clock_jump.open()
        return clock_jump


def say_exams(unit: Unit, first: int, count: int = 4, expiry_s: int = 24 * HOUR_S) -> None:
    """Exams with two revisions each, and an event between them."""
    for number in range(first, first + count):
        for revision in (1, 2):
            unit.say_exam(revision=revision, study=f"1.2.{number}", expiry_s=expiry_s)
            unit.say()


def caught_up(listener: Listener, unit: Unit) -> Callable[[], bool]:
    """Whether the picture has every number that the ledger gave, and the ledger knows it."""

    def done() -> bool:
        if not listener.picture.units or not unit.all_delivered():
            return False
        book = listener.unit.book
        return book.highest >= unit.ledger.last_seq() and not book.gaps()

    return done


def prove(fault: str, listener: Listener, unit: Unit, *, remark: str = "") -> Proof:
    """Waits until the picture is whole, then compares it with the ledger, row by row."""
    listener.until(caught_up(listener, unit), f"{fault}: every row", timeout_s=90)
    now_ms = unit.clock_ms()
    ledger = unit.ledger.transact(
        lambda tx: tx._connection.execute(
            "SELECT seq, kind, topic, payload, expires_at_ms FROM outbox ORDER BY seq"
        ).fetchall()
    )
    heard = {row.seq: row for row in listener.unit.rows()}
    lost = doubled = expired = 0
    for seq, kind, topic, payload, expires_at_ms in ledger:
        row = heard.pop(seq, None)
        if row is None:
            lost += 1
        elif tuple(row) != (seq, kind, topic, payload):
            if expires_at_ms <= now_ms and says_expired(row.payload, kind):
                expired += 1
            else:
                doubled += 1
    flags = {row[2]: row[3] for row in ledger if row[1] == "exam" and row[4] > now_ms}
    deadline_s = time.monotonic() + 30
    while flags != shown_flags(listener, unit) and time.monotonic() < deadline_s:
        listener.turn()  # a flag that expired is taken off its topic after the rows
    return Proof(
        fault=fault,
        rows=len(ledger),
        expired=expired,
        lost=lost,
        doubled_on_the_wire=listener.unit.counts["doubles"],
        doubled=doubled + len(heard) + listener.unit.counts["conflicts"],
        replays=sum(change.kind == "command" for change in listener.changes),
        flags_equal=flags == shown_flags(listener, unit),
        remark=remark,
    )


def shown_flags(listener: Listener, unit: Unit) -> dict[str, bytes]:
    """Each exam's flag in the picture, by topic."""
    exams = listener.unit.exams.items()
    return {unit.message_factory.topics.exam(key): exam.encode() for key, exam in exams}


def says_expired(payload: bytes, kind: str) -> bool:
    """Whether a row stands for one of that kind that expired."""
    body = json.loads(payload)
    return body.get("event") == "expired" and body["data"]["kind"] == kind


# --- the faults -------------------------------------------------------------------------------


def broker_killed(stage: Stage, *, persistence: bool) -> Proof:
    """SIGKILL in the middle, again and again; without persistence it forgets everything."""
    broker = stage.broker(persistence=persistence)
    unit, listener = stage.unit(broker), stage.listener(broker)
    unit.start()
    for number in range(4):
        say_exams(unit, 10 * number)
        listener.until(lambda: listener.picture.units and listener.unit.book.highest, "a row")
        broker.restart()
        listener.until(lambda: not listener.picture.connected, "the loss", timeout_s=30)
        listener.until_up()
    say_exams(unit, 90)
    name = "with" if persistence else "without"
    return prove(f"broker killed 4 times, {name} persistence", listener, unit)


def session_expired(stage: Stage) -> Proof:
    """The subscriber was away for longer than the broker keeps its session."""
    broker = stage.broker()
    unit = stage.unit(broker)
    listener = stage.listener(broker, session_expiry_s=1)
    unit.start()
    say_exams(unit, 0)
    listener.until(caught_up(listener, unit), "the first exams")
    listener.subscriber.close(forget=False)
    say_exams(unit, 10)
    wait_until(lambda: "Expiring" in broker.log(), "the session expires")
    say_exams(unit, 20)
    wait_until(unit.all_delivered, what="delivered to nobody")
    back = Listener(broker.port, follow_gaps=True)
    stage.stack.callback(lambda: back.subscriber.close(forget=True))
    back.picture, back.changes = listener.picture, listener.changes
    back.until_up()
    say_exams(unit, 30)
    return prove("subscriber away beyond its session's expiry", back, unit)


def day_offline(stage: Stage) -> Proof:
    """Unit and site apart for 25 hours; the broker, too, believes that they passed."""
    broker = stage.broker(persistence=True)
    unit, listener = stage.unit(broker), stage.listener(broker)
    clock_jump = stage.watch_clock(unit)
    unit.start()
    say_exams(unit, 0)
    listener.until(caught_up(listener, unit), "the first exams")
    broker.stop()
    say_exams(unit, 10)
    stage.clocks.pass_by(25 * HOUR_MS)
    assert not clock_jump.look(), "time that passed was taken for a jump"
    say_exams(unit, 20)
    broker.prefix = (FAKETIME, "-f", "+25h")
    broker.start()
    proof = prove("25 hours offline, the broker's clock with it", listener, unit)
    # Whoever comes now is told nothing that is no longer true.
    late = stage.listener(broker, client_id="late")
    late.until(lambda: late.picture.units and late.unit.state, "the state")
    late.until(lambda: len(late.unit.exams) >= 4, "the flags of now")
    stale = set(late.unit.exams) - {
        unit.message_factory.exam_key(f"1.2.{n}") for n in range(20, 24)
    }
    assert not stale, stale
    assert proof.expired == 8, proof
    return proof


def unit_silent(stage: Stage) -> Proof:
    """The unit dies; 25 hours later the broker has its will and none of its flags."""
    broker = stage.broker(persistence=True)
    cable = stage.stack.enter_context(RecordingProxy(broker.port))
    unit, listener = stage.unit(cable), stage.listener(broker)
    unit.start()
    say_exams(unit, 0)
    proof = prove("unit dies, seen offline; flags gone after 25 hours", listener, unit)
    cable.cut()  # as if the machine had lost its power: nobody says goodbye
    listener.until(lambda: listener.unit.state == "offline", "the will")
    broker.stop()
    broker.prefix = (FAKETIME, "-f", "+25h")
    broker.start()
    late = stage.listener(broker, client_id="late")
    late.until(lambda: late.picture.units and late.unit.state == "offline", "the will, kept")
    time.sleep(0.2)
    assert not late.unit.exams, "a flag outlived its truth"
    return proof


def clock_jumps(stage: Stage, *, jump_ms: int) -> Proof:
    """Somebody sets the unit's clock while rows wait for the broker."""
    broker = stage.broker()
    unit, listener = stage.unit(broker), stage.listener(broker)
    clock_jump = stage.watch_clock(unit)
    unit.start()
    say_exams(unit, 0)
    listener.until(caught_up(listener, unit), "the first exams")
    broker.kill()
    say_exams(unit, 10)
    stage.clocks.jump(jump_ms)
    assert clock_jump.look()
    say_exams(unit, 20)
    stage.clocks.jump(-jump_ms)
    assert clock_jump.look()
    say_exams(unit, 30)
    broker.start()
    days = jump_ms / DAY_MS
    proof = prove(f"unit's clock set {days:+.0f} day while rows wait, and back", listener, unit)
    jumps = [e.data["jump_s"] for e in listener.unit.events if e.event == "clock_jumped"]
    # Two clocks are read one after the other: a millisecond is no jump.
    assert [round(s) for s in jumps] == [days * 86400, -days * 86400], jumps
    assert proof.expired == 0, proof
    return proof


def ledger_lost(stage: Stage) -> Proof:
    """The disk of the unit is replaced: numbers begin again at 1, under another ledger id."""
    broker = stage.broker()
    first, listener = stage.unit(broker), stage.listener(broker)
    first.start()
    say_exams(first, 0)
    listener.until(caught_up(listener, first), "the first exams")
    first.publisher.stop()
    second = stage.unit(broker, "new-disk")
    say_exams(second, 10, count=7)  # its numbers are past those of the first before it is heard
    second.start()
    listener.until(lambda: listener.unit.generation == 2, "the second ledger")
    # Of the lost ledger's exams the last flags stand until they expire; they are no rows of this.
    for number in range(4):
        listener.unit.exams.pop(first.message_factory.exam_key(f"1.2.{number}"), None)
    assert listener.unit.status.ledger_id == second.ledger.ledger_id != first.ledger.ledger_id
    return prove("ledger lost, numbers begin again", listener, second, remark="new ledger_id seen")


def two_units_of_one_name(stage: Stage) -> Proof:
    """A copy of the unit's settings on a second machine: both are flagged."""
    broker = stage.broker()
    first, second = stage.unit(broker), stage.unit(broker, "copy")
    listener = stage.listener(broker)
    first.start()
    say_exams(first, 0)
    listener.until(caught_up(listener, first), "the first exams")
    second.publisher.start()
    listener.until(
        lambda: {*flagged(listener)} >= {"boot-unit", "boot-copy"}, "both say so themselves"
    )
    assert listener.unit.counts["two_units"]
    second.publisher.stop()
    # Somebody renames the copy; who listens from here on asks for all and has one unit.
    fresh = stage.listener(broker, client_id="fresh")
    fresh.until(lambda: fresh.picture.units and fresh.unit.state == "degraded", "the unit's state")
    fresh.unit.book.claim(1)
    return prove(
        "two units under one name", fresh, first, remark="both degraded, and seen as two_units"
    )


def flagged(listener: Listener) -> list[str]:
    """The boot ids of those that said so: a broker need not tell why it closed (MQTT 5, 4.13)."""
    return [
        change.message.boot_id
        for change in listener.changes
        if change.kind == "status"
        and {"name_taken", "connection_unstable"} & {*change.message.reasons}
    ]


FAULTS: dict[str, Callable[[Stage], Proof]] = {
    "broker_forgets": lambda stage: broker_killed(stage, persistence=False),
    "broker_remembers": lambda stage: broker_killed(stage, persistence=True),
    "session_expired": session_expired,
    "day_offline": day_offline,
    "unit_silent": unit_silent,
    "clock_forward": lambda stage: clock_jumps(stage, jump_ms=DAY_MS),
    "clock_back": lambda stage: clock_jumps(stage, jump_ms=-DAY_MS),
    "ledger_lost": ledger_lost,
    "two_units": two_units_of_one_name,
}


def play(name: str, folder: Path) -> Proof:
    """One fault from beginning to end."""
    with ExitStack() as stack:
        return FAULTS[name](Stage(folder=folder, stack=stack))


def faketime_missing() -> str | None:
    """Why the broker's clock cannot be moved here, or None."""
    if Path(FAKETIME).exists() or shutil.which("faketime"):
        return None
    return "faketime (Debian package) is not installed"
