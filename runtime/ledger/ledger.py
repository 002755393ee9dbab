"""The unit's one truth: received objects, jobs, outcomes, exam revisions, the outbox.

SQLite in WAL mode with `synchronous=FULL`. Exactly one connection exists, and one thread uses it:
SQLite below 3.51.3 can corrupt a WAL that two connections reset, and Debian 12 ships 3.40.1.
Every step is one transaction, so that a power cut between any two instructions is followed by a
restart that ends in the same flags, once.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

from runtime.ledger.opening import RENEWED_NOTE, LedgerError, copy_ledger, open_ledger
from runtime.ledger.outbox import Backlog, OutboxRow
from runtime.ledger.transaction import LedgerTransaction
from runtime.messages.status_reason import StatusReason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from runtime.ledger.opening import Renewal
    from runtime.publishing.publication import Publication

__all__ = ["Ledger", "LedgerError"]

T = TypeVar("T")
P = ParamSpec("P")
LOG = logging.getLogger(__name__)

STORAGE_FAILED = StatusReason.STORAGE_FAILED
LEAST_ROOM_BYTES = 1 << 20
"""With less than that the disk is full, whatever `storage.reserve_mb` says."""


class Ledger:
    """The ledger file. Every method is thread-safe and returns when its transaction committed.

    Raises:
        LedgerError: from any method, if SQLite failed (disk full, file damaged, not ours).
    """

    def __init__(self, path: Path, *, boot_id: str = "") -> None:
        self._path = path
        self._rows_version = 0
        self._rows_changed = threading.Condition()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._on_fault: Callable[[], None] = lambda: None
        self._fault: LedgerError | None = None
        self._look_at_start = False
        """Whether a transaction failed, for whatever reason: the next start reads every row."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        try:
            self._opened = self._thread.submit(open_ledger, path, boot_id).result()
        except LedgerError:
            self._thread.shutdown()
            raise
        self._connection = self._opened.connection
        self._ledger_id, self._last_seq, self._jobs_open, self._backlog = self._thread.submit(
            self._standing
        ).result()

    def _standing(self) -> tuple[str, int, int, Backlog]:
        tx = LedgerTransaction(self._connection)
        opened = self._opened
        return opened.ledger_id(), opened.last_seq(), tx.jobs_open(), tx.outbox.backlog()

    def close(self) -> None:
        """Waits for the running transaction, checkpoints and closes the file.

        Raises:
            LedgerError: the disk fails.
        """
        try:
            self._thread.submit(self._close).result()
        except (sqlite3.Error, OSError) as error:
            raise LedgerError.of(self._path, error) from error
        finally:
            self._thread.shutdown()

    def _close(self) -> None:
        mark = self._opened.mark
        try:
            self._connection.close()
            if self._fault is None and not self._look_at_start:
                mark.closed()
        finally:
            mark.close()

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
        changes = self._connection.total_changes
        try:
            result = self._committed(transaction, work)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            fault = self._damaged_row() or LedgerError.of(self._path, error)
            self._failed(fault)
            raise fault from error
        changed = self._connection.total_changes != changes
        if damaged_row := self._damaged_row():
            self._failed(damaged_row)
        elif changed and self._fault is not None and self._fault.reason is not STORAGE_FAILED:
            self._failed(None)
        if transaction.enqueued:
            with self._rows_changed:
                self._rows_version += 1
                self._rows_changed.notify_all()
        if changed:
            for listener in self._listeners:
                listener()
        return result

    def _committed(
        self, transaction: LedgerTransaction, work: Callable[[LedgerTransaction], T]
    ) -> T:
        committed = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            result = work(transaction)
            jobs_open = transaction.jobs_open() if transaction.jobs_changed else self._jobs_open
            last_seq = self._opened.last_seq() if transaction.enqueued else self._last_seq
            self._connection.execute("COMMIT")
            committed = True
        finally:
            if not committed:
                self._look_at_start = True
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        self._jobs_open = jobs_open
        if last_seq != self._last_seq:
            self._last_seq = last_seq
            self._set_mark()
        return result

    # --- how it stands ---------------------------------------------------------------------------

    def _set_mark(self) -> None:
        try:
            self._opened.mark.set(self._ledger_id, self._last_seq)
        except OSError as error:  # what was committed is committed; the disk is looked at again
            self._failed(LedgerError.of(self._path, error))

    def _damaged_row(self) -> LedgerError | None:
        tables = self._opened.hashes.damaged
        if not tables:
            return None
        detail = f"a row of {', '.join(sorted(tables))} is not as it was written"
        return LedgerError(self._path, detail, damaged=True)

    def _failed(self, fault: LedgerError | None) -> None:
        before = self._fault
        if before is not None and before.damaged:
            return  # until it is rebuilt, at a start
        self._fault = fault
        if (fault and fault.detail) != (before and before.detail):
            if fault is None:
                LOG.warning("%s works again", self._path.name)
            else:
                LOG.error("%s: %s", fault.reason, fault)
            self._on_fault()

    @property
    def fault(self) -> LedgerError | None:
        """Why it cannot be relied on now; None if it can. Asks no transaction."""
        return self._fault

    def on_fault(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when `fault` is another one; under the same terms as `on_commit`."""
        self._on_fault = listener

    @property
    def renewal(self) -> Renewal | None:
        """When and why it last began anew (went back, was rebuilt); None if it never did."""
        return self._opened.renewal

    def renewal_was_said(self) -> None:
        """Its event is in the outbox: no later start says it again."""
        renewal = self._opened.renewal
        if renewal is not None:
            said = replace(renewal, said=True)
            self.transact(LedgerTransaction.set_meta, RENEWED_NOTE, said.note())
            self._opened.renewal = said

    def prove_disk(self) -> None:
        """Puts something on the disk; where that had failed, into the ledger too: then it is over.

        Raises:
            LedgerError: it cannot be written.
        """
        self._thread.submit(self._prove_disk).result()

    def _prove_disk(self) -> None:
        try:
            self._opened.mark.sync()
            _check_room(self._path.parent)
        except OSError as error:
            fault = LedgerError.of(self._path, error)
            self._failed(fault)
            raise fault from error
        if self._fault is not None and self._fault.reason is STORAGE_FAILED:
            self._transact(lambda tx: tx.set_meta("proved", self._ledger_id))
            self._failed(None)

    def copy_to(self, path: Path) -> None:
        """All of it into another file, while it runs; nothing else is committed meanwhile.

        Raises:
            LedgerError: it cannot be read, or the copy not be written.
        """
        try:
            self._thread.submit(copy_ledger, self._connection, path).result()
        except (sqlite3.Error, OSError) as error:
            raise LedgerError.of(path, error) from error

    def examine(self) -> tuple[str, ...]:
        """Looks at every page and row (SQLite's integrity_check, our hashes); what is wrong.

        Takes a second or so for a hundred megabytes, in which nothing else is committed.
        """
        return self._thread.submit(self._examine).result()

    def _examine(self) -> tuple[str, ...]:
        try:
            faults = self._opened.hashes.faults()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            faults = (LedgerError.of(self._path, error).detail,)
        if faults:
            self._failed(LedgerError(self._path, faults[0], damaged=True))
        return faults

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
        """Made with the file; a ledger that was lost, went back or was rebuilt has another."""
        return self._ledger_id

    def last_seq(self) -> int:
        """The highest `seq` ever given, 0 before the first; as of the last commit."""
        return self._last_seq

    def backlog(self) -> Backlog:
        """How much waits, since when, and how much is parked; while it fails, as it was last."""
        try:
            self._backlog = self.transact(lambda tx: tx.outbox.backlog())
        except LedgerError:
            LOG.debug("the backlog is as of before the ledger failed")
        return self._backlog


def _check_room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < LEAST_ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
