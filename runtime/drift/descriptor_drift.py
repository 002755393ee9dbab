"""A day's images against images of before: has the scanner changed, or who comes?

Where the package's `reference.json` has descriptors of enough images they are the baseline;
otherwise the unit's own first images are, and the message says so.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from models.descriptor_reference import Descriptor, DescriptorBins, DescriptorReference
from runtime.drift.score_drift import LEAST_IMAGES, population_stability_index
from runtime.drift.settings import DriftSettings
from runtime.image.descriptors import Manufacturer
from runtime.messages.payloads import BaselineSource, DescriptorDriftPart, DescriptorPart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runtime.image.descriptors import ImageDescriptors
    from runtime.ledger.transaction import LedgerTransaction

BASELINE_NOTE = "descriptor_baseline"
TENTHS = np.linspace(0.0, 1.0, 11)
MARGIN = 0.1
"""The outermost bins begin a tenth of the range beyond the baseline: a little outside is chance."""
MOST_LABELS = 16
REST, UNKNOWN = "other", Manufacturer.UNKNOWN.value


class UnitBaseline(BaseModel):
    """The unit's own baseline, as a note of its ledger."""

    model_config = ConfigDict(frozen=True)

    settings: DriftSettings
    reference: DescriptorReference


def reference_of(images: Sequence[ImageDescriptors]) -> DescriptorReference:
    """The baseline that images make: tenths of what is a number, words as they are."""
    bins: dict[Descriptor, DescriptorBins] = {}
    for name in Descriptor:
        labels = _labels(name, images)
        if labels is not None:
            shown = Counter(labels).most_common(MOST_LABELS - 1)
            rest = len(labels) - sum(count for _, count in shown)
            counts = dict(shown) | ({REST: rest} if rest else {})
            if counts:
                bins[name] = DescriptorBins(labels=tuple(counts), counts=tuple(counts.values()))
            continue
        values = _values(name, images)
        if values.size:
            edges = _edges(values)
            bins[name] = DescriptorBins(edges=edges, counts=_counted(values, edges))
    return DescriptorReference(images=len(images), bins=bins)


def compare(
    reference: DescriptorReference, images: Sequence[ImageDescriptors]
) -> dict[Descriptor, DescriptorPart]:
    """The day's counts over the baseline's bins, with the population stability index of each."""
    parts: dict[Descriptor, DescriptorPart] = {}
    for name, bins in reference.bins.items():
        day = _labels(name, images)
        if day is None:
            counts = _counted(_values(name, images), bins.edges)
            labels: tuple[str, ...] = ()
            expected = bins.counts
        else:
            shown = _shown_labels(bins.labels, day)
            seen = Counter(label if label in shown else REST for label in day)
            labels = tuple(dict.fromkeys((*bins.labels, *sorted(seen))))
            known = dict(zip(bins.labels, bins.counts, strict=True))
            counts = tuple(seen[label] for label in labels)
            expected = tuple(known.get(label, 0) for label in labels)
        enough = sum(counts) >= LEAST_IMAGES and sum(expected) >= LEAST_IMAGES
        psi = population_stability_index(expected, counts) if enough else None
        parts[name] = DescriptorPart(
            edges=bins.edges or None,
            labels=labels or None,
            counts=counts,
            expected=expected,
            psi=psi,
        )
    return parts


def _shown_labels(known: Sequence[str], day: Sequence[str]) -> set[str]:
    """The baseline's words, and as many new ones as fit, the most frequent first."""
    new = Counter(word for word in day if word not in known)
    room = max(0, MOST_LABELS - len(known))
    return {*known, *(word for word, _ in new.most_common(room))}


def _labels(name: Descriptor, images: Sequence[ImageDescriptors]) -> list[str] | None:
    """The words of a descriptor that has words; None for one that has numbers."""
    if name is Descriptor.MANUFACTURER:
        return [image.manufacturer.value for image in images]
    if name is Descriptor.PIXEL_SPACING:
        return [_spacing_word(image.pixel_spacing_mm) for image in images]
    return None


def _spacing_word(spacing_mm: tuple[float, float] | None) -> str:
    if spacing_mm is None:
        return UNKNOWN
    row, column = (f"{min(value, 99.0):.3f}" for value in spacing_mm)
    return row if row == column else f"{row}x{column}"


def _values(name: Descriptor, images: Sequence[ImageDescriptors]) -> NDArray[np.float64]:
    numbers: dict[Descriptor, list[float | None]] = {
        Descriptor.BRIGHTNESS: [image.brightness for image in images],
        Descriptor.BREAST_AREA: [image.breast_area_cm2 for image in images],
        Descriptor.DENSITY: [image.density for image in images],
    }
    return np.array([number for number in numbers[name] if number is not None], np.float64)


def _edges(values: NDArray[np.float64]) -> tuple[float, ...]:
    tenths = np.quantile(values, TENTHS)
    low, high = float(tenths[0]), float(tenths[-1])
    margin = MARGIN * (high - low or abs(low) or 1.0)
    edges = np.unique(np.round([low - margin, *tenths[1:-1], high + margin], 5))
    return tuple(float(edge) for edge in edges)


def _counted(values: NDArray[np.float64], edges: Sequence[float]) -> tuple[int, ...]:
    places = np.searchsorted(np.array(edges), values, side="right")
    return tuple(int(count) for count in np.bincount(places, minlength=len(edges) + 1))


def descriptor_drift(
    tx: LedgerTransaction,
    packaged: DescriptorReference | None,
    settings: DriftSettings,
    start_ms: int,
    end_ms: int,
) -> DescriptorDriftPart | None:
    """What to say of the images of a day; None where none was described."""
    images = tx.descriptors.between(start_ms, end_ms)
    if not images:
        return None
    # Fewer would never give an index; the unit's own images do after some days.
    if packaged is not None and packaged.images >= LEAST_IMAGES:
        return DescriptorDriftPart(
            baseline=BaselineSource.PACKAGE,
            baseline_images=packaged.images,
            baseline_needed=packaged.images,
            images=len(images),
            by_name=compare(packaged, images),
        )
    own = _own_baseline(tx, settings)
    complete = own.images >= settings.baseline_images
    return DescriptorDriftPart(
        baseline=BaselineSource.UNIT,
        baseline_images=own.images,
        baseline_needed=settings.baseline_images,
        baseline_since=settings.baseline_since and settings.baseline_since.isoformat(),
        images=len(images),
        by_name=compare(own, images) if complete else {},
    )


def _own_baseline(tx: LedgerTransaction, settings: DriftSettings) -> DescriptorReference:
    """The unit's baseline: kept once it is complete, because its images' records are not."""
    note = tx.meta(BASELINE_NOTE)
    if note is not None:
        kept = UnitBaseline.model_validate_json(note)
        if kept.settings == settings:
            return kept.reference
    images = tx.descriptors.first(settings.baseline_images, settings.since_ms)
    reference = reference_of(images)
    if len(images) >= settings.baseline_images:
        kept = UnitBaseline(settings=settings, reference=reference)
        tx.set_meta(BASELINE_NOTE, kept.model_dump_json())
    return reference
