"""What goes wrong with files in a folder, told once: to the log for each file, to the site once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from runtime.ledger.ledger import LedgerError
from runtime.messages.payloads import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOGGER = logging.getLogger(__name__)


class FaultLog:
    """Remembers what was told, so that a fault that lasts does not repeat itself for ever.

    Nothing that is told names a file, and of an unforeseen error only its kind is: names of files
    and texts of errors can hold names of people. Not thread-safe beyond telling a thing twice.

    Args:
        report: publishes an event, given its kind and what happened.
    """

    def __init__(self, report: Callable[[EventKind, str], None]) -> None:
        self._report = report
        self._of_paths: dict[Path, str] = {}
        self._told: set[str] = set()
        self._unforeseen: set[str] = set()

    def tell(self, path: Path, what: str, fault: OSError) -> None:
        """What the system has against a file or folder."""
        trouble = f"{what}: {fault.strerror}"
        if self._of_paths.get(path) != trouble:
            self._of_paths[path] = trouble
            LOGGER.warning("%s", trouble)
        self._publish(trouble, self._told)

    def over(self, path: Path) -> None:
        """The file or folder gives no trouble any more."""
        self._of_paths.pop(path, None)

    def forget_all_but(self, there: set[Path]) -> None:
        """What is gone troubles nobody; once nothing does, the next trouble is news again."""
        self._of_paths = {path: told for path, told in self._of_paths.items() if path in there}
        if not self._of_paths:
            self._told.clear()

    def tell_unforeseen(self, fault: Exception) -> None:
        """A defect of ours, or an error that nobody thought of."""
        what = f"unforeseen error: {type(fault).__name__}"
        LOGGER.error("%s", what)
        self._publish(what, self._unforeseen)

    def _publish(self, what: str, told: set[str]) -> None:
        if what in told:
            return
        try:
            self._report(EventKind.FAULT, what)
        except LedgerError as fault:
            # Tried again the next time.
            LOGGER.error("an event waits: %s", type(fault).__name__)  # noqa: TRY400 - no defect
        else:
            told.add(what)
