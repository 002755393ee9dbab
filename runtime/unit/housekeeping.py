"""What is due now and then: drift once a day; and retention of images, exams, messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.ledger.transaction import LedgerTransaction

if TYPE_CHECKING:
    from runtime.unit.composition import UnitComponents
    from runtime.unit.settings import Settings

DAY_MS = 24 * 60 * 60 * 1000


def keep_house(parts: UnitComponents, settings: Settings, now_ms: int) -> None:
    """Does what is due at `now_ms` (ms since the epoch, UTC).

    Raises:
        LedgerError: SQLite failed.
        OSError: the spool failed.
    """
    storage = settings.storage
    parts.exam_service.publish_drift(parts.reference, settings.drift)
    replay_ms = int(settings.expiry.replay_days * DAY_MS)
    parts.ledger.transact(lambda tx: tx.outbox.forget_before(now_ms - replay_ms))
    image_ms = now_ms - storage.keep_images_days * DAY_MS
    for image_id, path in parts.ledger.transact(LedgerTransaction.spooled_before, image_ms):
        parts.spooler.remove(path)
        parts.ledger.transact(LedgerTransaction.file_removed, image_id)
    record_ms = now_ms - storage.keep_records_days * DAY_MS
    parts.ledger.transact(LedgerTransaction.forget_exams_before, record_ms)
