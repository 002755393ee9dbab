"""Has a unit's drift passed a threshold, and is it the scanner, the patients, or the model? Pure.

A population stability index of unchanged images is not zero: it behaves as a chi-square of B-1
degrees of freedom times (1/n + 1/m), for B bins, n images of the day and m of the baseline
(B. Yurdakul, J. Naranjo: Statistical properties of the population stability index. Journal of
Risk Model Validation 14 (2020) 89-100). The threshold is 0.25 (N. Siddiqi, Credit Risk Scorecards,
2006), or what chance hardly ever passes where that is more: few images cannot alarm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from models.descriptor_reference import Descriptor
from runtime.drift.score_drift import population_stability_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.messages.payloads import DriftMessage

LEAST_EXPECTED = 8.0
"""Neighbouring bins are joined until as many images are expected in each (W. G. Cochran, Biometrics
10 (1954) 417-451): the chi-square does not hold for fewer, and an empty bin's index has no end."""
LARGE_CHANGE = 0.25
FAR_OUT = 3.719
"""The normal deviate that is passed once in ten thousand. The index has a longer tail than the
chi-square: with it unchanged images pass the threshold on fewer than one day in two hundred."""
BASELINE_IMAGES = 400
"""As many judged images of its first days make a unit's own score histogram."""
SCORE = "score"


class Suspect(StrEnum):
    """What has probably changed."""

    SCANNER = "scanner"
    POPULATION = "population"
    MODEL = "model"
    """Scores changed and the images did not: the package, its precision, the device."""
    UNKNOWN = "unknown"
    """Scores changed, and the unit says nothing of its images."""


# The machine makes these, the patients those. Brightness is the machine's: exposure, detector and
# processing set it; breasts of another density move it far less than they move the density proxy.
OF_THE_SCANNER = frozenset(
    {Descriptor.BRIGHTNESS, Descriptor.PIXEL_SPACING, Descriptor.MANUFACTURER}
)


@dataclass(frozen=True, kw_only=True)
class Index:
    """One index against its threshold. `name`: `score`, or a descriptor's."""

    name: str
    psi: float
    threshold: float

    @property
    def passed(self) -> bool:
        """Whether it says that something has changed."""
        return self.psi > self.threshold


@dataclass(frozen=True, kw_only=True)
class DriftVerdict:
    """What a day's drift comes to; `suspect` is None where nothing passed its threshold."""

    indexes: tuple[Index, ...]
    suspect: Suspect | None

    @property
    def passed(self) -> tuple[Index, ...]:
        """The indexes that passed their thresholds."""
        return tuple(index for index in self.indexes if index.passed)


def psi_threshold(bins: int, images: int, baseline_images: int) -> float:
    """What the index of an unchanged population hardly ever passes, or 0.25."""
    degrees = max(1, bins - 1)
    # Wilson and Hilferty's approximation of the chi-square quantile (PNAS 17 (1931) 684).
    spread = 2.0 / (9.0 * degrees)
    quantile = degrees * (1.0 - spread + FAR_OUT * math.sqrt(spread)) ** 3
    return max(LARGE_CHANGE, quantile * (1.0 / max(1, images) + 1.0 / max(1, baseline_images)))


def joined(
    expected: Sequence[int], actual: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both histograms with neighbouring bins joined until enough is expected of `actual` in each.

    For bins of a number only: neighbours of a word are no neighbours.
    """
    scale = sum(actual) / max(1, sum(expected))
    pairs: list[tuple[int, int]] = []
    open_pair = (0, 0)
    for e, a in zip(expected, actual, strict=True):
        open_pair = (open_pair[0] + e, open_pair[1] + a)
        if open_pair[0] * scale >= LEAST_EXPECTED:
            pairs.append(open_pair)
            open_pair = (0, 0)
    if pairs:
        pairs[-1] = (pairs[-1][0] + open_pair[0], pairs[-1][1] + open_pair[1])
    return tuple(e for e, _ in pairs), tuple(a for _, a in pairs)


def _index(name: str, expected: Sequence[int], actual: Sequence[int]) -> Index | None:
    """An index over joined bins; None where they come to one."""
    e, a = joined(expected, actual)
    if len(e) < 2:
        return None
    psi = population_stability_index(e, a)
    return Index(name=name, psi=psi, threshold=psi_threshold(len(e), sum(a), sum(e)))


def own_baseline(histograms: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], int] | None:
    """The sum of the first days' score histograms, and how many days it took; None: too few.

    `histograms`: of one unit and model, by day, over the same bins.
    """
    total: list[int] = []
    for days, histogram in enumerate(histograms, start=1):
        total = [a + b for a, b in zip(total, histogram, strict=True)] if total else [*histogram]
        if sum(total) >= BASELINE_IMAGES:
            return tuple(total), days
    return None


def drift_verdict(message: DriftMessage, baseline: tuple[int, ...] | None) -> DriftVerdict:
    """A day's indexes and what they say together.

    `baseline`: the unit's own score histogram; without one the unit's index against the package's
    reference counts, whose size the message does not tell.
    """
    found: list[Index | None] = []
    judged = sum(message.histogram)
    bins = len(message.histogram)
    if baseline is not None and judged and len(baseline) == bins:
        found.append(_index(SCORE, baseline, message.histogram))
    elif message.psi is not None:
        threshold = psi_threshold(bins, judged, judged)
        found.append(Index(name=SCORE, psi=message.psi, threshold=threshold))
    said = message.descriptors
    for name, part in said.by_name.items() if said else ():
        if part.psi is None:
            continue  # the unit had too few images
        if part.edges is not None:
            found.append(_index(name.value, part.expected, part.counts))
        else:
            threshold = psi_threshold(len(part.counts), sum(part.counts), sum(part.expected))
            found.append(Index(name=name.value, psi=part.psi, threshold=threshold))
    indexes = tuple(index for index in found if index is not None)
    described = said is not None and bool(said.by_name)
    return DriftVerdict(indexes=indexes, suspect=_suspect(indexes, described=described))


def _suspect(indexes: Sequence[Index], *, described: bool) -> Suspect | None:
    # A descriptor of a later version is told, and says nothing of who changed.
    passed = {index.name for index in indexes if index.passed} & {SCORE, *Descriptor}
    if passed & OF_THE_SCANNER:
        return Suspect.SCANNER
    if passed - {SCORE}:
        return Suspect.POPULATION
    if passed:
        return Suspect.MODEL if described else Suspect.UNKNOWN
    return None
