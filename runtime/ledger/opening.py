"""Opening a ledger: is it the one that was left, and whole? If not, it begins anew, and says so."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import ResourceError
from runtime.ledger.exam_history import EXAM_HISTORY_SCHEMA
from runtime.ledger.high_water_mark import HighWaterMark
from runtime.ledger.integrity import RowHashes
from runtime.ledger.job_table import DESCRIPTOR_SCHEMA
from runtime.ledger.modality_notice_table import MODALITY_NOTICE_SCHEMA
from runtime.ledger.object_table import SURPLUS_SCHEMA
from runtime.ledger.patient_table import PATIENT_SCHEMA
from runtime.ledger.renewal import begin_epoch, take_over
from runtime.messages.status_reason import BY_REASON, StatusReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.ledger.high_water_mark import Mark

LOG = logging.getLogger(__name__)

LEDGER_VERSION = 1
RENEWED_NOTE = "renewed"
SET_ASIDE = "set-aside"
"""Folder beside the ledger for what a person should look at. Not `lost+found`: where the folder is
a file system of its own, that one is root's."""
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
NOT_WRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
DAMAGE_WHILE_OPENING = {
    *DAMAGE,
    sqlite3.SQLITE_ERROR,  # a schema that is not ours: no such table, no such column
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
}
DISK = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS objects (
    image_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sop_uid TEXT NOT NULL, sha256 TEXT NOT NULL, study_uid TEXT NOT NULL,
    path TEXT NOT NULL, size_bytes INTEGER NOT NULL, header TEXT NOT NULL, role TEXT NOT NULL,
    source TEXT NOT NULL, peer TEXT NOT NULL, received_at_ms INTEGER NOT NULL,
    conflicts_with INTEGER, superseded_by INTEGER,
    UNIQUE (sop_uid, sha256)) STRICT;
CREATE INDEX IF NOT EXISTS objects_by_study ON objects (study_uid);
CREATE TABLE IF NOT EXISTS exams (
    study_uid TEXT PRIMARY KEY, phase TEXT NOT NULL, revision INTEGER NOT NULL,
    closed_by TEXT, timed_out INTEGER NOT NULL, last_activity_ms INTEGER NOT NULL,
    flag TEXT) STRICT;
CREATE INDEX IF NOT EXISTS exams_by_phase ON exams (phase, last_activity_ms);
CREATE TABLE IF NOT EXISTS jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT, study_uid TEXT NOT NULL,
    package_sha256 TEXT NOT NULL, precision TEXT NOT NULL, images TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, worker_deaths INTEGER NOT NULL DEFAULT 0,
    created_at_ms INTEGER NOT NULL, done_at_ms INTEGER, stage_ms TEXT) STRICT;
CREATE INDEX IF NOT EXISTS jobs_open ON jobs (job_id) WHERE done = 0;
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (done_at_ms);
CREATE INDEX IF NOT EXISTS jobs_by_study ON jobs (study_uid);
CREATE TABLE IF NOT EXISTS outcomes (
    job_id INTEGER NOT NULL, image_id INTEGER NOT NULL, outcome TEXT NOT NULL,
    PRIMARY KEY (job_id, image_id)) STRICT;
CREATE INDEX IF NOT EXISTS outcomes_by_image ON outcomes (image_id, job_id);
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, topic TEXT NOT NULL,
    payload BLOB NOT NULL, retained INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL, refusals INTEGER NOT NULL DEFAULT 0,
    delivered_at_ms INTEGER, parked_at_ms INTEGER, superseded INTEGER NOT NULL DEFAULT 0,
    replayed INTEGER NOT NULL DEFAULT 0, cleared INTEGER NOT NULL DEFAULT 0) STRICT;
DROP INDEX IF EXISTS outbox_waiting;
CREATE INDEX IF NOT EXISTS outbox_turn ON outbox (replayed, seq)
    WHERE delivered_at_ms IS NULL AND parked_at_ms IS NULL;
CREATE INDEX IF NOT EXISTS outbox_parked ON outbox (parked_at_ms) WHERE parked_at_ms NOTNULL;
CREATE INDEX IF NOT EXISTS outbox_retained ON outbox (topic, seq) WHERE retained = 1;
CREATE INDEX IF NOT EXISTS outbox_to_clear ON outbox (expires_at_ms)
    WHERE retained = 1 AND superseded = 0 AND cleared = 0;
