"""A copy of the ledger while the service runs: asked for and answered by files in its folder.

The ledger has one connection, and it belongs to the service. Who may write into the folder of the
storage may read the ledger as well, so no other door is opened.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from models.errors import ResourceError
from runtime.ledger.ledger import LedgerError

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.ledger.ledger import Ledger

REQUEST, COPY, REFUSAL = "backup.request", "backup.db", "backup.refused"
LOOK_S = 0.1
LEFT_OVER_S = 600.0
"""Who asked takes the copy away at once, to another disk within minutes."""


class NoAnswerError(ResourceError):
    """The running service made no copy."""


def answer(folder: Path, ledger: Ledger) -> None:
    """Makes the copy that was asked for, if one was. Raises OSError: the folder fails."""
    request = folder / REQUEST
    if not request.exists():
        _remove_left_over(folder / COPY)
        return
    part = folder / f"{COPY}.part"
    part.unlink(missing_ok=True)
    try:
        ledger.copy_to(part)
        part.rename(folder / COPY)
    except LedgerError as error:
        part.unlink(missing_ok=True)
        (folder / REFUSAL).write_text(error.detail, encoding="utf-8")
    request.unlink(missing_ok=True)


def _remove_left_over(copy: Path) -> None:
    """A copy that nobody took: who asked was killed. It holds all that the ledger does."""
    try:
        if time.time() - copy.stat().st_mtime > LEFT_OVER_S:
            copy.unlink()
    except FileNotFoundError:
        return


def ask(folder: Path, timeout_s: float) -> Path:
    """Asks the running service for a copy; where it is. The caller takes it away.

    Raises:
        NoAnswerError: it made none in that time, or says why not.
        OSError: the folder cannot be written to.
    """
    copy, refusal = folder / COPY, folder / REFUSAL
    for left_over in (copy, refusal):
        left_over.unlink(missing_ok=True)
    descriptor = os.open(folder / REQUEST, os.O_WRONLY | os.O_CREAT, 0o600)
    os.close(descriptor)
    deadline_s = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline_s:
            if copy.exists():
                return copy
            if refusal.exists():
                detail = refusal.read_text(encoding="utf-8")
                refusal.unlink()
                raise NoAnswerError(f"the running service cannot copy its ledger: {detail}")
            time.sleep(LOOK_S)
    finally:
        (folder / REQUEST).unlink(missing_ok=True)
    raise NoAnswerError(f"the running service made no copy within {timeout_s:.0f} s; its log?")
