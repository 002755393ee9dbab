"""Each unit's newest drift, judged against the unit's own first days."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import select

from runtime.messages import DriftMessage
from runtime.site.drift_verdict import DriftVerdict, drift_verdict, own_baseline
from runtime.site.site_clock import DAY_MS
from runtime.site.tables import DRIFTS

if TYPE_CHECKING:
    from sqlalchemy import Connection

OLDEST_MS = 3 * DAY_MS
"""A drift that old says nothing of today."""


def newest_verdicts(connection: Connection, *, now_ms: int) -> dict[int, tuple[DriftVerdict, int]]:
    """By unit: the verdict on its newest day, and since when one like it stands (ms)."""
    rows = connection.execute(
        select(DRIFTS.c.unit_id, DRIFTS.c.model, DRIFTS.c.model_version, DRIFTS.c.said,
               DRIFTS.c.happened_ms)
        .order_by(DRIFTS.c.unit_id, DRIFTS.c.happened_ms, DRIFTS.c.day)
    )  # fmt: skip
    found: dict[int, tuple[DriftVerdict, int]] = {}
    for unit_id, of_unit in groupby(rows, key=lambda row: int(row.unit_id)):
        days = list(of_unit)
        newest = days[-1]
        if now_ms - newest.happened_ms > OLDEST_MS:
            continue
        model = (newest.model, newest.model_version)
        said = [
            (DriftMessage.model_validate_json(day.said), day.happened_ms)
            for day in days
            if (day.model, day.model_version) == model
        ]
        found[unit_id] = _of_one_model(said)
    return found


def _of_one_model(said: list[tuple[DriftMessage, int]]) -> tuple[DriftVerdict, int]:
    bins = len(said[-1][0].histogram)
    same = [(message, at) for message, at in said if len(message.histogram) == bins]
    known = own_baseline([message.histogram for message, _ in same])
    baseline, learnt_days = known if known is not None else (None, 0)
    since_ms = same[-1][1]
    verdict = drift_verdict(same[-1][0], baseline if len(same) > learnt_days else None)
    for message, happened_ms in reversed(same[learnt_days:]):
        if drift_verdict(message, baseline).suspect is not verdict.suspect:
            break
        since_ms = happened_ms
    return verdict, since_ms
