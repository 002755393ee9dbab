"""Databases for tests of the site: SQLite files, and Debian's PostgreSQL."""

from __future__ import annotations

import pytest

from tests.conftest import module_or_skip, skip_or_fail


@pytest.fixture(scope="session")
def postgres():
    """One server for all tests of a run."""
    module_or_skip("psycopg", "extra [site-postgresql] is not installed")
    from tests.support.postgres import Postgres, postgres_missing

    if reason := postgres_missing():
        skip_or_fail(reason)
    server = Postgres()
    yield server.start()
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> str:
    """The URL of an empty database, of each kind."""
    module_or_skip("sqlalchemy", "extra [site] is not installed")
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").empty_database()
    return f"sqlite:///{tmp_path}/site.db"


@pytest.fixture
def store(database):
    """An open store in an empty database, of each kind."""
    from runtime.site.store.store import Store

    with Store(database, patience_s=1.0) as opened:
        yield opened
