"""What the calibration images looked like, for a package's reference.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.drift.descriptor_drift import UNKNOWN, reference_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.descriptor_reference import DescriptorReference
    from runtime.image.descriptors import ImageDescriptors


def descriptor_summary(images: Sequence[ImageDescriptors]) -> DescriptorReference | None:
    """Counts of each descriptor; None where no image could be described.

    What no image says of itself is left out: a PNG has no maker, and a unit whose images have one
    has not drifted.
    """
    if not images:
        return None
    reference = reference_of(images)
    known = {name: bins for name, bins in reference.bins.items() if bins.labels != (UNKNOWN,)}
    return reference.model_copy(update={"bins": known})