"""
TABLES = (
    SCHEMA
    + MODALITY_NOTICE_SCHEMA
    + EXAM_HISTORY_SCHEMA
    + SURPLUS_SCHEMA
    + DESCRIPTOR_SCHEMA
    + PATIENT_SCHEMA
)


class LedgerError(ResourceError):
    """The ledger cannot be opened or written; `detail` is what SQLite said.

    Attributes:
        reason: what `status` says while it is so.
        damaged: the file is not what was written; it stays so until it is rebuilt at a start.
    """

    exit_code = 2

    def __init__(
        self,
        path: Path,
        detail: str,
        *,
        reason: StatusReason = StatusReason.LEDGER_FAILED,
        damaged: bool = False,
    ) -> None:
        self.path = path
        self.detail = detail
        self.reason = reason
        self.damaged = damaged
        super().__init__(f"ledger {path.name}: {detail}")

    @classmethod
    def of(cls, path: Path, error: sqlite3.Error | UnicodeDecodeError | OSError) -> LedgerError:
        """What a library said, sorted: the disk, the file, or something else."""
        if isinstance(error, OSError):
            detail = error.strerror or type(error).__name__
            return cls(path, detail, reason=StatusReason.STORAGE_FAILED)
        if isinstance(error, UnicodeDecodeError):
            return cls(path, "a text in it is not UTF-8", damaged=True)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in DISK:
            return cls(path, str(error), reason=StatusReason.STORAGE_FAILED)
        # A text that is not UTF-8 never reaches a function of ours: it fails before.
        damaged = code in DAMAGE or "user-defined function" in str(error)
        return cls(path, str(error), damaged=damaged)

    @classmethod
    def while_opening(cls, path: Path, error: sqlite3.Error | UnicodeDecodeError) -> LedgerError:
        """The same, before anything was written: more of what SQLite says is damage."""
        fault = cls.of(path, error)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        damaged = fault.damaged or code in DAMAGE_WHILE_OPENING
        detail = fault.detail
        if code in NOT_WRITABLE:
            detail += f"; let the service's user write into {path.parent}"
        return cls(path, detail, reason=fault.reason, damaged=damaged)


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """That a ledger began anew: why (as `status` says it), what became of it, when (ms, UTC).

    `said`: whether its event is in the outbox. Who opened the ledger first may not have been a
    service, or not one that came so far.
    """

    reason: StatusReason
    detail: str
    at_ms: int
    said: bool = False

    def note(self) -> str:
        """As `meta` keeps it."""
        return json.dumps(asdict(self))


@dataclass(kw_only=True)
class OpenedLedger:
    """A connection, ready; `renewal`: the last one."""

    connection: sqlite3.Connection
    hashes: RowHashes
    mark: HighWaterMark
    renewal: Renewal | None = None

    def ledger_id(self) -> str:
        """Made with the file; a ledger that began anew has another."""
        return _ledger_id(self.connection)

    def last_seq(self) -> int:
        """The highest number ever given."""
        return _last_seq(self.connection)


def _ledger_id(connection: sqlite3.Connection) -> str:
    query = "SELECT value FROM meta WHERE key = 'ledger_id'"
    return str(connection.execute(query).fetchone()[0])


def _last_seq(connection: sqlite3.Connection) -> int:
    query = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def open_ledger(path: Path, boot_id: str) -> OpenedLedger:
    """The ledger at `path`, made where there is none. On the thread that will use it.

    A damaged one goes to `set-aside`, and what is whole of it into a new one. `boot_id`: of this
    start.

    Raises:
        LedgerError: the disk fails, it is in use, or it is not of this version.
    """
    try:
        return _open(path, boot_id)
    except OSError as error:
        detail = f"{error.filename or path}: {error.strerror or type(error).__name__}"
        if error.errno in NOT_ALLOWED:
            detail += f"; let the service's user write into {path.parent}"
        raise LedgerError(path, detail, reason=StatusReason.STORAGE_FAILED) from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LedgerError.of(path, error) from error


def _open(path: Path, boot_id: str) -> OpenedLedger:
    if path.exists() and not path.is_file():
        raise LedgerError(path, "is not a file; move away what is in its place")
    mark = HighWaterMark(path)
    known = mark.read()
    untouched = mark.untouched
    mark.opened()
    is_new = not path.exists() or not path.stat().st_size
    by_older_version = False
    faults: tuple[str, ...] = ()
    try:
        connection, hashes = _connect(path)
        if not is_new:
            by_older_version, faults = _examined(
                path, connection, hashes, known, untouched=untouched
            )
    except LedgerError as error:
        if not error.damaged:
            mark.close()
            raise
        faults = (error.detail,)
    if faults:
        try:
            return _rebuilt(path, mark, faults, boot_id)
        except LedgerError:
            mark.close()
            raise
    opened = OpenedLedger(connection=connection, hashes=hashes, mark=mark)
    _begin_hashing(connection, hashes)
    why = _why_not_the_same(opened, known, untouched=untouched, by_older_version=by_older_version)
    if not why:
        # Before the hashes are there: a kill in between leaves an older version's ledger, not one
        # of ours without its mark.
        mark.take_over(opened.ledger_id(), opened.last_seq())
    connection.execute("COMMIT")
    if why:
        LOG.error("the ledger is not the one that was left: %s", why)
        _begin_anew(opened, StatusReason.LEDGER_ROLLED_BACK, why, boot_id)
        mark.take_over(opened.ledger_id(), opened.last_seq())
    opened.renewal = _last_renewal(connection)
    return opened


def _why_not_the_same(
    opened: OpenedLedger, known: Mark | None, *, untouched: bool | None, by_older_version: bool
) -> str:
    """Why a whole ledger is not the one that was left; "" if it is."""
    last_seq = opened.last_seq()
    if by_older_version and (known is None or known.last_seq <= last_seq):
        return ""
    if known is None and last_seq == 0:
        return ""
    why = opened.mark.unlike(opened.ledger_id(), last_seq)
    if not why and untouched is False:
        why = "it was changed while the unit was stopped"
    return why


def _connect(path: Path) -> tuple[sqlite3.Connection, RowHashes]:
    """A connection with tables; nothing is hashed yet."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        # What is replaced is also deleted, and its hash with it.
        connection.execute("PRAGMA recursive_triggers = ON")
        # What retention removes is gone from the file as well, whatever SQLite was built with.
        connection.execute("PRAGMA secure_delete = ON")
        # One process only: a second service on the same ledger is refused, not interleaved.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        _check_version(path, connection)
        # One transaction: else each statement is a commit, with an fsync of its own.
        connection.executescript(f"BEGIN; {TABLES} COMMIT")
        connection.execute(f"PRAGMA user_version = {LEDGER_VERSION}")
        hashes = RowHashes(connection)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise LedgerError.while_opening(path, error) from error
    except LedgerError:
        connection.close()
        raise
    return connection, hashes


