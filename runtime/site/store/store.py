"""The site's database: opened, written and read in transactions, its faults told in words.

SQLite by default, PostgreSQL by URL. SQLite runs with a rollback journal, not a WAL: two site
services may share the file, and a WAL that two connections reset can be corrupted by SQLite below
3.51.3 (Debian 12 ships 3.40.1). Each process has one connection to it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import String, create_engine, event, insert, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from models.errors import ResourceError
from runtime.site.store.tables import CODE_LENGTH, METADATA, NOTES, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

READ_OPTION = "mammoedge_read"
VERSION_NOTE = "schema_version"
CREATION_LOCK = 0x6D616D6D6F
"""PostgreSQL's advisory lock under which the tables are made."""


class StoreFault(StrEnum):
    """What is the matter with the database: each is mended by somebody else."""

    FULL = "full"
    LOCKED = "locked"
    GONE = "gone"
    REFUSED = "refused"
    """It is there and answers, but not to this: no permission, another version, damaged."""


class StoreError(ResourceError):
    """The database failed; nothing of the transaction stands. `detail` is what it said."""

    def __init__(self, fault: StoreFault, detail: str) -> None:
        self.fault = fault
        self.detail = detail
        super().__init__(f"the database is {fault.value}: {detail}")


# SQLite's result codes by name (sqlite.org/rescode.html); extended codes begin with these.
_SQLITE_FAULTS = (
    ("SQLITE_FULL", StoreFault.FULL),
    ("SQLITE_BUSY", StoreFault.LOCKED),
    ("SQLITE_LOCKED", StoreFault.LOCKED),
    ("SQLITE_CANTOPEN", StoreFault.GONE),
    ("SQLITE_IOERR", StoreFault.GONE),
    ("SQLITE_READONLY_DBMOVED", StoreFault.GONE),
)
# PostgreSQL's SQLSTATE (appendix A of its manual): class 08 is the connection, 57P0x a shutdown.
_SQLSTATE_FAULTS = (
    ("53100", StoreFault.FULL),
    ("55P03", StoreFault.LOCKED),
    ("40P01", StoreFault.LOCKED),
    ("57014", StoreFault.LOCKED),
    ("08", StoreFault.GONE),
    ("57P0", StoreFault.GONE),
    ("53300", StoreFault.GONE),
)


def fault_of(error: DBAPIError) -> StoreFault:
    """Which fault an error of the driver stands for."""
    original = error.orig
    name = getattr(original, "sqlite_errorname", None)
    if name is not None:
        found = [fault for prefix, fault in _SQLITE_FAULTS if name.startswith(prefix)]
        return found[0] if found else StoreFault.REFUSED
    state = getattr(original, "sqlstate", None)
    if error.connection_invalidated or state is None:
        return StoreFault.GONE  # the connection broke before the server could say a word
    found = [fault for prefix, fault in _SQLSTATE_FAULTS if state.startswith(prefix)]
    return found[0] if found else StoreFault.REFUSED


def database_url(text: str) -> URL:
    """`sqlite:///site.db`, `postgresql://user@host/name`, or the path of a SQLite file.

    Raises:
        ValueError: it is neither.
    """
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
        kind = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ValueError(f"is no database URL: {error}") from error
    if kind == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise ValueError(f"sqlite or postgresql, not {kind}")
    if url.database in (None, "", ":memory:"):
        raise ValueError("a SQLite database needs a file: nothing in memory outlives a restart")
    return url


