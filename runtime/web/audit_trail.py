"""Who was let in at a page and who was not: a file of JSON lines beside the ledger, of one size."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING

from runtime.timing.timestamps import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOG = logging.getLogger(__name__)

MOST_BYTES = 1024 * 1024
"""Then the file becomes `NAME.1`, and the one before goes: some ten thousand lines are kept."""
AGAIN_S = 60.0
MOST_SOURCES = 4096


class AuditTrail:
    """Appends what happened, when, and from which address; no name, no token, no exam.

    The same refusal of one address is one line a minute, with how many there were: nobody can push
    the others out of the file. Lives in one event loop.
    """

    def __init__(
        self,
        file: Path | None,
        *,
        clock_ms: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._refused: dict[tuple[str, str], tuple[float, int]] = {}

    def signed_in(self, address: str) -> None:
        """Somebody knew the token."""
        self._append("signed_in", address, 1)

    def refused(self, what: str, address: str) -> None:
        """A request was turned away; `what` is a code of ours."""
        now_s = self._monotonic()
        said_s, more = self._refused.get((what, address), (float("-inf"), 0))
        if now_s - said_s < AGAIN_S:
            self._refused[what, address] = (said_s, more + 1)
            return
        if len(self._refused) >= MOST_SOURCES:
            self._refused.clear()
        self._refused[what, address] = (now_s, 0)
        self._append(what, address, more + 1)

    def _append(self, what: str, address: str, count: int) -> None:
        if self._file is None:
            return
        line = {"at": utc_text(self._clock_ms()), "what": what, "from": address, "count": count}
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
                size = stream.tell()
            if size > MOST_BYTES:
                self._file.replace(self._file.with_name(f"{self._file.name}.1"))
        except OSError as error:
            LOG.error("%s cannot be written: %s", self._file.name, error.strerror)  # noqa: TRY400 - the disk's fault
