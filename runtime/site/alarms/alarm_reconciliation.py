"""Findings into alarms: opened once, changed where something is new, closed when it is over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, or_, select, update

from runtime.site.queries.alarm_entries import alarm_entry
from runtime.site.store.tables import ALARMS
from runtime.site.store.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from runtime.site.alarms.alarm_rules import AlarmFinding
    from runtime.site.queries.fleet_summary import AlarmEntry


def reconcile(
    connection: Connection, site: str, found: Sequence[AlarmFinding], *, now_ms: int
) -> tuple[int, int]:
    """Opens, changes and closes the site's alarms; how many were opened and closed.

    An alarm that only says its figures anew is no news: it is told again where its severity
    changed.
    """
    standing = {
        row["open_key"]: row
        for row in connection.execute(
            select(ALARMS).where(ALARMS.c.open_key.is_not(None), ALARMS.c.site == site)
        ).mappings()
    }
    wanted = {f"{site}/{f.unit}/{f.kind.value}/{f.subject}": f for f in found}
    new = [_row(site, key, f, now_ms) for key, f in wanted.items() if key not in standing]
    if new:
        connection.execute(upsert(connection, ALARMS, key=("open_key",)), new)
    for key, finding in wanted.items():
        row = standing.get(key)
        if row is None or (row["saw"], row["severity"]) == (finding.saw, finding.severity.value):
            continue
        louder = row["severity"] != finding.severity.value
        connection.execute(
            update(ALARMS)
            .where(ALARMS.c.alarm_no == row["alarm_no"])
            .values(
                saw=finding.saw,
                data=json.dumps(finding.data),
                severity=finding.severity.value,
                changed_ms=now_ms,
                version=row["version"] + louder,
            )
        )
    over = [row["alarm_no"] for key, row in standing.items() if key not in wanted]
    if over:
        connection.execute(
            update(ALARMS)
            .where(ALARMS.c.alarm_no.in_(over))
            .values(
                open_key=None, closed_ms=now_ms, changed_ms=now_ms, version=ALARMS.c.version + 1
            )
        )
    return len(new), len(over)


def untold(connection: Connection, site: str, column: str) -> list[tuple[AlarmEntry, int]]:
    """Alarms (with their version) that `column` (published or posted) does not know yet."""
    rows = connection.execute(
        select(ALARMS)
        .where(ALARMS.c.site == site, ALARMS.c[column] < ALARMS.c.version)
        .order_by(ALARMS.c.alarm_no)
        .limit(500)
    )
    return [(alarm_entry(row), row["version"]) for row in rows.mappings()]


def told(connection: Connection, column: str, versions: Sequence[tuple[int, int]]) -> None:
    """These alarms (alarm_no, version) were told there."""
    if versions:
        later = or_(ALARMS.c[column] < bindparam("b_version"))
        connection.execute(
            update(ALARMS)
            .where(ALARMS.c.alarm_no == bindparam("b_alarm_no"), later)
            .values({column: bindparam("b_version")}),
            [{"b_alarm_no": alarm_no, "b_version": version} for alarm_no, version in versions],
        )


def tell_again(connection: Connection, site: str, column: str) -> None:
    """Open alarms are told anew (a broker that crashed may have lost them)."""
    connection.execute(
        update(ALARMS)
        .where(ALARMS.c.site == site, ALARMS.c.open_key.is_not(None))
        .values({column: 0})
    )


def _row(site: str, key: str, finding: AlarmFinding, now_ms: int) -> dict[str, Any]:
    return {
        "site": site,
        "unit": finding.unit,
        "kind": finding.kind.value,
        "subject": finding.subject,
        "open_key": key,
        "severity": finding.severity.value,
        "since_ms": finding.since_ms,
        "opened_ms": now_ms,
        "changed_ms": now_ms,
        "saw": finding.saw,
        "advice": finding.advice,
        "data": json.dumps(finding.data),
        "version": 1,
        "published_version": 0,
        "posted_version": 0,
    }