class Store:
    """The database. Thread-safe; a transaction is committed when its `with` block ends.

    Args:
        url: see `database_url`.
        patience_s: how long a transaction waits for a lock that somebody else holds.

    Raises:
        StoreError: from every method; nothing of the transaction stands then.
    """

    def __init__(self, url: URL | str, *, patience_s: float = 5.0) -> None:
        self.url = database_url(url) if isinstance(url, str) else url
        self._patience_s = patience_s
        self._file = Path(self.url.database or "") if self._is_sqlite else None
        self._inode: tuple[int, int] | None = None
        self._lock = threading.RLock()
        self._engine = self._new_engine()

    @property
    def _is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    def open(self) -> Self:
        """Makes the tables where there are none; refuses those of another version."""
        with self._faults_told():
            if self._file is not None:
                _touch(self._file)
            with self._engine.begin() as connection:
                if not self._is_sqlite:
                    # Two services that start at once must not both create (PostgreSQL 9.28.10).
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({CREATION_LOCK})")
                METADATA.create_all(connection)
                self._check_version(connection)
                if not self._is_sqlite:
                    _widen_codes(connection)
            if self._file is not None:
                found = self._file.stat()
                self._inode = (found.st_dev, found.st_ino)
        return self

    def close(self) -> None:
        """Lets the connections go."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that may write; committed at the end, undone by any exception."""
        with self._guard(), self._faults_told(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that only reads, and sees one moment."""
        options: dict[str, Any] = {READ_OPTION: True}
        if not self._is_sqlite:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._guard(), self._faults_told(), self._engine.connect() as bare:
            connection = bare.execution_options(**options)
            with connection.begin():
                yield connection

    # --- inside --------------------------------------------------------------------------------

    def _new_engine(self) -> Engine:
        if not self._is_sqlite:
            # Milliseconds; a lock is waited for as long, then the transaction is told.
            wait = f"-c lock_timeout={int(self._patience_s * 1000)}"
            return create_engine(
                self.url,
                poolclass=QueuePool,
                pool_size=3,
                max_overflow=5,
                pool_pre_ping=True,
                connect_args={"connect_timeout": max(2, int(self._patience_s)), "options": wait},
            )
        engine = create_engine(
            self.url,
            poolclass=StaticPool,
            connect_args={"check_same_thread": False, "timeout": self._patience_s},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """SQLite's one connection serves one at a time, and only while its file is its file."""
        if self._file is None:
            yield
            return
        with self._lock:
            try:
                found = self._file.stat()
            except OSError as error:
                self._engine.dispose()
                raise StoreError(StoreFault.GONE, error.strerror or "no such file") from error
            if self._inode is not None and (found.st_dev, found.st_ino) != self._inode:
                # An unlinked file would take every write and lose it at the last close.
                self._engine.dispose()
                self.open()
            yield

    @contextmanager
    def _faults_told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            fault = fault_of(error)
            if fault is StoreFault.GONE:
                self._engine.dispose()
            raise StoreError(fault, " ".join(str(error.orig).split())) from error
        except SQLAlchemyError as error:
            raise StoreError(StoreFault.REFUSED, str(error)) from error

    @staticmethod
    def _check_version(connection: Connection) -> None:
        found = connection.scalar(select(NOTES.c.value).where(NOTES.c.name == VERSION_NOTE))
        if found is None:
            connection.execute(insert(NOTES).values(name=VERSION_NOTE, value=str(SCHEMA_VERSION)))
        elif found != str(SCHEMA_VERSION):
            raise StoreError(
                StoreFault.REFUSED,
                f"its tables have version {found}, this software writes {SCHEMA_VERSION}",
            )


def _widen_codes(connection: Connection) -> None:
    """PostgreSQL tables of before 1.1 of the contract had columns for the codes of then only.

    A longer `varchar` needs no new table (PostgreSQL 9.2, release notes); SQLite knows no length.
    """
    for table in METADATA.sorted_tables:
        wide = {
            column.name
            for column in table.columns
            if isinstance(column.type, String) and column.type.length == CODE_LENGTH
        }
        for found in inspect(connection).get_columns(table.name):
            length = getattr(found["type"], "length", None)
            if found["name"] in wide and length is not None and length < CODE_LENGTH:
                connection.exec_driver_sql(
                    f'ALTER TABLE {table.name} ALTER COLUMN "{found["name"]}"'
                    f" TYPE VARCHAR({CODE_LENGTH})"
                )


def _touch(file: Path) -> None:
    try:
        file.touch(mode=0o640, exist_ok=True)
    except OSError as error:
        raise StoreError(StoreFault.GONE, error.strerror or str(error)) from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # We begin transactions ourselves (docs.sqlalchemy.org, "Serializable isolation" of pysqlite).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = TRUNCATE")
    # What is acknowledged to the broker must survive a power cut.
    cursor.execute("PRAGMA synchronous = FULL")
    # KiB. The kernel caches the file as well: more of it here only looks like a leak, because it
    # fills with the first tens of thousands of messages. A batch of 1,000 touches less than that.
    cursor.execute("PRAGMA cache_size = -8192")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A write transaction that began as a reader could not wait for another writer.
    reading = connection.get_execution_options().get(READ_OPTION, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
