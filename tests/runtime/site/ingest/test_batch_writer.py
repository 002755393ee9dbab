"""What units say, in the site's books: once each, in whichever order and however often it comes."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from runtime.image.outcome import Flag
from runtime.image.reasons import Reason
from runtime.messages.payloads import EventKind
from runtime.site.ingest.batch_writer import enter
from runtime.site.queries.fleet import Fleet
from runtime.site.queries.fleet_summary import FlagCounts, Standing
from runtime.site.queries.unit_history import unit_history
from runtime.site.store.ingested_message import IngestedForeign
from runtime.site.store.site_clock import DAY_MS
from tests.support.site_units import NOON_MS, SaidUnit

SECOND_MS = 1000


@pytest.fixture
def heard(store):
    """Enters arrivals as one batch; what it came to."""

    def enter_all(*arrivals, foreign=()):
        with store.writing() as connection:
            return enter(connection, arrivals, foreign, now_ms=NOON_MS)

    return enter_all


@pytest.fixture
def summary(store):
    """The only unit's glance."""

    def look(now_ms=NOON_MS + SECOND_MS):
        (unit,) = Fleet(store).summary(now_ms).units
        return unit

    return look


def test_flags_are_counted_by_exam_not_by_message(heard, summary):
    """Revisions of an exam count once, under the newest flag."""
    unit = SaidUnit()
    heard(
        unit.status(),
        unit.exam(1, flag=Flag.NOT_ASSESSED, final=False),
        unit.exam(2, flag=Flag.NONE),
        unit.exam(1, flag=Flag.PRIORITY, revision=2),
    )
    assert summary().today == FlagCounts(priority=1, none=1)
    heard(unit.exam(1, flag=Flag.NONE, revision=3))
    assert summary().today == FlagCounts(none=2)


def test_what_comes_twice_counts_once(heard, summary):
    """The same messages again, in one batch or later, change no figure."""
    unit = SaidUnit()
    said = [unit.status(), unit.exam(1, flag=Flag.PRIORITY), unit.view(1), unit.event()]
    first = heard(*said, *said)
    assert (first.duplicates, first.conflicts) == (3, 0)
    before = summary()
    assert heard(*said).duplicates == 3
    after = summary()
    assert after.today == before.today == FlagCounts(priority=1)
    assert after.latency == before.latency
    assert after.duplicates == 6


def test_an_older_revision_that_comes_late_does_not_win(heard, summary):
    """A replay brings the first revision after the second."""
    unit = SaidUnit()
    first, second = unit.exam(1, flag=Flag.NONE), unit.exam(1, flag=Flag.PRIORITY, revision=2)
    heard(unit.status(), second)
    heard(first)
    assert summary().today == FlagCounts(priority=1)


def test_a_gap_is_seen_and_closed_by_what_was_missing(heard, summary):
    """Numbers that are missing are counted until they come, in any order."""
    unit = SaidUnit()
    said = [unit.event() for _ in range(9)]
    heard(said[0], said[1], said[4], said[7], said[8])
    assert summary().gap.missing == 4
    heard(said[6], said[5])
    assert summary().gap.missing == 2
    heard(said[3])
    heard(said[2])
    gap = summary().gap
    assert (gap.missing, gap.since_ms) == (0, None)


def test_retained_flags_of_before_open_no_gap(heard, summary):
    """At the first contact the broker sends what it kept: no history is owed for that."""
    unit = SaidUnit(first_seq=100)
    kept = [unit.exam(n, retained=True) for n in (1, 2)]
    unit.next_seq = 140
    kept.append(unit.exam(3, retained=True))
    heard(*kept)
    assert summary().gap.missing == 0
    heard(unit.event(), unit.event())
    assert summary().gap.missing == 0
    assert summary().today.exams == 3


def test_a_unit_with_its_clock_years_off_is_counted_today(heard, summary, store):
    """Days and latencies are those of the site's clock; the offset is told."""
    unit = SaidUnit()
    unit.clock_error_ms = -1000 * DAY_MS
    heard(unit.health(), unit.exam(1), unit.view(1))
    seen = summary()
    assert seen.today.exams == 1
    assert seen.clock_offset_ms == 1000 * DAY_MS + 50
    wire = next(item for item in seen.latency if item.stretch == "wire")
    assert wire.p50_ms < 100
    story = unit_history(
        store, "st-anna", "mammo-1", since_ms=NOON_MS - DAY_MS, until_ms=NOON_MS + DAY_MS
    )
    assert [exam.flag for exam in story.exams] == ["none"]


def test_a_clock_that_runs_ahead_puts_nothing_into_the_future(heard, summary):
    """Before the offset was measured, a moment after its receipt is its receipt."""
    unit = SaidUnit()
    unit.clock_error_ms = 3 * 365 * DAY_MS
    heard(unit.exam(1), unit.view(1))
    assert summary().today.exams == 1


