"""What a subscriber knows, from what it heard: nothing twice, nothing missed unseen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.image.outcome import Flag
from runtime.messages.payloads import EventKind, UnitState
from runtime.site.live_model.change import ChangeKind
from runtime.site.live_model.memory_limits import MemoryLimits
from runtime.site.live_model.site_state import SiteState
from runtime.site.subscriber.arrival import Arrival, LinkChange
from tests.runtime.site import said
from tests.runtime.site.said import AT_MS, message_factory


def heard(*arrivals, **limits) -> SiteState:
    """A picture of what came in that order."""
    picture = SiteState(said.SITE, limits=MemoryLimits(**limits))
    for arrival in arrivals:
        picture.hear(arrival)
    return picture


def unit_of(*arrivals, **limits):
    """The picture of the one unit that spoke."""
    (unit,) = heard(*arrivals, **limits)
    return unit


def kinds(picture, arrival) -> list[str]:
    """What one more message changes."""
    return [change.kind for change in picture.hear(arrival)]


def test_a_day_is_seen_as_it_was():
    """State, flags, outcomes, events, drift, health; every row as the unit's outbox has it."""
    rows = [said.event(1), said.view(2), said.exam(3), said.exam(4, revision=2), said.drift(5)]
    unit = unit_of(said.status(0), *rows, said.health(5, waiting=2))
    assert unit.state is UnitState.ONLINE
    assert [(row.seq, row.topic, row.payload) for row in unit.rows()] == [
        (seq, row.topic, row.payload) for seq, row in enumerate(rows, start=1)
    ]
    assert [exam.revision for exam in unit.exams.values()] == [2]
    assert (len(unit.views), len(unit.events), len(unit.drifts)) == (1, 1, 1)
    assert (unit.waiting, unit.book.gaps(), unit.book.behind) == (2, (), 0)
    assert unit.flags == {"priority": 1}


def test_the_same_arrivals_make_the_same_picture():
    """It has no clock of its own, and everything in it is JSON."""
    story = [said.status(0), said.event(1), said.event(4), said.exam(3), said.health(4)]
    once, again = heard(*story).as_json(), heard(*story).as_json()
    assert json.loads(json.dumps(once)) == again


def test_qos_1_may_say_it_twice():
    """A double is counted and changes nothing."""
    picture = heard(said.event(1), said.exam(2))
    before = picture.as_json()["units"][0]
    assert kinds(picture, said.event(1)) == [ChangeKind.DOUBLE]
    after = picture.as_json()["units"][0]
    assert after["counts"].pop("doubles") == 1
    assert before["counts"].pop("doubles") == 0
    assert {**after, "last_heard": ""} == {**before, "last_heard": ""}


def test_a_gap_is_seen_at_once_and_closes_by_replay():
    """Opened with its numbers, closed when the last of them has come; those are not live."""
    picture = heard(said.event(1))
    opened = picture.hear(said.event(5))
    assert [(c.kind, c.spans) for c in opened][1:] == [(ChangeKind.GAP_OPENED, ((2, 4),))]
    assert kinds(picture, said.event(3)) == [ChangeKind.ROW]
    picture.hear(said.event(2))
    closed = picture.hear(said.event(4))
    assert [(c.kind, c.spans) for c in closed][1:] == [(ChangeKind.GAP_CLOSED, ((4, 4),))]
    unit = picture.units["mammo-1"]
    assert (unit.counts["rows"], unit.counts["replayed"]) == (5, 3)
    assert unit.latency_ms["count"] == 2


def test_events_stand_in_the_order_in_which_they_happened():
    """One that came by a replay has its place before what followed it."""
    events = [said.event(n, detail=str(n)) for n in (1, 4, 2, 3)]
    assert [event.detail for event in unit_of(said.status(0), *events).events] == list("1234")


def test_an_older_revision_never_replaces_a_newer_one():
    """Whichever comes first; a flag that the unit took back is gone."""
    late = unit_of(said.exam(2, revision=2, flag=Flag.NONE), said.exam(1, revision=1))
    assert [exam.flag for exam in late.exams.values()] == [Flag.NONE]
    picture = heard(said.exam(1))
    cleared = Arrival(topic=said.exam(1).topic, payload=b"", retained=False, at_ms=AT_MS)
    assert kinds(picture, cleared) == [ChangeKind.CLEARED]
    assert not picture.units["mammo-1"].exams


