"""The books as CSV and Parquet, and what retention leaves of them."""

from __future__ import annotations

import csv
import io

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from sqlalchemy import func, select

from runtime.image.outcome import Flag
from runtime.image.reasons import Reason
from runtime.site.ingest.batch_writer import enter
from runtime.site.queries import exported_rows
from runtime.site.queries.exported_rows import EXPORTED, pieces
from runtime.site.queries.fleet import Fleet
from runtime.site.report.export import write_csv, write_parquet
from runtime.site.store.retention import AGES, forget_before
from runtime.site.store.site_clock import DAY_MS
from tests.conftest import module_or_skip
from tests.support.site_units import NOON_MS, SaidUnit

DAYS_AGO_100 = NOON_MS - 100 * DAY_MS


@pytest.fixture
def filled(store):
    """Two units, one of them with things of a hundred days ago."""
    old, new = SaidUnit("mammo-1"), SaidUnit("mammo-2")
    with store.writing() as connection:
        enter(
            connection,
            [
                old.status(at_ms=DAYS_AGO_100),
                old.exam(1, flag=Flag.PRIORITY, at_ms=DAYS_AGO_100),
                old.view(1, at_ms=DAYS_AGO_100),
                old.event(at_ms=DAYS_AGO_100),
                old.drift(at_ms=DAYS_AGO_100),
            ],
            now_ms=DAYS_AGO_100,
        )
        said = [new.status(), *[new.exam(n) for n in range(7)]]
        said += [new.view(9, reasons=(Reason.IMPLANT, Reason.NO_BREAST)), new.event()]
        enter(connection, said, now_ms=NOON_MS)
    return store


def exported(store, name, **span) -> list[dict]:
    """A table as a CSV reader sees it."""
    text = io.StringIO()
    span = {"since_ms": 0, "until_ms": NOON_MS * 2} | span
    write_csv(text, name, pieces(store, name, **span))
    text.seek(0)
    return list(csv.DictReader(text))


def test_csv_holds_every_row_in_pieces_of_any_size(filled, monkeypatch):
    """No row twice, none left out, whatever the size of a piece; times are UTC."""
    monkeypatch.setattr(exported_rows, "PIECE", 3)
    rows = exported(filled, "exams")
    assert len({(row["unit"], row["exam_key"]) for row in rows}) == len(rows) == 8
    assert {row["unit"] for row in rows} == {"mammo-1", "mammo-2"}
    assert {row["happened"] for row in rows if row["unit"] == "mammo-2"} == {
        "2026-11-22T12:00:00.000Z"
    }
    assert len(exported(filled, "exams", since_ms=NOON_MS - DAY_MS)) == 7


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_every_table_can_be_exported_without_our_own_numbers(filled, name):
    """Site and unit by name; row numbers and marks of ours stay here."""
    rows = exported(filled, name)
    assert bool(rows) == (name != "alarms")
    for row in rows:
        assert row["site"] == "st-anna"
        assert not {"unit_id", "charted", "open_key"} & set(row)


def test_parquet_reads_back_as_it_was(filled, tmp_path):
    """Types, times with their zone, nothing where there was nothing."""
    module_or_skip("pyarrow", "extra [site-parquet] is not installed")
    import pyarrow.parquet as pq

    span = {"since_ms": 0, "until_ms": NOON_MS * 2}
    path = tmp_path / "images.parquet"
    assert write_parquet(path, "images", pieces(filled, "images", **span)) == 2
    rows = pq.read_table(path).to_pylist()
    (implant,) = [row for row in rows if row["outcome"] == "not_assessed"]
    assert implant["reasons"] == "implant no_breast"
    assert implant["score"] is None
    assert implant["happened"].isoformat() == "2026-11-22T12:00:00+00:00"


def test_retention_takes_what_is_old_and_nothing_else(filled):
    """Ninety days: rows of a hundred days ago are gone from every table, a gap is not made."""
    assert forget_before(filled, NOON_MS - 90 * DAY_MS) > 5
    with filled.reading() as connection:
        for table, moment in AGES:
            oldest = connection.scalar(select(func.min(moment)).select_from(table))
            assert oldest is None or oldest >= NOON_MS - 90 * DAY_MS
    summary = Fleet(filled).summary(NOON_MS + 1000)
    assert [unit.today.exams for unit in summary.units] == [0, 7]
    assert [unit.gap.missing for unit in summary.units] == [0, 0]
    assert forget_before(filled, NOON_MS - 90 * DAY_MS) == 0
