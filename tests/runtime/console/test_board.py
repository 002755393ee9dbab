"""From the ledger's types to what the page shows."""

from __future__ import annotations

from runtime.console.board import lay_out
from runtime.console.system_status import BrokerLink, system_status_of
from runtime.exam_rules.exam_flag import Role
from runtime.image.reasons import Reason
from runtime.ledger.outbox import Backlog
from runtime.messages.payloads import StatusFacts
from runtime.messages.status_reason import StatusReason
from runtime.web.catalogue import load_catalogues
from tests.runtime.console.bench import ALL
from tests.support.builders import image, result, unassessed


def states(tiles):
    return {tile.view: tile.state for tile in tiles}


def test_every_expected_view_has_a_tile_from_the_start():
    """Received, judged, not assessed and awaited are told apart; nothing is silent."""
    images = [
        image("RCC", result(0.1), image_id=1),
        image("LCC", unassessed(Reason.UNDECODABLE), image_id=2),
        image("RMLO", None, image_id=3),
    ]
    tiles, others = lay_out(images, ALL, complete=False)
    assert states(tiles) == {
        "RCC": "judged",
        "LCC": "not_assessed",
        "RMLO": "received",
        "LMLO": "awaited",
    }
    assert others == ()


def test_a_view_that_never_came_is_said_when_the_exam_is_over():
    """Awaited becomes missing; a view that the site does not expect is neither."""
    tiles, _ = lay_out([image("RCC", result(0.1))], ("RCC", "LCC", "RMLO"), complete=True)
    assert states(tiles) == {
        "RCC": "judged",
        "LCC": "missing",
        "RMLO": "missing",
        "LMLO": "not_expected",
    }


def test_the_image_that_makes_the_flag_is_the_one_in_the_tile():
    """A mosaic shows its priority image; an unreadable one that was sent again gives way to it."""
    images = [
        image("RCC", result(0.9), image_id=1),
        image("RCC", result(0.1), image_id=2),
        image("LCC", unassessed(), image_id=3),
        image("LCC", result(0.2), image_id=4),
    ]
    tiles, others = lay_out(images, ALL, complete=False)
    assert [tile.flag for tile in tiles[:2]] == ["priority", "none"]
    assert [(tile.view, tile.state) for tile in others] == [
        ("RCC", "judged"),
        ("LCC", "not_assessed"),
    ]


def test_further_images_are_listed_beside_the_tiles():
    """Magnifications, unknown views and retaken images are shown, and take no tile."""
    images = [
        image("RCC", unassessed(Reason.UNSUPPORTED_MODIFIER), role=Role.ADDITIONAL, image_id=1),
        image("?CC", unassessed(Reason.LATERALITY_MISSING), role=Role.ADDITIONAL, image_id=2),
        image("LCC", result(0.1), role=Role.SUPERSEDED, image_id=3),
    ]
    tiles, others = lay_out(images, ALL, complete=False)
    assert set(states(tiles).values()) == {"awaited"}
    assert [tile.retaken for tile in others] == [False, False, True]


def boxed(*, reasons=(), away_s=None, restarts=0, **status):
    now_ms = 1_000_000
    return system_status_of(
        StatusFacts(reasons=reasons, **status),
        link=BrokerLink(
            connected=away_s is None,
            away_since_ms=None if away_s is None else now_ms - int(away_s * 1000),
        ),
        backlog=Backlog(waiting=3, oldest_at_ms=1, parked=0),
        disk_free_mb=1000.0,
        worker_restarts=restarts,
        now_ms=now_ms,
    )


def test_what_changes_her_work_is_large_and_the_rest_is_small():
    """A dead worker, a full disk, a broker away: large. An unsigned package, a fallback: small."""
    system_status = boxed(
        reasons=("worker_not_ready", "disk_low"), away_s=11, unsigned_package=True
    )
    assert system_status.large == (
        StatusReason.WORKER_NOT_READY.code,
        StatusReason.DISK_LOW.code,
        StatusReason.BROKER_AWAY.code,
    )
    assert system_status.small == (StatusReason.UNSIGNED_PACKAGE.code,)
    assert boxed(restarts=3, fallback_reason="no NPU").small == (
        StatusReason.DEVICE_FALLBACK.code,
        StatusReason.WORKER_RESTARTS.code,
    )


def test_no_reason_to_be_degraded_leaves_the_foot_of_the_page_well():
    """Each reason that the site has words for is a trouble with a code here, and one of its own."""
    words = load_catalogues("runtime.console", "runtime.site.page")["en"].texts
    reasons = {key.removeprefix("degraded.") for key in words if key.startswith("degraded.")}
    assert {"clock_jumped", "name_taken", "connection_unstable", "backlog_full"} <= reasons
    shown = [boxed(reasons=(reason,)) for reason in sorted(reasons)]
    codes = [
        code for system_status in shown for code in (*system_status.large, *system_status.small)
    ]
    assert len(codes) == len(set(codes)) == len(reasons)


def test_a_broker_that_is_restarted_alarms_nobody():
    """Less than ten seconds without a connection is shown small, as a fact."""
    system_status = boxed(away_s=2)
    assert (
        system_status.large,
        system_status.broker_connected,
        system_status.messages_waiting,
    ) == ((), False, 3)
