"""Whom to ask for what is missing, and when it is given up; judged from the database.

With shared subscriptions each service hears a part: only the database knows what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from runtime.messages.payloads import HealthMessage, UnitState
from runtime.site.store.tables import STREAMS, UNITS
from runtime.timing.replay_schedule import ReplaySchedule, Step

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping


@dataclass(frozen=True, kw_only=True)
class ReplayWanted:
    """Ask `unit` to publish again from `from_seq`."""

    unit_id: int
    unit: str
    ledger: int
    from_seq: int


@dataclass(frozen=True, kw_only=True)
class RebirthWanted:
    """Ask `unit` to say `status` again: it speaks, and we do not know what it is."""

    unit: str


def replays_due(
    connection: Connection, site: str, schedule: ReplaySchedule, now_ms: int
) -> list[ReplayWanted]:
    """Requests that are due now; they are on record as made. Gives up what no request brought."""
    rows = connection.execute(
        select(STREAMS, UNITS.c.unit, UNITS.c.state, UNITS.c.health, UNITS.c.health_ms)
        .join(UNITS, STREAMS.c.unit_id == UNITS.c.unit_id)
        .where(
            UNITS.c.site == site,
            or_(STREAMS.c.missing > 0, STREAMS.c.claimed_seq > STREAMS.c.received_seq),
        )
    ).mappings()
    due: list[ReplayWanted] = []
    for row in list(rows):
        tail = not row["missing"]
        since_ms = _tail_since(row) if tail else row["gap_since_ms"]
        if since_ms is None:
            continue
        asked = row["replays_asked"]
        step = schedule.step(
            missing_ms=now_ms - since_ms,
            requests=asked,
            asked_ms_ago=now_ms - (row["replay_asked_ms"] or 0),
            tail=tail,
        )
        if step is Step.GIVE_UP:
            _give_up(connection, row, now_ms)
        if step is not Step.ASK or row["state"] in (None, UnitState.OFFLINE):
            continue
        connection.execute(
            update(STREAMS)
            .where(STREAMS.c.unit_id == row["unit_id"], STREAMS.c.ledger == row["ledger"])
            .values(replays_asked=asked + 1, replay_asked_ms=now_ms)
        )
        due.append(
            ReplayWanted(
                unit_id=row["unit_id"],
                unit=row["unit"],
                ledger=row["ledger"],
                from_seq=row["settled_seq"] + 1,
            )
        )
    _forget_requests(connection)
    return due


def rebirths_due(connection: Connection, site: str, now_ms: int) -> list[RebirthWanted]:
    """Units that speak but have no state, or `offline`.

    A shared subscription brings no retained status, and two services may have entered a will after
    the birth that followed it.
    """
    rows = connection.execute(
        select(UNITS.c.unit).where(
            UNITS.c.site == site,
            or_(UNITS.c.state.is_(None), UNITS.c.state == UnitState.OFFLINE.value),
            UNITS.c.health_ms > now_ms - 60_000,
            or_(UNITS.c.state_since_ms.is_(None), UNITS.c.health_ms > UNITS.c.state_since_ms),
        )
    )
    return [RebirthWanted(unit=unit) for (unit,) in rows]


def _tail_since(row: RowMapping) -> int | None:
    """Since when numbers are missing that the unit gave and no longer has waiting; None: it has."""
    if row["health"] is None or row["health_ms"] is None:
        return None
    health = HealthMessage.model_validate_json(row["health"])
    if health.outbox.waiting or health.last_seq <= row["received_seq"]:
        return None
    return int(row["health_ms"])


def _give_up(connection: Connection, row: RowMapping, now_ms: int) -> None:
    tail = max(0, row["claimed_seq"] - row["received_seq"])
    lost = row["missing"] or tail
    settled = row["received_seq"] if row["missing"] else row["claimed_seq"]
    connection.execute(
        update(STREAMS)
        .where(STREAMS.c.unit_id == row["unit_id"], STREAMS.c.ledger == row["ledger"])
        .values(
            settled_seq=settled,
            received_seq=max(settled, row["received_seq"]),
            missing=0,
            gap_since_ms=None,
            replays_asked=0,
            replay_asked_ms=None,
            lost=row["lost"] + lost,
            lost_ms=now_ms,
        )
    )


def _forget_requests(connection: Connection) -> None:
    """A stream that is complete again has asked for nothing."""
    connection.execute(
        update(STREAMS)
        .where(
            STREAMS.c.replays_asked > 0,
            STREAMS.c.missing == 0,
            STREAMS.c.claimed_seq <= STREAMS.c.received_seq,
        )
        .values(replays_asked=0, replay_asked_ms=None)
    )
