"""One ledger of a unit, as far as it was heard: its numbers, and the rows under them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.messages.payloads import NumberedMessage
    from runtime.site.live_model.sequence_tracker import SeqBook


@dataclass(kw_only=True)
class Generation:
    """`number` counts a unit's ledgers, from 1. Numbers of rows are unique within one only.

    `ledger_id`: as the unit names it, None where it does not. `former_boots`: starts whose rows
    above `begins_after` belong to a ledger of before. `kept`: whole rows by number, `digests`
    hashes of more of them.
    """

    number: int
    book: SeqBook
    most_rows: int
    most_digests: int
    ledger_id: str | None = None
    former_boots: frozenset[str] = frozenset()
    begins_after: int = 0
    kept: OrderedDict[int, NumberedMessage] = field(default_factory=OrderedDict)
    digests: OrderedDict[int, bytes] = field(default_factory=OrderedDict)

    def keep(self, row: NumberedMessage, payload: bytes) -> None:
        """A new row; the oldest go where there are too many."""
        self.digests[row.seq] = _digest(payload)
        while len(self.digests) > self.most_digests:
            self.digests.popitem(last=False)
        if self.most_rows:
            self.kept[row.seq] = row
            while len(self.kept) > self.most_rows:
                self.kept.popitem(last=False)

    def contradicts(self, row: NumberedMessage, payload: bytes) -> bool:
        """Whether another row was heard under its number, as far as that is remembered."""
        digest = _digest(payload)
        return self.digests.get(row.seq, digest) != digest

    def is_of_before(self, row: NumberedMessage) -> bool:
        """Whether a ledger of before wrote it."""
        return row.boot_id in self.former_boots and row.seq > self.begins_after


def _digest(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=8).digest()
