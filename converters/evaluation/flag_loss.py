"""How many flags a precision may change: a rule on paired flags, the same at every point.

Each labelled image has two flags at an operating point: by the source model and by the precision.
Images that only one of them flags are all that tells the two apart (McNemar, Psychometrika
1947;12:153). `lost` are those that the precision gets wrong and the source right.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

FEWEST_POSITIVES = 59
"""Of so many none lost excludes, at 95 %, that one in twenty is: 0.95 to the 59th is 0.049."""
PERMITTED_SHARE, PERMITTED_COUNT = 0.05, 2
"""Net losses up to the larger of the two are not held against a precision."""
CERTAIN = 0.01
"""Chance of so many losses by noise alone, over all points and both classes together."""
LIKELY = 0.05
"""The same of one point and class, where the net loss is larger than what is permitted."""


@dataclass(frozen=True, kw_only=True)
class PairedFlags:
    """Images of one class at one operating point."""

    images: int
    lost: int
    """Right by the source, wrong by the precision."""
    won: int
    """The other way round."""

    @property
    def chance(self) -> float:
        """Of at least so many losses among the images that differ: one-sided exact McNemar."""
        differ = self.lost + self.won
        ways = of_so_many = comb(differ, self.lost)
        for k in range(self.lost, differ):  # each from the one before: a factorial takes long
            of_so_many = of_so_many * (differ - k) // (k + 1)
            ways += of_so_many
        return float(ways / 2**differ)

    @property
    def too_many(self) -> bool:
        """More net losses than are permitted, by chance or not."""
        return self.lost - self.won > max(PERMITTED_COUNT, PERMITTED_SHARE * self.images)

    def refused(self, tests: int) -> bool:
        """The loss is no chance; `tests` are the points times the classes that are looked at."""
        return self.chance < CERTAIN / tests or (self.too_many and self.chance < LIKELY)

    @property
    def doubtful(self) -> bool:
        """A loss that may be chance: it speaks against no precision, and for none."""
        return self.too_many or self.chance < CERTAIN
