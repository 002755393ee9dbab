"""Each unit's newest drift, judged against the unit's own first days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from runtime.messages.payloads import DriftMessage
from runtime.site.control_charts.drift_verdict import DriftVerdict, drift_verdict, own_baseline
from runtime.site.store.site_clock import DAY_MS
from runtime.site.store.tables import DRIFTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from runtime.site.store.store import Store

OLDEST_MS = 3 * DAY_MS
"""A drift that old says nothing of today."""
FIRST_DAYS = 14
LAST_DAYS = 14
Verdict = tuple[DriftVerdict, int]
"""What the newest day comes to, and since when one like it stands (ms)."""


class DriftWatch:
    """Verdicts by unit. A unit says its drift once a day: only what is new is judged anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._judged: dict[int, tuple[int, Verdict]] = {}

    def verdicts(self, now_ms: int) -> dict[int, Verdict]:
        """Of every unit that said its drift lately. Raises StoreError."""
        newest = select(DRIFTS.c.unit_id, func.max(DRIFTS.c.happened_ms)).group_by(DRIFTS.c.unit_id)
        found: dict[int, Verdict] = {}
        with self._store.reading() as connection:
            lately = connection.execute(newest.having(
                func.max(DRIFTS.c.happened_ms) > now_ms - OLDEST_MS)).all()  # fmt: skip
        for unit_id, happened_ms in lately:
            known = self._judged.get(unit_id)
            if known is None or known[0] != happened_ms:
                with self._store.reading() as connection:
                    known = (happened_ms, _verdict(connection, unit_id))
                self._judged[unit_id] = known
            found[unit_id] = known[1]
        return found


def _verdict(connection: Connection, unit_id: int) -> Verdict:
    of_unit = select(DRIFTS.c.said, DRIFTS.c.happened_ms, DRIFTS.c.model, DRIFTS.c.model_version)
    of_unit = of_unit.where(DRIFTS.c.unit_id == unit_id)
    newest_first = of_unit.order_by(DRIFTS.c.happened_ms.desc(), DRIFTS.c.day.desc())
    last = connection.execute(newest_first.limit(LAST_DAYS)).all()
    newest = last[0]
    first = connection.execute(
        of_unit.where(
            DRIFTS.c.model == newest.model, DRIFTS.c.model_version == newest.model_version
        )
        .order_by(DRIFTS.c.happened_ms, DRIFTS.c.day)
        .limit(FIRST_DAYS)
    ).all()
    bins = len(_said(newest.said).histogram)
    first_said = [(_said(row.said), row.happened_ms) for row in first]
    histograms = [said.histogram for said, _ in first_said if len(said.histogram) == bins]
    known = own_baseline(histograms)
    baseline, learnt_until_ms = (known[0], first_said[known[1] - 1][1]) if known else (None, 0)
    model = (newest.model, newest.model_version)
    days = [
        (_said(row.said), row.happened_ms)
        for row in last
        if (row.model, row.model_version) == model and row.happened_ms > learnt_until_ms
    ]
    return _standing(days, baseline) if days else (drift_verdict(_said(newest.said), baseline), 0)


def _standing(
    days: Sequence[tuple[DriftMessage, int]], baseline: tuple[int, ...] | None
) -> Verdict:
    """The first (newest) day's verdict, and since when all days have said the same."""
    verdict, since_ms = drift_verdict(days[0][0], baseline), days[0][1]
    for message, happened_ms in days[1:]:
        if drift_verdict(message, baseline).suspect is not verdict.suspect:
            break
        since_ms = happened_ms
    return verdict, since_ms


def _said(text: str) -> DriftMessage:
    return DriftMessage.model_validate_json(text)
