"""A jump of the clock becomes an event, and nothing ages by it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import ValidationError

from runtime.drift.score_drift import day_before
from runtime.exams.exam_service import DRIFT_NOTE
from runtime.exams.unit_clock import ClockAnchor, jump_between
from runtime.ledger.transaction import LedgerTransaction
from runtime.messages.payloads import EventKind
from runtime.timing.timestamps import utc_text

if TYPE_CHECKING:
    from runtime.exams.unit_clock import UnitClock
    from runtime.ledger.ledger import Ledger
    from runtime.publishing.message_factory import MessageFactory

LOG = logging.getLogger(__name__)

ANCHOR_NOTE = "clock_anchor"
KEEP_EVERY_MS = 60_000
SETTLED_AFTER_MS = 3_600_000
"""So long after a jump the unit says so, and deletes nothing: a clock seldom jumps only once."""


class ClockJump:
    """Looks at the clock for a running unit; used by one thread, `unsettled` by any.

    Raises:
        LedgerError: from any method, if SQLite failed. The jump is then taken over later.
    """

    def __init__(
        self, *, clock: UnitClock, ledger: Ledger, message_factory: MessageFactory
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._message_factory = message_factory
        self._kept: ClockAnchor | None = None
        self._jumped_at_ms: int | None = None

    def open(self) -> None:
        """At the start: what happened to the clock since the unit last looked at it."""
        before = self._last_kept()
        if before is not None:
            self._clock.follow(before)
        self.look()

    def look(self) -> bool:
        """Takes a jump over; whether there was one."""
        now = self._clock.reading()
        jump_ms = jump_between(self._clock.anchor, now)
        if jump_ms:
            self._take_over(jump_ms, now)
        else:
            self._clock.follow(now)
            if self._kept is None or now.elapsed_ms - self._kept.elapsed_ms >= KEEP_EVERY_MS:
                self._ledger.transact(self._keep, now)
        if self._jumped_at_ms and now.elapsed_ms - self._jumped_at_ms >= SETTLED_AFTER_MS:
            self._jumped_at_ms = None
        return bool(jump_ms)

    @property
    def unsettled(self) -> bool:
        """Whether the clock jumped of late."""
        return self._jumped_at_ms is not None

    def _last_kept(self) -> ClockAnchor | None:
        text = self._ledger.transact(LedgerTransaction.meta, ANCHOR_NOTE)
        try:
            return None if text is None else ClockAnchor.model_validate_json(text)
        except ValidationError:
            return None  # an older version of us wrote it: nothing is known

    def _take_over(self, jump_ms: int, now: ClockAnchor) -> None:
        before = self._clock.anchor

        def work(tx: LedgerTransaction) -> None:
            tx.shift_times(jump_ms)
            # Here, between two transactions, no row carries one clock and is read by the other.
            self._clock.follow(now)
            yesterday = day_before(now.wall_ms).name
            if (tx.meta(DRIFT_NOTE) or "") > yesterday:
                # Or else nothing would be compared until the day that never was.
                tx.set_meta(DRIFT_NOTE, yesterday)
            event = self._message_factory.event_message(
                EventKind.CLOCK_JUMPED,
                at_ms=now.wall_ms,
                detail="the wall clock was set; nothing aged by it",
                data={
                    "jump_s": jump_ms / 1000,
                    "was": utc_text(now.wall_ms - jump_ms),
                    "is": utc_text(now.wall_ms),
                },
            )
            tx.enqueue(event, now.wall_ms)
            self._keep(tx, now)

        committed = False
        try:
            self._ledger.transact(work)
            committed = True
        finally:
            if not committed:
                self._clock.follow(before)
        self._jumped_at_ms = now.elapsed_ms
        LOG.warning("the clock jumped by %.0f s; ages are kept", jump_ms / 1000)

    def _keep(self, tx: LedgerTransaction, anchor: ClockAnchor) -> None:
        tx.set_meta(ANCHOR_NOTE, anchor.model_dump_json())
        self._kept = anchor