def _begin_hashing(connection: sqlite3.Connection, hashes: RowHashes) -> None:
    """Begins a transaction, which the caller commits."""
    connection.execute("BEGIN IMMEDIATE")
    hashes.begin()
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('ledger_id', lower(hex(randomblob(8))))")


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, LEDGER_VERSION):
        raise LedgerError(path, f"has version {version}, this software writes {LEDGER_VERSION}")


def _examined(
    path: Path,
    connection: sqlite3.Connection,
    hashes: RowHashes,
    known: Mark | None,
    *,
    untouched: bool | None,
) -> tuple[bool, tuple[str, ...]]:
    """Whether an older version of us wrote to it last; what is wrong: it is closed then."""
    try:
        by_older_version = hashes.by_older_version()
        faults = () if untouched else hashes.faults()
        if by_older_version and untouched is False and known is not None and not faults:
            # A version of us would have numbered its start.
            unsaid = _last_seq(connection) <= known.last_seq
            faults = ("the hashes of its rows are gone",) if unsaid else ()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        fault = LedgerError.while_opening(path, error)
        connection.close()
        raise fault from error
    if faults:
        connection.close()
    return by_older_version, faults


def _rebuilt(
    path: Path, mark: HighWaterMark, faults: tuple[str, ...], boot_id: str
) -> OpenedLedger:
    """A new ledger with what is whole of the damaged one, which is set aside."""
    for fault in faults:
        LOG.error("the ledger is damaged: %s", fault)
    place = set_aside(path)
    connection, hashes = _connect(path)
    _begin_hashing(connection, hashes)
    connection.execute("COMMIT")
    opened = OpenedLedger(connection=connection, hashes=hashes, mark=mark)
    _begin_anew(opened, StatusReason.LEDGER_REBUILT, faults[0], boot_id, damaged=place / path.name)
    mark.take_over(opened.ledger_id(), opened.last_seq())
    opened.renewal = _last_renewal(connection)
    return opened


