"""How labelled images are to be looked at, and what is known of them from outside their files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from converters.labelled.image_reading import SideNotes

if TYPE_CHECKING:
    from converters.labelled.labels import LabelledImage

REGION_SPACING_MM = 0.05
"""Of a piece of a view that says nothing about itself: scanned film (CBIS-DDSM)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How to look at the images."""

    regions: bool = False
    """They are pieces of views: no suitability gate, no orientation, no crop."""
    pixel_spacing_mm: float | None = None
    """Of images that do not say it, neither themselves nor in the CSV."""


def notes_of(image: LabelledImage, options: EvaluationOptions) -> SideNotes:
    """What is known of an image from outside its file."""
    spacing = image.pixel_spacing_mm or options.pixel_spacing_mm
    if spacing is None and options.regions:
        spacing = REGION_SPACING_MM
    return SideNotes.of(image.laterality, image.view, spacing, image.bits_stored)
