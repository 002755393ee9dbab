"""Services that share the load of a site on one database, and which of them is gone.

Each writes a row every few seconds; one that no longer does was killed, froze, or lost the
database. What the broker keeps for it nobody hears until it is back, or another takes it over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from runtime.site.store.tables import SERVICES

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Who we are, and with whom we share. `gone_after_ms`: a member silent for so long is gone."""

    site: str
    group: str
    service: str
    gone_after_ms: int


@dataclass(frozen=True, kw_only=True)
class GoneMember:
    """A service that shared the load. `stopped`: it said so; else it ended without a word."""

    service: str
    seen_ms: int
    stopped: bool


def gone_members(connection: Connection, we: Membership, now_ms: int) -> list[GoneMember]:
    """Those of our group that are gone and whose session nobody took over yet."""
    rows = connection.execute(
        select(SERVICES.c.service, SERVICES.c.seen_ms, SERVICES.c.said).where(
            SERVICES.c.service != we.service, SERVICES.c.seen_ms < now_ms - we.gone_after_ms
        )
    )
    gone = []
    for service, seen_ms, text in rows:
        said = json.loads(text)
        ours = (said.get("site"), said.get("group")) == (we.site, we.group)
        if ours and not said.get("taken_over_by"):
            stopped = bool(said.get("stopped"))
            gone.append(GoneMember(service=service, seen_ms=seen_ms, stopped=stopped))
    return gone


def is_back(connection: Connection, member: GoneMember) -> bool:
    """Whether it has said anything since."""
    seen_ms = connection.scalar(
        select(SERVICES.c.seen_ms).where(SERVICES.c.service == member.service)
    )
    return seen_ms is not None and seen_ms > member.seen_ms


def taken_over(connection: Connection, member: GoneMember, we: Membership) -> None:
    """Puts on record that nothing waits for it any more; one that stopped is forgotten."""
    its = (SERVICES.c.service == member.service) & (SERVICES.c.seen_ms == member.seen_ms)
    if member.stopped:
        connection.execute(delete(SERVICES).where(its))
        return
    _note(connection, member.service, {"taken_over_by": we.service})


def leaves(connection: Connection, service: str) -> None:
    """It stops and says so. What comes for it from now on is for the others to fetch."""
    _note(connection, service, {"stopped": True})


def _note(connection: Connection, service: str, facts: dict[str, object]) -> None:
    row = SERVICES.c.service == service
    said = connection.scalar(select(SERVICES.c.said).where(row))
    if said is not None:
        text = json.dumps(json.loads(said) | facts)
        connection.execute(update(SERVICES).where(row).values(said=text))
