"""What matters most is an alarm: a warning at first, critical when it stands, over when over."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from runtime.image.outcome import Flag
from runtime.messages.alarm import Severity
from runtime.messages.payloads import EventKind
from runtime.site.alarms.alarm_reconciliation import reconcile
from runtime.site.alarms.alarm_rules import AlarmKind
from runtime.site.alarms.urgent_rules import UrgentLimits, urgent_findings
from runtime.site.ingest.batch_writer import enter
from runtime.site.page.board import Level, tile_of
from runtime.site.queries.fleet import Fleet
from runtime.site.store.site_clock import DAY_MS
from runtime.site.store.store import Store
from runtime.site.store.tables import SERVICES
from runtime.site.store.upsert import upsert
from tests.support.site_units import NOON_MS, SaidUnit

MINUTE_MS = 60_000
LIMITS = UrgentLimits(critical_after_ms=10 * MINUTE_MS, shared=True)


class Watch:
    """A store, and looks at it that keep the alarms."""

    def __init__(self, folder) -> None:
        self.store = Store(str(folder / "site.db"))
        self.store.open()

    def hear(self, *arrivals) -> None:
        with self.store.writing() as connection:
            enter(connection, arrivals, now_ms=NOON_MS)

    def look(self, after_ms=1000, limits=LIMITS) -> dict:
        """Findings by (kind, subject) of a look that long after noon."""
        now_ms = NOON_MS + after_ms
        found = urgent_findings(Fleet(self.store).summary(now_ms), limits)
        with self.store.writing() as connection:
            reconcile(connection, "st-anna", found, now_ms=now_ms)
        assert all(f.saw and f.advice and f.since_ms <= now_ms for f in found)
        return {(f.kind, f.subject): f for f in found}

    def tile(self, after_ms=1000):
        """The unit on the page."""
        (unit,) = Fleet(self.store).summary(NOON_MS + after_ms).units
        return tile_of(unit, NOON_MS + after_ms)


@pytest.fixture
def watch(tmp_path):
    watch = Watch(tmp_path)
    yield watch
    watch.store.close()


def alive(unit, after_ms):
    """A `health`: the unit is not silent."""
    return unit.health(at_ms=NOON_MS + after_ms)


@pytest.mark.parametrize(
    "reason", ["worker_not_ready", "backlog_full", "disk_low", "ledger_failed", "storage_failed"]
)
def test_a_unit_that_cannot_judge_is_an_alarm_until_it_can(watch, reason):
    """A warning at once, critical after the settable time, over with the next good status."""
    unit, key = SaidUnit(), (AlarmKind.UNIT_CANNOT_JUDGE, reason)
    watch.hear(unit.status(reasons=(reason,)), unit.health())
    assert watch.look()[key].severity is Severity.WARNING
    assert watch.tile().level is Level.WARNING
    watch.hear(alive(unit, 11 * MINUTE_MS))
    late = watch.look(11 * MINUTE_MS)[key]
    assert (late.severity, late.since_ms) == (Severity.CRITICAL, NOON_MS + 1000)
    assert watch.tile(11 * MINUTE_MS).level is Level.CRITICAL
    watch.hear(unit.status(at_ms=NOON_MS + 12 * MINUTE_MS))
    assert watch.look(12 * MINUTE_MS) == {}
    assert watch.tile(12 * MINUTE_MS).level is Level.WELL


def test_a_start_that_never_ends_is_one_too(watch):
    """`starting` is no alarm for some minutes."""
    unit, key = SaidUnit(), (AlarmKind.UNIT_CANNOT_JUDGE, "starting")
    watch.hear(unit.status(reasons=("starting",)))
    assert key not in watch.look()
    watch.hear(alive(unit, 6 * MINUTE_MS))
    assert key in watch.look(6 * MINUTE_MS)


def test_a_goodbye_ends_it(watch):
    """A unit that is switched off for the night cannot judge, and should not."""
    unit = SaidUnit()
    watch.hear(unit.status(reasons=("worker_not_ready",)), unit.status(offline=True))
    assert watch.look() == {}


def test_a_unit_that_refuses_every_image_is_one_too(watch):
    """Four objects refused and none taken; one that is taken ends it."""
    unit, key = SaidUnit(), (AlarmKind.UNIT_CANNOT_JUDGE, "images_refused")
    watch.hear(unit.status(), *(unit.event(EventKind.IMAGE_REFUSED) for _ in range(3)))
    assert watch.look() == {}
    watch.hear(unit.event(EventKind.IMAGE_REFUSED))
    assert watch.look()[key].data == {"refused": 4}
    watch.hear(unit.view(1))
    assert watch.look() == {}


def test_parked_rows_are_an_alarm(watch):
    """By the unit's own figures."""
    unit = SaidUnit()
    watch.hear(unit.status(), unit.health(parked=3))
    assert watch.look()[AlarmKind.ROWS_PARKED, ""].data == {"parked": 3}
    watch.hear(unit.health(at_ms=NOON_MS + 30_000))
    assert watch.look(31_000) == {}


