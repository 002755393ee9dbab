"""Perceptual hashes: does a validation picture also hide among the training pictures?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.training.data.preparation import Picture

HASH_SIDE = 12
"""A hash keeps the HASH_SIDE x HASH_SIDE lowest frequencies (144 bits less the mean)."""
REDUCED_SIDE = 48
NEAR_BITS = 10
"""At most this many differing bits of 143 count as a near-duplicate."""


class Named(Protocol):
    """A picture with a name: a sample of the fine network or a view of the coarse one."""

    @property
    def name(self) -> str:
        """Of its file."""

    @property
    def picture(self) -> Picture:
        """0..1."""


class Twin(NamedTuple):
    """Two pictures that look alike, and in how many bits they differ."""

    training: str
    validation: str
    bits: int


def perceptual_hash(picture: Picture) -> NDArray[np.bool_]:
    """Signs of the low DCT frequencies against their median (pHash, C. Zauner 2010)."""
    reduced = cv2.resize(picture, (REDUCED_SIDE, REDUCED_SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(reduced)[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return np.asarray(low > np.median(low))


def find_twins(training: Sequence[Named], validation: Sequence[Named]) -> list[Twin]:
    """Pairs across the split, mirrored pictures included, that differ in at most NEAR_BITS."""
    if not training or not validation:
        return []
    known = np.stack([perceptual_hash(sample.picture) for sample in training])
    twins: list[Twin] = []
    for sample in validation:
        for picture in (sample.picture, np.ascontiguousarray(sample.picture[:, ::-1])):
            bits = (known != perceptual_hash(picture)).sum(axis=1)
            twins.extend(
                Twin(training[int(index)].name, sample.name, int(bits[index]))
                for index in np.flatnonzero(bits <= NEAR_BITS)
            )
    return twins
