"""Which of a unit's numbers have come, one ledger of it after the other; in bounded memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import blake2b
from typing import TYPE_CHECKING

from runtime.timing.replay_schedule import LONGEST_JUMP

if TYPE_CHECKING:
    from runtime.messages.payloads import NumberedMessage


@dataclass(frozen=True, kw_only=True, order=True)
class Span:
    """Numbers from `first` to `last`, both of them in it."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many numbers."""
        return self.last - self.first + 1


class Seen(Enum):
    """What the book makes of a number."""

    NEXT = auto()
    """New, and the highest so far."""
    FILLED = auto()
    """New, below the highest: it came by a replay, or late."""
    AGAIN = auto()
    """It was there already."""
    FORGOTTEN = auto()
    """So far back that the book no longer knows."""
    IMPLAUSIBLE = auto()
    """So far ahead that no unit can have got there; not entered."""


class SequenceTracker:
    """Spans of seen numbers, at most `spans` of them; older ones are forgotten, and counted.

    A number that is more than `longest_jump` ahead of all that is known is not entered, so that a
    forged one opens no gap of millions. Until anything is known, `highest_start` is the limit.
    `claim`: numbers from there on are owed. Without a claim it is the first number that came.
    """

    def __init__(
        self, *, spans: int = 256, longest_jump: int = LONGEST_JUMP, highest_start: int = 10**9
    ) -> None:
        self._most_spans = spans
        self._longest_jump = longest_jump
        self._highest_start = highest_start
        self._spans: list[Span] = []
        self._known = 0
        self.first: int | None = None
        """The lowest number that is owed; None before anything was heard or claimed."""
        self.floor = 0
        """Numbers up to here are forgotten."""
        self.forgotten_missing = 0
        """Numbers in gaps that the book no longer keeps."""

    @property
    def highest(self) -> int:
        """The highest number that came; 0 before the first."""
        return self._spans[-1].last if self._spans else 0

    @property
    def last_known(self) -> int:
        """The highest number that the unit is known to have given; 0 if none is."""
        return max(self._known, self.highest)

    @property
    def behind(self) -> int:
        """Numbers that the unit has given above the highest that came, as far as is known."""
        if self.first is None:
            return 0
        return max(0, self.last_known - max(self.highest, self.first - 1))

    def claim(self, seq: int) -> None:
        """Numbers from `seq` (1 or more) on are owed."""
        self.first = max(1, min(seq, self.first or seq))

    def plausible(self, seq: int) -> bool:
        """Whether the unit can have got to that number."""
        ahead_of = self.last_known
        if not ahead_of and self.first is None:
            return seq <= self._highest_start
        return seq <= max(ahead_of, self.first or 0) + self._longest_jump

    def said_last(self, last_seq: int) -> bool:
        """The unit names its last number; False if that is implausible, and nothing changed."""
        if not self.plausible(last_seq):
            return False
        # Not the highest ever said: a forged one must not stand for ever.
        self._known = last_seq
        return True

    def enter(self, seq: int, *, live: bool = True) -> Seen:
        """A numbered row came.

        `live` is False for one that the broker had retained: it lays no claim to what follows it.
        """
        if not self.plausible(seq):
            return Seen.IMPLAUSIBLE
        if seq <= self.floor:
            return Seen.FORGOTTEN
        if self.first is None and live:
            self.first = seq
        at = bisect_right(self._spans, seq, key=lambda span: span.first)
        if at and self._spans[at - 1].last >= seq:
            return Seen.AGAIN
        seen = Seen.NEXT if seq > self.highest else Seen.FILLED
        self._insert(at, seq)
        self._forget_oldest()
        return seen

    def _insert(self, at: int, seq: int) -> None:
        spans = self._spans
        first, last, low, high = seq, seq, at, at
        if at and spans[at - 1].last == seq - 1:
            first, low = spans[at - 1].first, at - 1
        if at < len(spans) and spans[at].first == seq + 1:
            last, high = spans[at].last, at + 1
        spans[low:high] = [Span(first=first, last=last)]

    def _forget_oldest(self) -> None:
        while len(self._spans) > self._most_spans:
            gone = self._spans.pop(0)
            self.floor = self._spans[0].first - 1
            if self.first is not None:
                owed_from = max(gone.last + 1, self.first)
                self.forgotten_missing += max(0, self.floor - owed_from + 1)
            if self.first is not None:
                self.first = max(self.first, self.floor + 1)

    def gaps(self) -> tuple[Span, ...]:
        """Numbers that are owed and did not come, below the highest that did."""
        if self.first is None:
            return ()
        gaps, expected = [], self.first
        for span in self._spans:
            if span.first > expected:
                gaps.append(Span(first=expected, last=span.first - 1))
            expected = max(expected, span.last + 1)
        return tuple(gaps)

    @property
    def missing(self) -> int:
        """How many numbers the gaps hold."""
        return sum(gap.count for gap in self.gaps())


@dataclass(kw_only=True)
class Generation:
    """`number` counts a unit's ledgers, from 1. Numbers of rows are unique within one only.

    `ledger_id`: as the unit names it, None where it does not. `former_boots`: starts whose rows
    above `begins_after` belong to a ledger of before. `kept`: whole rows by number, `digests`
    hashes of more of them.
    """

    number: int
    book: SequenceTracker
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
