"""What kind of image an object holds, as far as it matters for judging it."""

from __future__ import annotations

from enum import StrEnum


class ImageKind(StrEnum):
    """Only the first is what a model of full-field mammograms was made for."""

    STANDARD = "standard"
    SYNTHETIC_2D = "synthetic_2d"
    """Computed from a tomosynthesis volume: C-View, S-View, Insight 2D."""
    BIOPSY = "biopsy"
    """Of a biopsy or localisation: stereo pair, scout, needle, specimen; a part of a breast."""
    CAPTURE = "capture"
    """Of a screen, or marks are burned in, or a Secondary Capture that is no film."""
    OTHER = "other"
    """Projection, slice, subtraction, recombined image, or a term that is not known."""