def test_a_priority_flag_that_nobody_saw_is_an_alarm_until_somebody_did(watch):
    """Counted by exam; old ones end after a day."""
    unit, key = SaidUnit(), (AlarmKind.PRIORITY_UNACKNOWLEDGED, "")
    keys = ["1.2.1", "1.2.2"]
    watch.hear(unit.status(), *(unit.event(EventKind.UNACKNOWLEDGED, exam=k) for k in keys))
    assert watch.look()[key].data == {"exams": 2}
    watch.hear(unit.event(EventKind.ACKNOWLEDGED, exam=keys[0], at_ms=NOON_MS + 1000))
    assert watch.look(2000)[key].data == {"exams": 1}
    watch.hear(alive(unit, 11 * MINUTE_MS))
    assert watch.look(11 * MINUTE_MS)[key].severity is Severity.CRITICAL
    assert key not in watch.look(DAY_MS + MINUTE_MS)


@pytest.mark.parametrize(
    ("flag", "measure", "share"),
    [(Flag.NOT_ASSESSED, "not_assessed", 6), (Flag.PRIORITY, "priority", 8)],
)
def test_a_bad_first_day_is_never_in_order(watch, flag, measure, share):
    """6 of 10 not assessed, nothing learnt yet; it stands until a better day says otherwise."""
    unit, key = SaidUnit(), (AlarmKind.RATE_OUT_OF_BOUNDS, measure)
    flags = [flag] * share + [Flag.NONE] * (10 - share)
    watch.hear(unit.status(), *(unit.exam(n, flag=f) for n, f in enumerate(flags, 1)))
    finding = watch.look()[key]
    assert (finding.data["count"], finding.data["exams"]) == (share, 10)
    assert watch.tile().level is Level.WARNING
    morning = DAY_MS - 6 * 3600 * 1000
    watch.hear(alive(unit, morning), unit.exam(11, flag=flag, at_ms=NOON_MS + morning))
    assert watch.look(morning + 1000)[key].data == finding.data
    good = [unit.exam(20 + n, at_ms=NOON_MS + morning) for n in range(9)]
    watch.hear(*good)
    assert watch.look(morning + 1000) == {}


def test_four_exams_are_no_rate(watch):
    """Three of four not assessed say nothing of a day."""
    unit = SaidUnit()
    watch.hear(unit.status(), *(unit.exam(n, flag=Flag.NOT_ASSESSED) for n in range(1, 5)))
    assert watch.look() == {}


@pytest.mark.parametrize("shared", [True, False])
def test_a_queue_that_nobody_drains_is_an_alarm_where_services_share_the_work(watch, shared):
    """The broker goes on keeping a share of everything for the one that is gone."""
    row = {"service": "site-2", "started_ms": 1, "seen_ms": NOON_MS - 20 * MINUTE_MS, "said": "{}"}
    with watch.store.writing() as connection:
        connection.execute(upsert(connection, SERVICES), [row])
    limits = UrgentLimits(critical_after_ms=10 * MINUTE_MS, shared=shared)
    found = watch.look(limits=limits)
    if not shared:
        assert found == {}
        return
    finding = found[AlarmKind.BROKER_QUEUE_ABANDONED, "site-2"]
    assert (finding.severity, finding.unit) == (Severity.CRITICAL, "")
