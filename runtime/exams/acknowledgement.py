"""A priority flag is seen by a person, or it is said that nobody did: each once, durably."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.ledger.ledger import Ledger
    from runtime.ledger.transaction import LedgerTransaction
    from runtime.publishing.message_factory import MessageFactory


class Acknowledgements:
    """Joins the chronicle to what is published. Thread-safe: the ledger serialises.

    Args:
        overdue_after_ms: a priority flag older than this, and not seen, is published as such.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        message_factory: MessageFactory,
        overdue_after_ms: int,
        clock_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._overdue_after_ms = overdue_after_ms
        self._clock_ms = clock_ms

    def acknowledge(self, exam_key: str) -> bool:
        """Somebody has seen the exam's priority flag; False if there is nothing (more) to see."""
        return self._ledger.transact(self._acknowledge, exam_key)

    def _acknowledge(self, tx: LedgerTransaction, exam_key: str) -> bool:
        now_ms = self._clock_ms()
        study_uid = tx.exam_history.study_uid(exam_key)
        if study_uid is None or not tx.exam_history.acknowledge(study_uid, now_ms):
            return False
        self._say(tx, EventKind.ACKNOWLEDGED, study_uid, now_ms)
        return True

    def report_overdue(self) -> int:
        """Publishes the priority flags that nobody saw in time, each once; how many."""
        since_ms = self._clock_ms() - self._overdue_after_ms
        overdue = self._ledger.transact(lambda tx: tx.exam_history.overdue(since_ms))
        for study_uid in overdue:
            self._ledger.transact(self._report, study_uid)
        return len(overdue)

    def _report(self, tx: LedgerTransaction, study_uid: str) -> None:
        attention = tx.exam_history.attention(study_uid)
        if attention is None or attention.acknowledged_at_ms or attention.overdue_at_ms:
            return  # it was seen, or revised, in between
        now_ms = self._clock_ms()
        tx.exam_history.report_overdue(study_uid, now_ms)
        self._say(tx, EventKind.UNACKNOWLEDGED, study_uid, now_ms)

    def _say(self, tx: LedgerTransaction, kind: EventKind, study_uid: str, now_ms: int) -> None:
        attention = tx.exam_history.attention(study_uid)
        since_ms = attention.priority_since_ms if attention else now_ms
        exam = tx.exam(study_uid)
        data = {
            "seconds_since_priority": (now_ms - since_ms) / 1000,
            "revision": exam.revision if exam else 0,
        }
        event = self._message_factory.event_message(kind, at_ms=now_ms, exam=study_uid, data=data)
        tx.enqueue(event, now_ms)