def set_aside(path: Path) -> Path:
    """Moves a ledger that nobody has open to `set-aside`, with its log; where it is then.

    Raises:
        LedgerError: it cannot be moved; says where, and what to do.
    """
    number = 1
    try:
        while (place := path.parent / SET_ASIDE / f"ledger-{number}").exists():
            number += 1
        place.mkdir(parents=True)
        for end in ("", "-wal"):
            part = path.with_name(path.name + end)
            if part.exists():
                part.rename(place / part.name)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
    except OSError as error:
        raise LedgerError(
            path,
            f"cannot be moved to {path.parent / SET_ASIDE}: {error.strerror}; let the service's"
            f" user write into {path.parent}, or move the ledger away by hand",
            reason=StatusReason.STORAGE_FAILED,
        ) from error
    return place


def _begin_anew(
    opened: OpenedLedger,
    reason: StatusReason,
    why: str,
    boot_id: str,
    *,
    damaged: Path | None = None,
) -> None:
    connection = opened.connection
    connection.execute("BEGIN IMMEDIATE")
    if damaged is not None:
        why = f"{why}; {take_over(damaged, connection)}"
    begin_epoch(connection, boot_id)
    renewal = Renewal(reason=reason, detail=why, at_ms=time.time_ns() // 1_000_000)
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (RENEWED_NOTE, renewal.note()))
    connection.execute("COMMIT")


def _last_renewal(connection: sqlite3.Connection) -> Renewal | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (RENEWED_NOTE,)).fetchone()
    if row is None:
        return None
    note = json.loads(row[0])
    return Renewal(**note | {"reason": BY_REASON[note["reason"]], "said": note.get("said", True)})


# --- a ledger that nobody has open ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LedgerFacts:
    """What a ledger file is. `faults`: () if it is whole; `folders`: where its images lie."""

    ledger_id: str = ""
    last_seq: int = 0
    faults: tuple[str, ...] = ()
    folders: frozenset[str] = frozenset()


def copy_ledger(source: sqlite3.Connection, target: Path) -> None:
    """All of it, in one step: in several, from another connection, it would begin again and again.

    On the thread of `source`. Raises sqlite3.Error, OSError.
    """
    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    target.chmod(0o600)


def copy_stopped_ledger(source: Path, target: Path) -> None:
    """The same of a ledger that nobody has open; it is not changed. Raises LedgerError."""
    try:
        with _opened_copy(source) as connection:
            copy_ledger(connection, target)
    except (sqlite3.Error, OSError) as error:
        raise LedgerError.of(source, error) from error


def facts_of_file(path: Path) -> LedgerFacts:
    """Looks at a ledger that nobody has open; it is not changed."""
    try:
        with _opened_copy(path) as connection:
            hashes = RowHashes(connection)
            faults = hashes.faults()
            paths = connection.execute("SELECT path FROM objects WHERE path <> ''").fetchall()
            return LedgerFacts(
                ledger_id=_ledger_id(connection),
                last_seq=_last_seq(connection),
                faults=faults,
                folders=frozenset(str(Path(spooled).parent) for (spooled,) in paths),
            )
    except (sqlite3.Error, UnicodeDecodeError, OSError, TypeError) as error:
        return LedgerFacts(faults=(f"cannot be read: {type(error).__name__}: {error}",))


@contextmanager
def _opened_copy(path: Path) -> Iterator[sqlite3.Connection]:
    """A copy of the files: even to read a ledger whose log was left over changes it."""
    with tempfile.TemporaryDirectory(prefix="mammoedge-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        log = path.with_name(path.name + "-wal")
        if log.exists():
            shutil.copyfile(log, copy.with_name(log.name))
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            yield connection
