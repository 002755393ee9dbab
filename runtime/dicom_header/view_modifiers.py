"""What makes a view no standard one: modifiers in every form, and what else says the same."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import code_value, items, numbers, text
from runtime.image.view_codes import (
    MAGNIFICATION,
    SPECIMEN,
    SPOT_COMPRESSION,
    UNREADABLE_MODIFIER,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

MODIFIER_KEYWORDS = (
    "ViewModifierCodeSequence",
    "PaddleDescription",
    "AnatomicRegionSequence",
    "AnatomicRegionModifierSequence",
    "PrimaryAnatomicStructureSequence",
    "SpecimenDescriptionSequence",
    "CodeMeaning",
    "BiopsyTargetSequence",
    "PartialViewCodeSequence",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "EstimatedRadiographicMagnificationFactor",
)
# Paddle Description (0018,11A4) is free: "SPOT 10CM", "10CM MAG", "QUAD SPOT CONTACT".
SPOT_PADDLE = re.compile(r"SPOT|BIOPSY|LOCALI[SZ]|(?<![A-Z])(?:LOC|QUAD)(?![A-Z])")
MAGNIFYING_PADDLE = re.compile(r"(?<![A-Z])MAG(?:N|NIFICATION|NIFIED)?(?![A-Z])")
# The distances are of an exposure with a tube: centimetres and inches are not believed.
BELIEVABLE_DISTANCE_MM = (300.0, 2000.0)
LARGEST_MAGNIFICATION = 4.0


def modifiers_of(ds: Dataset) -> tuple[str, ...]:
    """SNOMED CT codes of all that modifies the view, of the view's items, beside them, in words.

    An item that has no code that can be read is `UNREADABLE_MODIFIER`: whatever it is, nobody may
    take the view for a standard one.
    """
    coded = (
        code_value(modifier) or UNREADABLE_MODIFIER
        for place in (*items(ds, "ViewCodeSequence"), ds)
        for modifier in items(place, "ViewModifierCodeSequence")
    )
    return tuple(dict.fromkeys((*coded, *_worded(ds))))


def _worded(ds: Dataset) -> Iterator[str]:
    paddle = text(ds, "PaddleDescription").upper()
    if SPOT_PADDLE.search(paddle):
        yield SPOT_COMPRESSION
    if MAGNIFYING_PADDLE.search(paddle):
        yield MAGNIFICATION
    regions = [
        region
        for keyword in ("AnatomicRegionSequence", "PrimaryAnatomicStructureSequence")
        for item in items(ds, keyword)
        for region in (item, *items(item, "AnatomicRegionModifierSequence"))
    ]
    if (
        "SPECIMEN" in text(ds, "BodyPartExamined").upper()
        or items(ds, "SpecimenDescriptionSequence")
        or any(code_value(region) == SPECIMEN for region in regions)
        or any("SPECIMEN" in text(region, "CodeMeaning").upper() for region in regions)
    ):
        yield SPECIMEN


def partial_view(ds: Dataset) -> bool | None:
    """Partial View; a section named in Partial View Code Sequence is one whatever that says."""
    if items(ds, "PartialViewCodeSequence"):
        return True
    return {"YES": True, "NO": False}.get(text(ds, "PartialView").upper())


def stated_magnification(ds: Dataset) -> float | None:
    """Estimated Radiographic Magnification Factor; None where it is absent or beyond belief."""
    found = numbers(ds, "EstimatedRadiographicMagnificationFactor")
    return next((x for x in found if 0 < x < 10), None)


def magnification_by_distance(ds: Dataset) -> float | None:
    """Source to detector over source to breast (PS3.3 C.8.7.5); None where they tell nothing."""
    low, high = BELIEVABLE_DISTANCE_MM
    detector, breast = (
        next(iter(numbers(ds, keyword)), math.nan)
        for keyword in ("DistanceSourceToDetector", "DistanceSourceToPatient")
    )
    if not (low <= detector <= high and 0 < breast <= detector):
        return None
    factor = detector / breast
    return factor if factor <= LARGEST_MAGNIFICATION else None


def magnification(ds: Dataset) -> float:
    """The larger of what is stated and what the distances give; 1.0 where neither tells."""
    found = (stated_magnification(ds), magnification_by_distance(ds))
    return max((x for x in found if x is not None), default=1.0)
