"""What the images of four vendors look like from outside: size, depth, spacing, display.

Shapes as published in conformance statements and seen in sample files, for tests of the plumbing;
no claim about any product.
"""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.simulated_exams.phantom_breast import DetectorArea


@dataclass(frozen=True, kw_only=True)
class VendorShape:
    """The outside of one vendor's images For Presentation."""

    name: str
    manufacturer: str
    detector: DetectorArea
    bits_stored: int
    detector_type: str = "DIRECT"
    monochrome1: bool = False
    sigmoid: bool = False
    """VOI LUT Function SIGMOID instead of a linear window."""


GE = VendorShape(
    name="ge",
    manufacturer="GE MEDICAL SYSTEMS",
    detector=DetectorArea(rows=3062, columns=2394, pixel_spacing_mm=0.1),
    bits_stored=12,
    detector_type="SCINTILLATOR",
    sigmoid=True,
)
HOLOGIC = VendorShape(
    name="hologic",
    manufacturer="HOLOGIC, Inc.",
    detector=DetectorArea(rows=4096, columns=3328, pixel_spacing_mm=0.07),
    bits_stored=12,
)
SIEMENS = VendorShape(
    name="siemens",
    manufacturer="SIEMENS",
    detector=DetectorArea(rows=3518, columns=2800, pixel_spacing_mm=0.085),
    bits_stored=12,
)
FUJIFILM = VendorShape(
    name="fujifilm",
    manufacturer="FUJIFILM Corporation",
    detector=DetectorArea(rows=5928, columns=4728, pixel_spacing_mm=0.05),
    bits_stored=14,
    monochrome1=True,
)
VENDOR_SHAPES = {shape.name: shape for shape in (GE, HOLOGIC, SIEMENS, FUJIFILM)}