def test_retained_flags_are_shown_and_open_no_gaps():
    """Who comes late sees the current flags; numbers are owed from the first live row on."""
    unit = unit_of(
        said.status(90, retained=True),
        said.exam(40, retained=True),
        said.exam(90, study="1.2.4", retained=True),
    )
    assert (len(unit.exams), unit.book.gaps(), unit.book.behind) == (2, (), 0)
    assert unit.last_heard_ms is None
    again = unit_of(said.event(1), said.exam(2), said.exam(2, retained=True))
    assert again.counts["doubles"] == 0


def test_rows_that_never_come_are_known_by_the_last_number():
    """After a birth that was heard live, everything behind its `last_seq` is owed."""
    unit = unit_of(said.status(10), said.health(14))
    assert (unit.book.behind, unit.book.last_known) == (4, 14)


def test_a_will_changes_the_state_and_no_number():
    """Its number and its time are those of the birth; skew and last number stay."""
    unit = unit_of(said.status(3), said.event(4), said.event(5), said.status(3, offline=True))
    assert unit.state is UnitState.OFFLINE
    assert (unit.generation, unit.book.last_known, unit.skew_ms) == (1, 5, 5.0)


# --- what goes wrong --------------------------------------------------------------------------


def test_a_lost_ledger_is_flagged_and_its_rows_are_not_taken_for_doubles():
    """A new start that counts from 1 again: rows of the new ledger are new."""
    picture = heard(said.status(0), *(said.event(n) for n in range(1, 6)))
    changes = picture.hear(said.status(0, by=message_factory(boot="boot-b"), at_ms=AT_MS + 1))
    assert [c.kind for c in changes] == [ChangeKind.SEQ_RESTARTED, ChangeKind.STATUS]
    assert kinds(picture, said.exam(1, by=message_factory(boot="boot-b"))) == [ChangeKind.ROW]
    unit = picture.units["mammo-1"]
    assert (unit.generation, unit.counts["doubles"], unit.counts["rows"]) == (2, 0, 6)
    straggler = kinds(picture, said.event(5))
    assert straggler == [ChangeKind.STALE]
    assert unit.book.gaps() == ()


def test_an_exam_of_a_new_ledger_may_count_its_revisions_anew():
    """Revision 1 of the new ledger replaces revision 3 of the lost one."""
    new = message_factory(boot="boot-b")
    unit = unit_of(
        said.status(0), said.exam(1, revision=3), said.status(0, by=new, at_ms=AT_MS + 1),
        said.exam(1, revision=1, flag=Flag.NONE, by=new),
    )  # fmt: skip
    assert [(exam.revision, exam.flag) for exam in unit.exams.values()] == [(1, Flag.NONE)]


def test_a_lost_ledger_is_known_by_its_name_however_far_the_new_one_has_come():
    """While nobody listened the new ledger passed the old one's numbers: they are not doubles."""
    new = message_factory(boot="boot-b", ledger="new")
    picture = heard(
        said.status(0, by=message_factory(ledger="old")), *(said.event(n) for n in (1, 2, 3))
    )
    changes = picture.hear(said.status(9, by=new, at_ms=AT_MS + 1))
    assert ChangeKind.SEQ_RESTARTED in [change.kind for change in changes]
    for seq in (2, 3, 10):
        assert kinds(picture, said.event(seq, by=new, detail="new"))[0] == ChangeKind.ROW
    unit = picture.units["mammo-1"]
    assert (unit.generation, unit.counts["doubles"], unit.counts["conflicts"]) == (2, 0, 0)


def test_a_known_ledger_that_counts_from_further_back_was_put_back():
    """Its name is the same and its numbers are not: told beside the new count."""
    picture = heard(
        said.status(0, by=message_factory(ledger="disk")), *(said.event(n) for n in range(1, 6))
    )
    back = message_factory(boot="boot-b", ledger="disk")
    changes = picture.hear(said.status(2, by=back, at_ms=AT_MS + 1))
    assert [change.kind for change in changes] == [
        ChangeKind.SEQ_RESTARTED, ChangeKind.LEDGER_ROLLED_BACK, ChangeKind.STATUS
    ]  # fmt: skip
    assert kinds(picture, said.event(3, by=back, detail="new")) == [ChangeKind.ROW]


