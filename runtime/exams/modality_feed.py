"""What the modality's firmware tells us, and what it hears of its exams.

What the firmware hears are the rows of the outbox, with the identity that it gave: one record of
what was said, to the site and to the unit. How far each listener has acknowledged them is a
note in the ledger, so that neither a reboot of the firmware nor one of ours loses a flag.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter

from runtime.exams.intake_ports import FeedEntry
from runtime.ledger.renewal import LISTENERS_NOTE
from runtime.messages.payloads import Kind, StatusFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.exams.intake_ports import ModalityEvent
    from runtime.ledger.ledger import Ledger
    from runtime.ledger.transaction import LedgerTransaction
    from runtime.publishing.message_factory import MessageFactory

LISTENERS_REMEMBERED = 16
"""A unit has one firmware, sometimes a service tool: of more, the longest unheard is forgotten."""


class FeedListener(BaseModel):
    """How far a listener has acknowledged what we said, and when it last did."""

    seq: int
    at_ms: int


LISTENERS = TypeAdapter(dict[str, FeedListener])


class ModalityFeed:
    """Implements `intake_ports.Feed`. Thread-safe. Raises LedgerError where the ledger fails."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        message_factory: MessageFactory,
        status_provider: Callable[[], StatusFacts],
        clock_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._message_factory = message_factory
        self._status_provider = status_provider
        self._clock_ms = clock_ms

    # --- what the unit tells ---------------------------------------------------------------------

    def tell(self, event: ModalityEvent) -> None:
        """Puts the event into the ledger and, with the same commit, on its way to the site."""
        now_ms = self._clock_ms()
        publication = self._message_factory.event_message(
            event.kind,
            at_ms=now_ms,
            detail=event.detail,
            exam=event.study_instance_uid,
            image=event.sop_instance_uid,
            data=event.data,
        )
        self._ledger.add_event(publication, now_ms)

    # --- what the unit hears ---------------------------------------------------------------------

    def open_listener(self, name: str) -> int:
        """Up to which `seq` the listener has acknowledged; a new one hears what comes from now."""
        return self._ledger.transact(self._open_listener, name)

    def _open_listener(self, tx: LedgerTransaction, name: str) -> int:
        listeners = _listeners(tx)
        seq = listeners[name].seq if name in listeners else tx.outbox.last_seq()
        self._note(tx, listeners, name, seq)
        return seq

    def acknowledge(self, name: str, seq: int) -> None:
        """The listener has everything up to `seq`; a smaller number than before changes nothing."""
        self._ledger.transact(self._acknowledge, name, seq)

    def _acknowledge(self, tx: LedgerTransaction, name: str, seq: int) -> None:
        listeners = _listeners(tx)
        before = listeners[name].seq if name in listeners else 0
        self._note(tx, listeners, name, max(before, seq))

    def _note(
        self, tx: LedgerTransaction, listeners: dict[str, FeedListener], name: str, seq: int
    ) -> None:
        listeners[name] = FeedListener(seq=seq, at_ms=self._clock_ms())
        newest = sorted(listeners.items(), key=lambda item: item[1].at_ms, reverse=True)
        kept = dict(newest[:LISTENERS_REMEMBERED])
        tx.set_meta(LISTENERS_NOTE, LISTENERS.dump_json(kept).decode())

    def after(self, seq: int, limit: int) -> tuple[list[FeedEntry], int]:
        """What was said after `seq` and still holds, in order, and up to where that goes.

        At most `limit` rows are looked at. A flag that expired, or that a later revision
        replaced, is not said any more.
        """
        rows = self._ledger.transact(
            lambda tx: tx.outbox.current_after(seq, (Kind.VIEW, Kind.EXAM), self._clock_ms(), limit)
        )
        entries = [self._entry(number, Kind(kind), payload) for number, kind, payload in rows]
        looked_at = rows[-1][0] if rows else seq
        return [entry for entry in entries if entry is not None], looked_at

    def _entry(self, seq: int, kind: Kind, payload: bytes) -> FeedEntry | None:
        """None where retention has taken the exam."""
        fields = json.loads(payload)
        whose = self._ledger.transact(self._whose, fields["exam_key"])
        if whose is None:
            return None
        study_uid, images = whose
        return FeedEntry(
            seq=seq,
            kind=kind,
            fields=fields,
            study_instance_uid=study_uid,
            sop_instance_uids=images,
        )

    def _whose(self, tx: LedgerTransaction, exam_key: str) -> tuple[str, dict[str, str]] | None:
        """The exam's UID, and its images' by image key; None where retention has taken it."""
        study_uid = tx.exam_history.study_uid(exam_key) or self._among_all(tx, exam_key)
        if study_uid is None:
            return None
        uids = (image.sop_instance_uid for image in tx.exam_images(study_uid))
        return study_uid, {self._message_factory.image_key(uid): uid for uid in uids}

    def _among_all(self, tx: LedgerTransaction, exam_key: str) -> str | None:
        """Of an exam that was closed without an image, for which no key is kept.

        Nobody can go back from a pseudonym; but we know the exams there are.
        """
        uids = tx.study_uids()
        return next((uid for uid in uids if self._message_factory.exam_key(uid) == exam_key), None)

    def status(self) -> tuple[StatusFacts, dict[str, Any]]:
        """What we know of ourselves, and the same as `status` says it on MQTT."""
        facts = self._status_provider()
        said = self._message_factory.status_message(
            facts, at_ms=self._clock_ms(), last_seq=self._ledger.last_seq()
        )
        return facts, json.loads(said.payload)

    def wait(self, after_version: int, timeout_s: float) -> int:
        """Blocks until something may have been said since that version; the version then."""
        return self._ledger.wait_for_rows(after_version, timeout_s)

    def wake(self) -> None:
        """Ends every `wait` at once."""
        self._ledger.wake()


def _listeners(tx: LedgerTransaction) -> dict[str, FeedListener]:
    note = tx.meta(LISTENERS_NOTE)
    return {} if note is None else LISTENERS.validate_json(note)
