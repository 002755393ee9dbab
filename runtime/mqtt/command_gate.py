"""Which commands of the site are let in: small ones, and not too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.messages.commands import COMMAND_LIMIT_BYTES
from runtime.timing.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS_AT_ONCE = 5
COMMANDS_PER_S = 0.1


class CommandGate:
    """Counts over all connections. `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._bucket = TokenBucket(
            capacity=COMMANDS_AT_ONCE, per_s=COMMANDS_PER_S, monotonic=monotonic
        )
        self.refused = 0
        """Commands that were not let in, or were none."""

    def admit(self, size_bytes: int) -> bool:
        """Whether a message of that size may be looked at now. Called by the socket's thread."""
        admitted = size_bytes <= COMMAND_LIMIT_BYTES and self._bucket.take()
        if not admitted:
            self.refused += 1
        return admitted
