"""Occlusion: what a score loses when a part of the image is covered. Slow, and hard to argue with.

An evidence map is held against it (Zeiler and Fergus, ECCV 2014): cells that the map calls telling
must be those whose absence costs most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.explanation.evidence_branch import block_edges

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PATCH_ROWS, PATCH_COLUMNS = 8, 6
"""At most: 48 inferences an image."""
FLAT = 1e-6
"""A patch whose values span less of the image's range than this shows nothing."""
TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class OcclusionMap:
    """What each patch of the image is worth to the score."""

    losses: NDArray[np.float64]
    """Rows x columns: the score's logit less that with the patch covered."""
    counted: NDArray[np.bool_]
    """The patches that show something; air cannot be covered."""


@dataclass(frozen=True, kw_only=True)
class MapAgreement:
    """One evidence map against the occlusion of the same image."""

    rank_correlation: float
    """Spearman's, over the patches that show something; 0 where either map is flat."""
    points_alike: bool
    """The highest patch of one is the highest of the other or beside it."""


def occlusion_map(
    score: Callable[[NDArray[np.generic]], float],
    tensor: NDArray[np.generic],
    rows: int,
    columns: int,
) -> OcclusionMap:
    """Cover patch after patch with the mean of all that show something.

    Args:
        score: the suspicion (0-1) of a model input.
        tensor: the model input, of any layout: its image axes are the two longest.
        rows: patches from top to bottom.
        columns: patches from left to right.
    """
    patches = _patches(tensor.shape, rows, columns)
    span = float(np.ptp(tensor))
    shown = {
        at: patch for at, patch in patches.items() if float(np.ptp(tensor[patch])) > FLAT * span
    }
    losses = np.zeros((rows, columns))
    counted = np.zeros((rows, columns), bool)
    whole = _logit(score(tensor))
    cover = np.mean([tensor[patch].mean() for patch in shown.values()]) if shown else 0.0
    for at, patch in shown.items():
        covered = tensor.copy()
        covered[patch] = cover
        counted[at] = True
        losses[at] = whole - _logit(score(covered))
    return OcclusionMap(losses=losses, counted=counted)


def _patches(
    shape: tuple[int, ...], rows: int, columns: int
) -> dict[tuple[int, int], tuple[slice, ...]]:
    """(row, column) -> where it lies in a tensor whose image axes are its two longest."""
    down, across = sorted(np.argsort(shape)[-2:].tolist())
    edges = {down: block_edges(shape[down], rows), across: block_edges(shape[across], columns)}
    patches: dict[tuple[int, int], tuple[slice, ...]] = {}
    for row, column in np.ndindex(rows, columns):
        place = [slice(None)] * len(shape)
        for axis, block in ((down, row), (across, column)):
            place[axis] = slice(int(edges[axis][block]), int(edges[axis][block + 1]))
        patches[row, column] = tuple(place)
    return patches


def patches_for(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of patches for an evidence map of that many cells."""
    return min(rows, PATCH_ROWS), min(columns, PATCH_COLUMNS)


def agreement_with(occlusion: OcclusionMap, evidence: NDArray[np.float32]) -> MapAgreement:
    """How far `evidence` (rows x columns, 0-1) says the same; it is averaged over each patch."""
    rows, columns = occlusion.losses.shape
    down, across = block_edges(evidence.shape[0], rows), block_edges(evidence.shape[1], columns)
    pooled = np.array(
        [
            [
                evidence[down[r] : down[r + 1], across[c] : across[c + 1]].mean()
                for c in range(columns)
            ]
            for r in range(rows)
        ]
    )
    counted = occlusion.counted
    if not counted.any():
        return MapAgreement(rank_correlation=0.0, points_alike=False)
    peaks = [
        np.unravel_index(np.where(counted, values, -np.inf).argmax(), counted.shape)
        for values in (pooled, occlusion.losses)
    ]
    apart = max(abs(int(one) - int(other)) for one, other in zip(*peaks, strict=True))
    return MapAgreement(
        rank_correlation=spearman(pooled[counted], occlusion.losses[counted]),
        points_alike=apart <= 1,
    )


def spearman(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Rank correlation, ties at their mean rank; 0 where one of them does not vary."""
    first, second = _ranks(one), _ranks(other)
    spread = float(first.std() * second.std())
    if spread == 0.0:
        return 0.0
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)


def _ranks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places.ravel()], np.float64)


def _logit(score: float) -> float:
    kept = min(max(score, TINY), 1.0 - TINY)
    return math.log(kept) - math.log1p(-kept)
