"""Whom to ask for what is missing, and when to stop asking."""

from __future__ import annotations

from runtime.site.live_model.replay_policy import ReplayPolicy
from runtime.site.live_model.site_state import SiteState
from runtime.site.subscriber.arrival import LinkChange
from runtime.timing.replay_schedule import ReplaySchedule
from tests.runtime.site import said

SCHEDULE = ReplaySchedule(after_ms=100, tail_after_ms=500, pause_ms=1000, requests=3)


def connected(*arrivals) -> SiteState:
    """A live picture of what came."""
    picture = SiteState(said.SITE)
    picture.link_changed(LinkChange(up=True, at_ms=0))
    for arrival in arrivals:
        picture.hear(arrival)
    return picture


def times_asked(desk, picture, times_ms) -> list[tuple[int, int]]:
    """(time, number) of each request, sent as soon as the desk says so."""
    asked = []
    for now_ms in times_ms:
        for ask in desk.due(picture, now_ms):
            desk.asked(ask, picture.units[ask.unit].generation, now_ms)
            asked.append((now_ms, ask.from_seq))
    return asked


def test_a_gap_is_asked_for_after_a_while_with_growing_pauses_and_then_given_up():
    """100 ms, then 1 s, 2 s; after three requests the numbers are known to be lost."""
    picture, desk = (
        connected(said.status(0), said.event(1), said.event(4)),
        ReplayPolicy(SCHEDULE),
    )
    assert times_asked(desk, picture, range(0, 20_000, 100)) == [(100, 2), (1100, 2), (3100, 2)]
    assert desk.given_up(picture.units["mammo-1"]) == 3
    picture.hear(said.event(9))
    assert times_asked(desk, picture, range(20_000, 20_300, 100)) == [(20_100, 5)]


def test_a_replay_under_way_is_not_asked_for_again():
    """Each number that comes starts the waiting anew."""
    picture, desk = (
        connected(said.status(0), said.event(1), said.event(9)),
        ReplayPolicy(SCHEDULE),
    )
    asked = times_asked(desk, picture, (0, 100))
    for n, now_ms in zip(range(2, 9), range(1200, 20_000, 90), strict=False):
        picture.hear(said.event(n))
        asked += times_asked(desk, picture, (now_ms,))
    assert asked == [(100, 2)]
    assert times_asked(desk, picture, (60_000,)) == []


def test_a_tail_is_asked_for_unless_it_still_waits_at_the_unit():
    """What the unit has not sent yet is not lost."""
    waiting = connected(said.status(0), said.event(1), said.health(3, waiting=2))
    assert times_asked(ReplayPolicy(SCHEDULE), waiting, range(0, 3000, 100)) == []
    lost = connected(said.status(0), said.event(1), said.health(3))
    assert times_asked(ReplayPolicy(SCHEDULE), lost, range(0, 1000, 100)) == [(500, 2)]


def test_nobody_is_asked_who_cannot_answer():
    """Not while the unit is offline, nor while we are."""
    gap = (said.status(0), said.event(1), said.event(4))
    offline = connected(*gap, said.status(0, offline=True))
    assert times_asked(ReplayPolicy(SCHEDULE), offline, range(0, 5000, 100)) == []
    picture = connected(*gap)
    picture.link_changed(LinkChange(up=False, at_ms=1))
    assert times_asked(ReplayPolicy(SCHEDULE), picture, range(0, 5000, 100)) == []
