"""A unit's days of drift, from the books: against its own first days, since when it stands."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from runtime.site.control_charts.drift_verdict import Suspect
from runtime.site.control_charts.drift_watch import DriftWatch
from runtime.site.ingest.batch_writer import enter
from runtime.site.store.site_clock import DAY_MS
from tests.support.site_units import NOON_MS, SaidUnit

CALM = (10,) * 20
SHIFTED = (1,) * 10 + (19,) * 10


def test_a_change_is_told_since_its_first_day_and_chance_is_not(store):
    """Three calm days of 200 images, then two shifted ones; another unit stays calm."""
    shifting, calm = SaidUnit("mammo-1"), SaidUnit("mammo-2")
    said = []
    for day in range(7):
        name, at_ms = f"2026-11-{day + 10}", NOON_MS + day * DAY_MS
        histogram = SHIFTED if day >= 5 else CALM
        said.append(shifting.drift(name, histogram=histogram, psi=9.0, at_ms=at_ms))
        said.append(calm.drift(name, histogram=CALM, psi=9.0, at_ms=at_ms))
    with store.writing() as connection:
        enter(connection, said, now_ms=NOON_MS)
    found = DriftWatch(store).verdicts(NOON_MS + 6 * DAY_MS + 1000)
    suspects = {verdict.suspect: since_ms for verdict, since_ms in found.values()}
    assert suspects[Suspect.UNKNOWN] == NOON_MS + 5 * DAY_MS
    assert set(suspects) == {Suspect.UNKNOWN, None}
    assert DriftWatch(store).verdicts(NOON_MS + 30 * DAY_MS) == {}
