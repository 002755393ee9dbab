"""The starts (`boot_id`) of a unit, and which of them speaks."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto


class Speaker(Enum):
    """Who a status or health is from."""

    CURRENT = auto()
    NEXT = auto()
    """A start that was not heard before."""
    BESIDE = auto()
    """A start that was over speaks anew: it runs beside the one that followed it."""
    STRAGGLER = auto()
    """Said before, or said for a start that is over: to be passed over."""


@dataclass(frozen=True, kw_only=True)
class StatusHeard:
    """What is looked at to tell. `at_ms`: when the unit said it, by its own clock."""

    boot_id: str
    at_ms: int
    ledger_id: str | None
    offline: bool
    retained: bool


class Boots:
    """The last `most` starts of a unit, the current one last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._newest_ms: OrderedDict[str, int] = OrderedDict()
        self._ledgers: dict[str, str] = {}

    @property
    def current(self) -> str | None:
        """The start that speaks now."""
        return next(reversed(self._newest_ms), None)

    @property
    def boots(self) -> frozenset[str]:
        """All that are remembered."""
        return frozenset(self._newest_ms)

    def ledger_of(self, boot_id: str) -> str | None:
        """The ledger that a start works with, where it has said so."""
        return self._ledgers.get(boot_id)

    def is_fresh(self, word: StatusHeard) -> bool:
        """Whether it was said live, and not before."""
        newest_ms = self._newest_ms.get(word.boot_id)
        return not word.retained and (newest_ms is None or word.at_ms > newest_ms)

    def speaker(self, word: StatusHeard) -> Speaker:
        """Who speaks. Changes nothing."""
        current, known = self.current, word.boot_id in self._newest_ms
        if word.boot_id == current:
            return Speaker.CURRENT
        if known:
            # A will may come late, a message twice, and a broker that was killed may have kept an
            # old status.
            stale = word.offline or not self.is_fresh(word)
            return Speaker.STRAGGLER if stale else Speaker.BESIDE
        if current is not None and word.retained and word.at_ms < self._newest_ms[current]:
            return Speaker.STRAGGLER  # older than what we know: the broker's memory was put back
        return Speaker.NEXT

    def heard(self, word: StatusHeard) -> None:
        """It speaks now."""
        newest_ms = self._newest_ms.get(word.boot_id, word.at_ms)
        self._newest_ms[word.boot_id] = max(newest_ms, word.at_ms)
        self._newest_ms.move_to_end(word.boot_id)
        if word.ledger_id is not None:
            self._ledgers[word.boot_id] = word.ledger_id
        while len(self._newest_ms) > self._most:
            gone, _ = self._newest_ms.popitem(last=False)
            self._ledgers.pop(gone, None)