def test_a_unit_that_lost_its_ledger_begins_a_new_one(heard, summary):
    """A birth with fewer numbers than were given: its numbers are counted beside the old ones."""
    unit = SaidUnit()
    heard(unit.status(), *[unit.exam(n) for n in range(1, 6)])
    fresh = SaidUnit(boot="boot-2")
    entered = heard(fresh.status(), *[fresh.exam(n) for n in range(6, 9)])
    assert (entered.duplicates, entered.conflicts) == (0, 0)
    assert summary().today.exams == 8
    assert summary().gap.missing == 0


def test_a_ledger_that_is_named_is_believed(heard, summary):
    """Another `ledger_id` is another ledger, however far its numbers are; the same one is not."""
    unit = SaidUnit(ledger="disk-1")
    heard(unit.status(), *[unit.exam(n) for n in range(1, 4)])
    other = SaidUnit(boot="boot-2", ledger="disk-2", first_seq=4)
    other.next_seq = 4
    heard(other.status(), other.exam(4))
    heard(SaidUnit(boot="boot-3", ledger="disk-1", first_seq=4).status(at_ms=NOON_MS + 9))
    again = SaidUnit(boot="boot-3", ledger="disk-1", first_seq=4)
    entered = heard(again.exam(5, at_ms=NOON_MS + 9))
    assert (entered.duplicates, entered.conflicts) == (0, 0)
    assert summary().today.exams == 5
    # What the second one gave before it was heard is owed: nobody else has it.
    assert summary().gap.missing == 3


def test_a_known_ledger_that_counts_from_further_back_is_told_and_its_exams_are_new(heard, summary):
    """A copy was put back: what it says from now on is no double of what it said before."""
    unit = SaidUnit(ledger="disk")
    heard(unit.status(), *[unit.exam(n) for n in range(1, 6)])
    back = SaidUnit(boot="boot-2", ledger="disk", first_seq=3)
    entered = heard(back.status(at_ms=NOON_MS + 9), *[back.exam(n) for n in range(6, 9)])
    assert (entered.duplicates, entered.conflicts) == (0, 0)
    assert summary().today.exams == 8
    rollback = summary().rollback
    assert (rollback.at_ms, rollback.known_seq, rollback.last_seq) == (NOON_MS + 59, 5, 2)
    heard(back.health(at_ms=NOON_MS + 19))
    assert (summary().gap.missing, summary().gap.lost) == (0, 0)  # its past is known
    again = SaidUnit(boot="boot-3", ledger="disk", first_seq=back.next_seq)
    entered = heard(again.status(at_ms=NOON_MS + 99), again.exam(9))
    assert (entered.duplicates, summary().today.exams) == (0, 9)
    assert summary().rollback == rollback


def test_a_known_number_with_another_content_from_a_newer_start_is_told(heard, summary):
    """The copy had passed what we heard before it was heard itself: nothing of it is dropped."""
    unit = SaidUnit(ledger="disk")
    heard(unit.status(), *[unit.exam(n) for n in range(1, 6)])
    back = SaidUnit(boot="boot-2", ledger="disk", first_seq=6)
    heard(back.status(at_ms=NOON_MS + 9))
    back.next_seq = 3
    entered = heard(*[back.exam(n, at_ms=NOON_MS + 9) for n in range(6, 11)])
    assert (entered.duplicates, entered.conflicts) == (0, 0)
    assert summary().today.exams == 10
    assert (summary().rollback.known_seq, summary().rollback.last_seq) == (5, 2)


def test_a_unit_that_says_that_its_ledger_went_back_is_told(heard, summary):
    """It found out by itself, and has taken a new name; a plain new name is no such thing."""
    unit = SaidUnit(ledger="disk")
    heard(unit.status(), *[unit.exam(n) for n in range(1, 4)])
    other = SaidUnit(boot="boot-2", ledger="new-disk")
    heard(other.status(at_ms=NOON_MS + 9))
    assert summary().rollback is None
    renewed = SaidUnit(boot="boot-3", ledger="again")
    heard(renewed.status(at_ms=NOON_MS + 19, reasons=("ledger_rolled_back",)), renewed.exam(4))
    assert summary().rollback.at_ms == NOON_MS + 69
    assert summary().today.exams == 4


def test_a_new_ledger_without_a_birth_is_known_by_its_numbers(heard, summary):
    """A known number from a younger boot with other content is not a duplicate."""
    unit = SaidUnit()
    heard(unit.status(), *[unit.exam(n) for n in range(1, 4)])
    fresh = SaidUnit(boot="boot-2")
    heard(*[fresh.exam(n, at_ms=NOON_MS + 5) for n in range(4, 6)])
    assert summary().today.exams == 5
    assert summary().conflicts == 0


def test_two_units_under_one_name_are_told_apart_and_told(heard, summary):
    """Both count, nothing twice; the name is marked once the first speaks after the second."""
    one, other = SaidUnit(boot="boot-a"), SaidUnit(boot="boot-b")
    heard(one.status(), *[one.exam(n) for n in range(1, 4)])
    heard(other.status(), *[other.exam(n) for n in range(11, 13)])
    assert summary().twin_ms is None
    heard(one.status(at_ms=NOON_MS + 9), one.exam(4), other.exam(13))
    seen = summary()
    assert seen.twin_ms == NOON_MS + 59
    assert seen.today.exams == 7


