"""From the ledger to the page: every read is one transaction on the ledger's own thread."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.console.board import Board, ExamCard, card_of
from runtime.console.exam_timeline import ExamTimeline, timeline_of
from runtime.image.outcome import EVIDENCE_SUFFIX, PREVIEW_SUFFIX
from runtime.ledger.ledger import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.console.system_status import SystemStatus
    from runtime.image.outcome import Artefact
    from runtime.ledger.exam_index import ExamListItem, ExamQuery, PastExam
    from runtime.ledger.ledger import Ledger
    from runtime.ledger.outbox import Backlog
    from runtime.ledger.transaction import LedgerTransaction


class ConsoleReader:
    """What the page shows. Thread-safe but for `board`, which one thread calls.

    Args:
        system_status: the state of the box now, given the outbox's; must not use the ledger.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        system_status: Callable[[Backlog], SystemStatus],
        clock_ms: Callable[[], int],
        expected_views: Sequence[str],
        unacknowledged_after_s: float,
    ) -> None:
        self._ledger = ledger
        self._system_status = system_status
        self._clock_ms = clock_ms
        self._expected_views = tuple(expected_views)
        self._unacknowledged_after_s = unacknowledged_after_s
        self._cards: dict[ExamListItem, ExamCard] = {}

    def board(self) -> Board:
        """Today's exams, by the unit's own midnight, and the box.

        While the ledger fails, the exams as they were last read, and the state says so: nothing
        can become of them meanwhile, and no image is taken.
        """
        since_ms = _midnight_ms(self._clock_ms())
        try:
            # One transaction: each waits its turn behind the fsyncs of what is being recorded.
            cards, backlog = self._ledger.transact(
                lambda tx: (self._read_cards(tx, since_ms), tx.outbox.backlog())
            )
        except LedgerError:
            cards, backlog = self._cards, self._ledger.backlog()
        self._cards = cards
        return Board(
            exams=tuple(cards.values()),
            system_status=self._system_status(backlog),
            unacknowledged_after_s=self._unacknowledged_after_s,
        )

    def _read_cards(self, tx: LedgerTransaction, since_ms: int) -> dict[ExamListItem, ExamCard]:
        """Only exams that changed are read; the ledger's thread has images to record."""
        entries = tx.exam_index.recent(since_ms)
        return {entry: self._cards.get(entry) or self._card(tx, entry) for entry in entries}

    def _card(self, tx: LedgerTransaction, entry: ExamListItem) -> ExamCard:
        return card_of(
            key=entry.key,
            first_received_ms=entry.first_received_ms,
            flag=tx.exam_flag(entry.study_uid),
            revision=entry.revision,
            open_again=entry.collecting,
            images=tx.exam_images(entry.study_uid),
            expected_views=self._expected_views,
            identity=tx.exam_history.identity(entry.study_uid),
            attention=tx.exam_history.attention(entry.study_uid),
        )

    # --- the past --------------------------------------------------------------------------------

    def history(self, query: ExamQuery) -> list[PastExam]:
        """Exams of the past. Raises LedgerError."""
        return self._ledger.transact(lambda tx: tx.exam_index.search(query))

    def timeline(self, exam_key: str) -> ExamTimeline | None:
        """Everything that happened to an exam; None if it is not here."""
        return self._ledger.transact(lambda tx: timeline_of(tx, exam_key))

    # --- files beside the spool ------------------------------------------------------------------

    def preview(self, image_id: int) -> bytes | None:
        """The small picture (JPEG); None if there is none, or it is not what the worker wrote."""
        return self._artefact(image_id, "preview", PREVIEW_SUFFIX)

    def evidence(self, image_id: int) -> bytes | None:
        """The evidence map as the worker wrote it (.npy), under the same conditions."""
        return self._artefact(image_id, "evidence", EVIDENCE_SUFFIX)

    def _artefact(self, image_id: int, kind: str, suffix: str) -> bytes | None:
        found = self._ledger.transact(lambda tx: _find(tx, image_id, kind))
        if found is None:
            return None
        path, artefact = found
        try:
            # The place is the spool's own: what a worker says of paths is not followed.
            content = Path(path).with_suffix(suffix).read_bytes()
        except OSError:
            return None  # retention took it away
        return content if hashlib.sha256(content).hexdigest() == artefact.sha256 else None


def _find(tx: LedgerTransaction, image_id: int, kind: str) -> tuple[str, Artefact] | None:
    try:
        stored = tx.object(image_id)
    except KeyError:
        return None
    for image in tx.exam_images(stored.study_uid):
        if image.image_id == image_id and image.outcome is not None and stored.path:
            for artefact in image.outcome.artefacts:
                if artefact.kind == kind:
                    return stored.path, artefact
    return None


def _midnight_ms(now_ms: int) -> int:
    """When this day began by the unit's own clock and time zone."""
    now = datetime.fromtimestamp(now_ms / 1000).astimezone()
    return int(now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
