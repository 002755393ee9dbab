"""Files of the spool that no row knows are taken in again, a few at a time beside the work."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from runtime.ledger.opening import SET_ASIDE
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
TURN_S = 2.0
"""Large files of a slow disk must not keep the service from what else is due."""


class SpoolRecovery:
    """Takes in what was found at the start. Used by one thread."""

    def __init__(self, *, spooler: Spooler, ledger: Ledger, events: EventReporter) -> None:
        self._spooler = spooler
        self._events = events
        self._left: deque[Path] = deque()
        self._put_off: dict[Path, str] = {}
        self._taken = self._set_aside = self._failed = 0
        self._ledger = ledger

    def begin(self) -> int:
        """Before any intake starts: which files there are; how many."""
        known = self._ledger.transact(LedgerTransaction.spooled_paths)
        self._left.extend(self._spooler.unregistered(known))
        if self._left:
            LOG.warning("files in the spool without a row: %d; taken in again", len(self._left))
        return len(self._left)

    def go_on(self) -> bool:
        """Takes in a few more while there is room for them; whether there is more to do at once.

        A file that can be neither read nor set aside waits until the others are done, and is tried
        again. Nothing is lost.

        Raises:
            LedgerError: not now; the same file is tried again.
        """
        until_s = time.monotonic() + TURN_S
        before = len(self._left)
        for _ in range(min(FILES_AT_ONCE, before)):
            if self._spooler.backlog_is_full or time.monotonic() > until_s:
                break
            self._take(self._left[0])
            self._left.popleft()
        progress = len(self._left) < before
        if not self._left:
            self._say()
            self._left.extend(self._put_off)
            return False
        return progress

    def _take(self, path: Path) -> None:
        try:
            taken = self._spooler.take_in_again(path)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if self._put_off.get(path) != reason:
                self._failed += 1
                LOG.error("can neither be read nor set aside: %s: %s", path.name, reason)  # noqa: TRY400 - no defect of ours
            self._put_off[path] = reason
            return
        self._put_off.pop(path, None)
        if taken:
            self._taken += path.suffix == ".dcm"
        else:
            self._set_aside += 1

    def _say(self) -> None:
        """Once for all that was found, and again where something came of what was put off."""
        if not (self._taken or self._set_aside or self._failed):
            return
        detail = f"{self._taken} taken in again, {self._set_aside} set aside in {SET_ASIDE}"
        if self._failed:
            detail += f", {self._failed} can be neither read nor moved and are tried again"
        LOG.warning("spool: %s", detail)
        self._events.publish(
            EventKind.IMAGES_RECOVERED, f"files in the spool that the ledger did not know: {detail}"
        )
        self._taken = self._set_aside = self._failed = 0