def test_a_known_number_with_another_content_from_a_newer_start_is_told():
    """The copy had counted past what was heard before it was heard itself."""
    picture = heard(
        said.status(0, by=message_factory(ledger="disk")), *(said.event(n) for n in range(1, 6))
    )
    back = message_factory(boot="boot-b", ledger="disk")
    picture.hear(said.status(9, by=back, at_ms=AT_MS + 1))
    assert kinds(picture, said.event(3, by=back, detail="new")) == [
        ChangeKind.CONFLICT, ChangeKind.LEDGER_ROLLED_BACK
    ]  # fmt: skip


def test_two_units_with_a_ledger_each_are_kept_apart():
    """They take turns: each row counts once, in the generation of its ledger."""
    one, two = message_factory(ledger="one"), message_factory(boot="boot-b", ledger="two")
    picture = heard(said.status(0, by=one), said.event(1), said.event(2))
    picture.hear(said.status(0, by=two, at_ms=AT_MS + 1))
    assert kinds(picture, said.event(1, by=two)) == [ChangeKind.ROW]
    assert kinds(picture, said.event(3, by=one)) == [ChangeKind.STALE]
    back = picture.hear(said.status(3, by=one, at_ms=AT_MS + 2))
    assert {ChangeKind.TWO_UNITS, ChangeKind.SEQ_RESTARTED} <= {change.kind for change in back}
    unit = picture.units["mammo-1"]
    assert unit.generation == 1
    assert kinds(picture, said.event(2, by=one)) == [ChangeKind.DOUBLE]
    assert kinds(picture, said.event(3, by=one)) == [ChangeKind.ROW]
    assert unit.counts["rows"] == 4


def test_a_restart_that_counts_on_is_no_event_at_all():
    """A new boot with the ledger it had: one generation, no flag."""
    unit = unit_of(
        said.status(0), said.event(1), said.status(0, offline=True),
        said.status(1, by=message_factory(boot="boot-b"), at_ms=AT_MS + 1), said.event(2),
    )  # fmt: skip
    assert (unit.generation, unit.counts["seq_restarts"], unit.counts["two_units"]) == (1, 0, 0)
    assert (unit.boot_id, unit.book.gaps()) == ("boot-b", ())


def test_two_units_under_one_name_are_flagged():
    """A start that was over speaks anew; and another row under a taken number is a conflict."""
    other = message_factory(boot="boot-b")
    picture = heard(
        said.status(0), said.event(1), said.status(1, by=other, at_ms=AT_MS + 1)
    )  # fmt: skip
    assert ChangeKind.TWO_UNITS in kinds(picture, said.status(1, at_ms=AT_MS + 2))
    assert kinds(picture, said.event(1, by=other, detail="other")) == [ChangeKind.CONFLICT]
    unit = picture.units["mammo-1"]
    assert (unit.counts["two_units"], unit.counts["conflicts"]) == (1, 1)
    assert unit.kept[1].detail == ""


@pytest.mark.parametrize(
    "late",
    [
        said.status(0, offline=True),
        said.status(0),
        said.status(0, retained=True),
        said.health(0, retained=True),
    ],
    ids=["its will", "said twice", "kept by the broker", "figures kept by the broker"],
)
def test_a_straggler_of_a_start_that_is_over_changes_nothing(late):
    """A late will, a repeated birth, a status from a broker that was put back."""
    picture = heard(
        said.status(0), said.event(1),
        said.status(1, by=message_factory(boot="boot-b"), at_ms=AT_MS + 1)
    )  # fmt: skip
    assert picture.hear(late) == ()
    unit = picture.units["mammo-1"]
    assert (unit.state, unit.boot_id, unit.generation) == (UnitState.ONLINE, "boot-b", 1)
    assert unit.counts["two_units"] == 0


def test_an_expired_row_is_no_conflict():
    """The unit says `expired` under the row's own number, each time with a new time."""
    picture = heard(said.exam(1), said.exam(2, revision=2))
    for later in (1, 2):
        expired = said.event(1, kind=EventKind.EXPIRED, at_ms=AT_MS + 86_400_000 * later)
        assert kinds(picture, expired) == [ChangeKind.DOUBLE]


