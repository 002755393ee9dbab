"""What is due now and then: drift, a look at the ledger; retention of images, exams, messages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from runtime.ledger.transaction import LedgerTransaction

if TYPE_CHECKING:
    from runtime.unit.composition import UnitComponents
    from runtime.unit.settings import Settings

LOG = logging.getLogger(__name__)

DAY_MS = 24 * 60 * 60 * 1000
EXAMINED_NOTE = "ledger_examined_at_ms"


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


def examine_ledger(parts: UnitComponents, now_ms: int) -> None:
    """Once a day, while the unit is idle: every page and row of the ledger.

    It is looked at each start, too, unless it is byte by byte what was left.

    Raises:
        LedgerError: SQLite failed.
    """
    examined_ms = int(parts.ledger.transact(LedgerTransaction.meta, EXAMINED_NOTE) or 0)
    if 0 <= now_ms - examined_ms < DAY_MS:
        return
    for fault in parts.ledger.examine():
        LOG.error("the ledger is damaged: %s", fault)
    parts.ledger.transact(LedgerTransaction.set_meta, EXAMINED_NOTE, str(now_ms))