def test_a_number_said_anew_with_other_words_is_a_conflict(heard, summary):
    """The same boot gives a number twice: counted, and the first stands."""
    unit = SaidUnit()
    heard(unit.status(), unit.exam(1, flag=Flag.PRIORITY))
    unit.next_seq = 1
    entered = heard(unit.exam(2, at_ms=NOON_MS + 7))
    assert (entered.conflicts, summary().conflicts) == (1, 1)
    assert summary().today == FlagCounts(priority=1)


def test_an_expired_row_is_no_conflict(heard, summary):
    """The unit replays a row that expired meanwhile, as an event under the same number."""
    unit = SaidUnit()
    heard(unit.status(), unit.exam(1))
    unit.next_seq = 1
    entered = heard(unit.event(EventKind.EXPIRED, at_ms=NOON_MS + 7))
    assert (entered.conflicts, entered.duplicates) == (0, 1)


def test_a_forged_number_far_ahead_opens_no_gap(heard, summary):
    """A jump of more than a million is none of the unit's."""
    unit = SaidUnit()
    heard(unit.status(), unit.event())
    unit.next_seq = 10**12
    assert heard(unit.event()).foreign == 1
    assert summary().gap.missing == 0


def test_states_follow_births_and_wills(heard, summary):
    """Degraded with reasons; a will of a boot that was replaced changes nothing."""
    unit = SaidUnit(boot="boot-1")
    heard(unit.status(reasons=("disk_low",)))
    assert (summary().standing, summary().reasons) == (Standing.DEGRADED, ("disk_low",))
    will = unit.status(offline=True)
    heard(unit.reboot("boot-2").status(at_ms=NOON_MS + 5))
    heard(will)
    assert summary().standing is Standing.ONLINE
    heard(unit.status(offline=True))
    assert summary().standing is Standing.OFFLINE


def test_a_unit_that_should_speak_and_does_not_is_silent(heard, summary):
    """Silence never looks like `online`; one that said goodbye is offline."""
    unit = SaidUnit()
    heard(unit.status())
    assert summary(NOON_MS + 119 * SECOND_MS).standing is Standing.ONLINE
    assert summary(NOON_MS + 121 * SECOND_MS).standing is Standing.SILENT


def test_reasons_and_latencies_are_those_of_images(heard, summary):
    """Not-assessed rate by reason, of all images; an image's new outcome replaces the old."""
    unit = SaidUnit()
    heard(
        unit.view(1),
        unit.view(2, reasons=(Reason.IMPLANT,)),
        unit.view(3, reasons=(Reason.UNDECODABLE,)),
        unit.view(4),
    )
    heard(unit.view(3))
    (reason,) = summary().not_assessed_reasons
    assert (reason.reason, reason.images, reason.rate) == ("implant", 1, 0.25)
    on_unit = next(item for item in summary().latency if item.stretch == "unit")
    assert on_unit.images == 4
    assert 73 < on_unit.p50_ms < 88


def test_foreign_messages_are_counted_by_place_and_bounded(heard, store):
    """Who writes to ever new topics fills no table."""
    many = [
        IngestedForeign(place=f"mammoedge/v1/x{n}", why="not_json", received_ms=NOON_MS)
        for n in range(2000)
    ]
    heard(foreign=many[:2])
    heard(foreign=many)
    places = {item.place: item.messages for item in Fleet(store).summary(NOON_MS).foreign}
    assert places == {"mammoedge/v1/x0": 1, "mammoedge/v1/x1": 1, "(other topics)": 2000}


def test_a_story_holds_days_states_events_and_models(heard, store):
    """Everything that a unit's page and a month's report need."""
    unit = SaidUnit()
    yesterday = NOON_MS - DAY_MS
    heard(
        unit.status(),
        unit.exam(1, flag=Flag.PRIORITY, at_ms=yesterday),
        unit.view(1, reasons=(Reason.IMPLANT,), at_ms=yesterday),
        unit.exam(2),
        unit.event(),
        unit.drift(histogram=(5,) * 20),
        unit.status(at_ms=NOON_MS + 9, reasons=("disk_low",)),
    )
    story = unit_history(
        store, "st-anna", "mammo-1", since_ms=NOON_MS - 9 * DAY_MS, until_ms=NOON_MS + DAY_MS
    )
    assert [day.flags.exams for day in story.days] == [1, 1]
    assert [day.images for day in story.days] == [1, 0]
    assert [hour.flags.priority for hour in story.hours] == [1, 0]
    assert [state.state for state in story.states] == ["degraded", "online"]
    assert [item.event for item in story.events] == ["exposure"]
    assert [(m.model, m.model_version) for m in story.models] == [("test", "1.0.0")]
    assert [drift.images for drift in story.drifts] == [100]
    assert [exam.flag for exam in story.exams] == ["none", "priority"]
    assert unit_history(store, "st-anna", "nobody", since_ms=0, until_ms=1) is None
