"""The unit's one truth: received objects, jobs, outcomes, exam revisions, the outbox.

SQLite in WAL mode with `synchronous=FULL`. Exactly one connection exists, and one thread uses it:
SQLite below 3.51.3 can corrupt a WAL that two connections reset, and Debian 12 ships 3.40.1.
Every step is one transaction, so that a power cut between any two instructions is followed by a
restart that ends in the same flags, once.
"""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

from models.errors import ResourceError
from runtime.ledger.exam_history import EXAM_HISTORY_SCHEMA
from runtime.ledger.job_table import DESCRIPTOR_SCHEMA
from runtime.ledger.modality_notice_table import MODALITY_NOTICE_SCHEMA
from runtime.ledger.object_table import SURPLUS_SCHEMA
from runtime.ledger.outbox import Backlog, OutboxRow
from runtime.ledger.transaction import LedgerTransaction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from runtime.publishing.publication import Publication

T = TypeVar("T")
P = ParamSpec("P")

LEDGER_VERSION = 1

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


class LedgerError(ResourceError):
    """The ledger cannot be opened or written; `detail` is what SQLite said."""

    exit_code = 2

    def __init__(self, path: Path, detail: str) -> None:
        self.path = path
        self.detail = detail
        super().__init__(f"ledger {path.name}: {detail}")


class Ledger:
    """The ledger file. Every method is thread-safe and returns when its transaction committed.

    Raises:
        LedgerError: from any method, if SQLite failed (disk full, file damaged, not ours).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows_version = 0
        self._rows_changed = threading.Condition()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._jobs_open = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        try:
            self._connection = self._thread.submit(self._open).result()
        except LedgerError:
            self._thread.shutdown()
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self._path, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # What retention removes is gone from the file as well, whatever SQLite was built with.
            connection.execute("PRAGMA secure_delete = ON")
            # One process only: a second service on the same ledger is refused, not interleaved.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, LEDGER_VERSION):
                raise LedgerError(
                    self._path, f"has version {version}, this software writes {LEDGER_VERSION}"
                )
            # One transaction: else each statement is a commit, with an fsync of its own.
            tables = (
                SCHEMA
                + MODALITY_NOTICE_SCHEMA
                + EXAM_HISTORY_SCHEMA
                + SURPLUS_SCHEMA
                + DESCRIPTOR_SCHEMA
            )
            name = "INSERT OR IGNORE INTO meta VALUES ('ledger_id', lower(hex(randomblob(8))));"
            connection.executescript(f"BEGIN; {tables} {name} COMMIT")
            connection.execute(f"PRAGMA user_version = {LEDGER_VERSION}")
            self._jobs_open = LedgerTransaction(connection).jobs_open()
        except sqlite3.Error as error:
            raise LedgerError(self._path, str(error)) from error
        return connection

    def close(self) -> None:
        """Waits for the running transaction, checkpoints and closes the file."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after each commit that changed something.

        On the ledger's thread: it must return at once, must not raise, must not use the ledger.
        """
        self._listeners += (listener,)

    def transact(
        self,
        work: Callable[Concatenate[LedgerTransaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs `work` in one transaction on the ledger's thread; commits, or undoes all of it.

        Whatever `work` raises is raised here, after the rollback. It gets the arguments behind the
        transaction.
        """
        return self._thread.submit(self._transact, lambda tx: work(tx, *args, **kwargs)).result()

    def _transact(self, work: Callable[[LedgerTransaction], T]) -> T:
        transaction = LedgerTransaction(self._connection)
        committed = False
        changes = self._connection.total_changes
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            result = work(transaction)
            jobs_open = transaction.jobs_open() if transaction.jobs_changed else self._jobs_open
            self._connection.execute("COMMIT")
            committed = True
            self._jobs_open = jobs_open
        except sqlite3.Error as error:
            raise LedgerError(self._path, str(error)) from error
        finally:
            if not committed and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        if transaction.enqueued:
            with self._rows_changed:
                self._rows_version += 1
                self._rows_changed.notify_all()
        if self._connection.total_changes != changes:
            for listener in self._listeners:
                listener()
        return result

    @property
    def jobs_open(self) -> int:
        """How many jobs wait for an outcome, as of the last commit; no transaction."""
        return self._jobs_open

    # --- the outbox, as the publisher sees it ----------------------------------------------------

    def wait_for_rows(self, after_version: int, timeout_s: float) -> int:
        """Blocks until a commit added outbox rows after `after_version`; the version then."""
        with self._rows_changed:
            self._rows_changed.wait_for(lambda: self._rows_version > after_version, timeout_s)
            return self._rows_version

    def wake(self) -> None:
        """Ends every `wait_for_rows` at once (a stop, a new connection)."""
        with self._rows_changed:
            self._rows_version += 1
            self._rows_changed.notify_all()

    def waiting(self, limit: int, *, skip: Collection[int] = ()) -> list[OutboxRow]:
        """The first `limit` rows neither delivered nor parked, in `seq` order."""
        return self.transact(lambda tx: tx.outbox.waiting(limit, skip))

    def delivered(self, seqs: Sequence[int], at_ms: int) -> None:
        """The broker acknowledged these rows with a reason below 0x80."""

        def work(tx: LedgerTransaction) -> None:
            tx.outbox.delivered(seqs, at_ms)
            tx.exam_history.published(seqs, at_ms)

        self.transact(work)

    def refused(self, seq: int, reason_code: int, at_ms: int) -> int:
        """The broker refused the row; how often by now."""
        return self.transact(lambda tx: tx.outbox.refused(seq, reason_code, at_ms))

    def park(self, seq: int, event: Publication | None, at_ms: int) -> None:
        """Takes the row out of the queue and adds the event that says so, in one transaction."""

        def work(tx: LedgerTransaction) -> None:
            tx.outbox.park(seq, at_ms)
            if event is not None:
                tx.enqueue(event, at_ms)

        self.transact(work)

    def replay_from(self, seq: int) -> int:
        """Makes the rows from `seq` on wait again; how many."""
        count = self.transact(lambda tx: tx.outbox.replay_from(seq))
        self.wake()
        return count

    def retained_topics(self) -> list[str]:
        """Where the broker may have something of ours."""
        return self.transact(lambda tx: tx.outbox.retained_topics())

    def put_back(self, after_seq: int, now_ms: int) -> int:
        """Makes retained messages behind a number that still hold wait again; how many."""
        count = self.transact(lambda tx: tx.outbox.put_back(after_seq, now_ms))
        self.wake()
        return count

    def retained_topics_to_clear(self, now_ms: int) -> list[tuple[str, int]]:
        """(topic, seq) of delivered retained messages that expired and were not cleared yet."""
        return self.transact(lambda tx: tx.outbox.retained_topics_to_clear(now_ms))

    def cleared(self, seq: int) -> None:
        """The retained topic of that row was cleared at the broker."""
        self.transact(lambda tx: tx.outbox.cleared(seq))

    def add_event(self, publication: Publication, at_ms: int) -> int:
        """Queues one event by itself; its `seq`."""
        return self.transact(LedgerTransaction.enqueue, publication, at_ms)

    @property
    def ledger_id(self) -> str:
        """Made with the file; a ledger that was lost and begun again has another."""
        return self.transact(LedgerTransaction.meta, "ledger_id") or ""

    def last_seq(self) -> int:
        """The highest `seq` ever given, 0 before the first."""
        return self.transact(lambda tx: tx.outbox.last_seq())

    def backlog(self) -> Backlog:
        """How much waits, since when, and how much is parked."""
        return self.transact(lambda tx: tx.outbox.backlog())
