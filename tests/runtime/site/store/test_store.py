"""The site's database, as it fails: told by its name, and nothing half written."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="extra [site] is not installed")

from sqlalchemy import func, select, text

from runtime.messages.payloads import OtherCode
from runtime.site.ingest.batch_writer import enter
from runtime.site.queries.fleet import Fleet
from runtime.site.store.store import Store, StoreError, StoreFault, database_url
from runtime.site.store.tables import NUMBERS, UNITS
from tests.support.site_units import NOON_MS, SaidUnit


def numbers_in(store) -> int:
    """How many numbers are on record."""
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(NUMBERS))


def say(store, *arrivals) -> None:
    """Enters arrivals as one batch."""
    with store.writing() as connection:
        enter(connection, arrivals, now_ms=NOON_MS)


@pytest.fixture
def sqlite_store(tmp_path):
    """An open store in a SQLite file."""
    with Store(str(tmp_path / "site.db"), patience_s=0.1) as store:
        yield store


def test_nothing_of_a_failed_transaction_stands(store):
    """An exception between two writes undoes both."""

    def interrupted() -> None:
        with store.writing() as connection:
            enter(connection, [SaidUnit().event()], now_ms=NOON_MS)
            raise LookupError

    with pytest.raises(LookupError):
        interrupted()
    assert numbers_in(store) == 0


def test_a_second_opening_finds_what_the_first_wrote(store):
    """Tables are made once; rows stay."""
    say(store, SaidUnit().event())
    with Store(store.url) as again:
        assert numbers_in(again) == 1


def test_another_version_of_the_tables_is_refused(store):
    """Never read or write what another release wrote in another shape."""
    with store.writing() as connection:
        connection.execute(text("UPDATE notes SET value = '99' WHERE name = 'schema_version'"))
    with pytest.raises(StoreError, match="version 99") as refused, Store(store.url):
        pass
    assert refused.value.fault is StoreFault.REFUSED


def test_two_services_write_one_database_and_count_once(store):
    """The same units' messages from two connections at a time: every number once."""
    units = [SaidUnit(f"mammo-{n}") for n in range(5)]
    said = [unit.exam(n) for n in range(30) for unit in units]
    failures = []

    def write(share) -> None:
        try:
            with Store(store.url, patience_s=30) as mine:
                for at in range(0, len(share), 10):
                    say(mine, *share[at : at + 10])
        except StoreError as error:
            failures.append(error)

    # Each has two thirds of everything, so that a third comes to both.
    writers = [threading.Thread(target=write, args=(share,)) for share in (said[:100], said[50:])]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert failures == []
    seen = Fleet(store).summary(NOON_MS + 1000)
    assert [unit.today.exams for unit in seen.units] == [30] * 5
    assert [unit.gap.missing for unit in seen.units] == [0] * 5


def test_a_full_disk_is_told(sqlite_store):
    """SQLite's own limit of pages stands for the disk; the batch is refused whole."""
    with sqlite_store.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    unit = SaidUnit()
    with pytest.raises(StoreError) as told:
        say(sqlite_store, *[unit.exam(n) for n in range(500)])
    assert told.value.fault is StoreFault.FULL
    assert numbers_in(sqlite_store) == 0
    with sqlite_store.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")
    say(sqlite_store, unit.exam(1))
    assert numbers_in(sqlite_store) == 1


def test_a_locked_database_is_told_and_taken_up_again(sqlite_store):
    """Somebody holds a write lock for longer than we wait."""
    other = sqlite3.connect(sqlite_store.url.database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError) as told:
        say(sqlite_store, SaidUnit().event())
    assert told.value.fault is StoreFault.LOCKED
    other.execute("ROLLBACK")
    other.close()
    say(sqlite_store, SaidUnit().event())
    assert numbers_in(sqlite_store) == 1


def test_a_file_that_is_gone_takes_no_writes(sqlite_store):
    """An unlinked file would take them all and keep none."""
    path = Path(sqlite_store.url.database)
    say(sqlite_store, SaidUnit().event())
    path.rename(path.with_suffix(".away"))
    with pytest.raises(StoreError) as told:
        say(sqlite_store, SaidUnit("mammo-2").event())
    assert told.value.fault is StoreFault.GONE
    path.with_suffix(".away").rename(path)
    say(sqlite_store, SaidUnit("mammo-2").event())
    assert numbers_in(sqlite_store) == 2


def test_another_file_in_its_place_is_opened_anew(sqlite_store):
    """A restored backup: what is written next is in the file that is there now."""
    path = Path(sqlite_store.url.database)
    backup = path.with_suffix(".backup")
    backup.write_bytes(path.read_bytes())
    say(sqlite_store, SaidUnit().event())
    backup.replace(path)
    say(sqlite_store, SaidUnit("mammo-2").event())
    with sqlite3.connect(path) as looking:
        assert looking.execute("SELECT unit FROM units").fetchall() == [("mammo-2",)]


def test_a_file_that_is_no_database_is_refused(tmp_path):
    """The fault names it; nothing is overwritten."""
    path = tmp_path / "site.db"
    path.write_text("not a database, " * 99)
    with pytest.raises(StoreError) as told, Store(str(path)):
        pass
    assert told.value.fault is StoreFault.REFUSED
    assert path.read_text().startswith("not a database")


def test_a_server_that_goes_and_comes_back(postgres):
    """Gone while it is away; afterwards the same store works on, with what was committed."""
    with Store(postgres.empty_database(), patience_s=2) as store:
        say(store, SaidUnit().event())
        postgres.stop()
        with pytest.raises(StoreError) as told:
            say(store, SaidUnit("mammo-2").event())
        assert told.value.fault is StoreFault.GONE
        postgres.start()
        say(store, SaidUnit("mammo-2").event())
        assert numbers_in(store) == 2


def test_codes_of_a_later_version_fit_into_tables_of_before(postgres):
    """A `varchar` of the lists of then is widened once; 64 characters are stored."""
    with Store(postgres.empty_database()) as store:
        with store.writing() as connection:
            for table in ("units", "states"):
                connection.execute(text(f"ALTER TABLE {table} ALTER COLUMN state TYPE VARCHAR(8)"))
        with Store(store.url) as again:
            code = OtherCode("m" * 64)
            born = SaidUnit().status()
            say(again, replace(born, message=born.message.model_copy(update={"state": code})))
            (unit,) = Fleet(again).summary(NOON_MS).units
            assert unit.standing == code


def test_a_row_that_somebody_holds_is_waited_for_not_for_ever(postgres):
    """PostgreSQL's lock time-out is told as a lock."""
    with Store(postgres.empty_database(), patience_s=0.2) as store, Store(store.url) as other:
        say(store, SaidUnit().event())
        with other.writing() as connection:
            connection.execute(select(UNITS).with_for_update())
            with pytest.raises(StoreError) as told:
                say(store, SaidUnit().event())
        assert told.value.fault is StoreFault.LOCKED


@pytest.mark.parametrize(
    ("text_url", "backend"),
    [
        ("/var/lib/site.db", "sqlite"),
        ("sqlite:///site.db", "sqlite"),
        ("postgresql://u@h/name", "postgresql"),
        ("postgres+psycopg://", None),
        ("mysql://h/name", None),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
    ],
)
def test_which_databases_there_are(text_url, backend):
    """SQLite files and PostgreSQL; nothing that forgets at a restart."""
    if backend is None:
        with pytest.raises(ValueError, match=r".+"):
            database_url(text_url)
    else:
        assert database_url(text_url).get_backend_name() == backend
