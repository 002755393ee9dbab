"""Files of the spool that no row knows are taken in again, a few at a time beside the work."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from runtime.ledger.transaction import LedgerTransaction
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.exams.event_reporter import EventReporter
    from runtime.exams.spooler import Spooler
    from runtime.ledger.ledger import Ledger

LOG = logging.getLogger(__name__)

FILES_AT_ONCE = 20
"""As many as a plug that was pulled leaves behind, and what is read of a disk in a second or two.
After a ledger was put back there may be thousands; images that come now have precedence."""


class SpoolRecovery:
    """Takes in what was found at the start. Used by one thread."""

    def __init__(self, *, spooler: Spooler, ledger: Ledger, events: EventReporter) -> None:
        self._spooler = spooler
        self._events = events
        self._left: deque[Path] = deque()
        self._taken = 0
        self._set_aside = 0
        self._ledger = ledger

    def begin(self) -> int:
        """Before any intake starts: which files there are; how many."""
        known = self._ledger.transact(LedgerTransaction.spooled_paths)
        self._left.extend(self._spooler.unregistered(known))
        if self._left:
            LOG.warning("files in the spool without a row: %d; taken in again", len(self._left))
        return len(self._left)

    def go_on(self) -> bool:
        """Takes in a few more while there is room for them; whether any are left.

        Raises:
            LedgerError, OSError: not now; nothing is lost, the same file is tried again.
        """
        for _ in range(min(FILES_AT_ONCE, len(self._left))):
            if self._spooler.backlog_is_full:
                break
            if self._spooler.take_in_again(self._left[0]):
                self._taken += self._left[0].suffix == ".dcm"
            else:
                self._set_aside += 1
            self._left.popleft()
        if not self._left and (self._taken or self._set_aside):
            self._say()
        return bool(self._left)

    def _say(self) -> None:
        LOG.warning("spool: taken in again=%d in lost+found=%d", self._taken, self._set_aside)
        self._events.publish(
            EventKind.IMAGES_RECOVERED,
            f"files in the spool that the ledger did not know: {self._taken} taken in again,"
            f" {self._set_aside} set aside in lost+found",
        )
        self._taken = self._set_aside = 0