def test_forged_numbers_enter_nothing():
    """10^18 as a row or a last number is counted as foreign; no gap, no memory."""
    picture = heard(said.status(0), said.event(1))
    assert kinds(picture, said.event(10**18)) == [ChangeKind.FOREIGN]
    assert kinds(picture, said.health(10**18)) == [ChangeKind.FOREIGN]
    unit = picture.units["mammo-1"]
    assert (unit.book.missing, unit.book.behind, unit.counts["rows"]) == (0, 0, 1)
    assert picture.foreign == {"seq_implausible": 2}


def test_a_forged_number_within_reach_ends_with_the_units_next_word():
    """A forged row opens a gap; when the unit itself says where it stands, counting begins anew."""
    picture = heard(said.status(0), said.event(1), said.event(500))
    assert picture.units["mammo-1"].book.missing == 498
    assert ChangeKind.SEQ_RESTARTED in kinds(picture, said.health(2, at_ms=AT_MS + 1))
    picture.hear(said.event(3))
    unit = picture.units["mammo-1"]
    assert (unit.generation, unit.book.gaps(), unit.counts["stale"]) == (2, (), 0)


def test_foreign_messages_are_counted_by_reason_and_create_no_unit():
    """Nonsense, other sites, unknown topics; a flood of names stops at the limit."""
    picture = heard(said.event(1), units=3)
    root = f"mammoedge/v1/{said.SITE}"
    for topic, payload in (
        (f"{root}/mammo-1/event", b"no json"), (f"{root}/ghost/event", b"no json"),
        ("mammoedge/v1/else/u/event", b"{}"), ("other", b""),
    ):  # fmt: skip
        picture.hear(Arrival(topic=topic, payload=payload, retained=False, at_ms=AT_MS))
    for n in range(50):
        picture.hear(said.status(0, by=message_factory(unit=f"u{n}")))
    assert picture.foreign == {
        "not_json": 2, "other_site": 1, "topic_unknown": 1, "too_many_units": 48,
    }  # fmt: skip
    assert len(picture.units) == 3
    assert picture.units["mammo-1"].counts["foreign"] == 1


def test_memory_is_bounded():
    """Ten thousand rows leave what the limits say."""
    limits = {"rows": 20, "digests": 30, "exams": 5, "events": 7, "views": 4}
    picture = heard(**limits)
    for n in range(1, 600):
        picture.hear(said.event(3 * n))
        picture.hear(said.exam(3 * n + 1, study=f"1.2.{n}"))
        picture.hear(said.view(3 * n + 2, study=f"1.2.{n}"))
    unit = picture.units["mammo-1"]
    assert [len(kept) for kept in (unit.kept, unit.exams, unit.events, unit.views)] == [20, 5, 7, 4]
    assert len(unit._now.digests) == 30


def test_clock_skew_is_told_by_what_was_said_live():
    """A unit whose clock is an hour ahead; what the broker had kept tells nothing."""
    ahead = AT_MS + 3_600_000
    unit = unit_of(
        said.status(0, at_ms=AT_MS, retained=True),
        replace(said.health(0, at_ms=ahead), at_ms=AT_MS),
        replace(said.health(0, at_ms=ahead + 30_000), at_ms=AT_MS + 30_400),
    )
    assert unit.skew_ms == -3_600_000


def test_a_lost_connection_keeps_the_time_of_its_beginning():
    """A picture says since when it is not live; attempts in between do not change that."""
    picture = heard()
    assert not picture.connected
    picture.link_changed(LinkChange(up=True, at_ms=1))
    assert picture.connected
    (change,) = picture.link_changed(LinkChange(up=False, at_ms=2, reason="gone"))
    assert (change.kind, change.detail) == (ChangeKind.DISCONNECTED, "gone")
    assert picture.link_changed(LinkChange(up=False, at_ms=3, reason="refused")) == ()
    assert picture.as_json()["since"].endswith("00.002Z")


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_order_any_doubles_end_in_the_same_rows(data):
    """Delivered in any order, each at least once: the unit's rows, once each."""
    rows = [said.event(n, detail=str(n)) for n in range(1, 13)]
    extra = data.draw(st.lists(st.sampled_from(rows), max_size=12))
    order = data.draw(st.permutations(rows + extra))
    unit = unit_of(said.status(0), *order)
    assert [row.payload for row in unit.rows()] == [row.payload for row in rows]
    assert (unit.book.gaps(), unit.counts["rows"]) == ((), 12)
    assert unit.counts["doubles"] == len(extra)
