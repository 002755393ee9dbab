"""How large a pixel is at the breast, from the attributes that real files carry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runtime.dicom_header.attributes import numbers, text
from runtime.dicom_header.functional_groups import macros
from runtime.dicom_header.view_modifiers import magnification_by_distance, stated_magnification
from runtime.image.witness import Use, Witness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

# No detector and no film scanner of mammography is outside; files that were cut down for tests
# carry a Pixel Spacing of 53.96 mm.
BELIEVABLE_MM = (0.005, 1.0)
# A Pixel Spacing of 1\\1 beside a good Imager Pixel Spacing stands for "not known".
PLACEHOLDER_MM = 0.5
SPACING_KEYWORDS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
BELIEVABLE_MAGNIFICATION = (1.0, 4.0)


def spacings_passed_over(ds: Dataset, source: str) -> Iterator[Witness]:
    """The spacings at the top of a data set that were not taken.

    Args:
        ds: a data set.
        source: where the spacing was taken from (`pixel_spacing`).
    """
    for keyword in SPACING_KEYWORDS:
        found = numbers(ds, keyword)
        if not found or source.startswith(keyword):
            continue
        usable = source and _believable(found)
        yield Witness(
            about="spacing",
            source=keyword,
            said=" x ".join(f"{mm:.4g}" for mm in found[:2]) + " mm",
            use=Use.PASSED_OVER,
            why=f"{source} goes before it" if usable else "beyond belief",
        )


def pixel_spacing(ds: Dataset, *, film: bool) -> tuple[tuple[float, float] | None, str]:
    """(row, column) spacing in mm and the attribute it came from; (None, "") if none is believable.

    PS3.3 10.7.1.3, for projection radiography: Imager Pixel Spacing is at the detector's front;
    Pixel Spacing is at the patient if it was calibrated, and repeats Imager Pixel Spacing if not.
    """
    if film:
        return _first(ds, "PixelSpacing", "NominalScannedPixelSpacing", "ImagerPixelSpacing")
    calibrated = _pair(ds, "PixelSpacing")
    imager = _pair(ds, "ImagerPixelSpacing")
    if imager is not None and calibrated is not None and max(calibrated) >= PLACEHOLDER_MM:
        calibrated = None
    if calibrated is not None and (
        text(ds, "PixelSpacingCalibrationType") in ("FIDUCIAL", "GEOMETRY")
        or (imager is not None and not _same(calibrated, imager))
    ):
        return calibrated, "PixelSpacing"
    if imager is not None:
        for factor, source in (
            (stated_magnification(ds), "EstimatedRadiographicMagnificationFactor"),
            (magnification_by_distance(ds), "DistanceSourceToPatient"),
        ):
            if factor is not None and 1.0 < factor <= BELIEVABLE_MAGNIFICATION[1]:
                at_breast = (imager[0] / factor, imager[1] / factor)
                return at_breast, f"ImagerPixelSpacing/{source}"
            if factor is not None:
                break
        return imager, "ImagerPixelSpacing"
    if calibrated is not None:
        return calibrated, "PixelSpacing"
    return _of_functional_groups(ds)


def _of_functional_groups(ds: Dataset) -> tuple[tuple[float, float] | None, str]:
    """Pixel Measures Sequence of the functional groups (PS3.3 C.7.6.16.2.1)."""
    for measures in macros(ds, "PixelMeasuresSequence"):
        pair = _pair(measures, "PixelSpacing")
        if pair is not None:
            return pair, "PixelMeasuresSequence"
    return None, ""


def _first(ds: Dataset, *keywords: str) -> tuple[tuple[float, float] | None, str]:
    for keyword in keywords:
        pair = _pair(ds, keyword)
        if pair is not None:
            return pair, keyword
    return None, ""


def _pair(ds: Dataset, keyword: str) -> tuple[float, float] | None:
    found = numbers(ds, keyword)
    return (found[0], found[1]) if _believable(found) else None


def _believable(found: tuple[float, ...]) -> bool:
    return len(found) == 2 and all(
        math.isfinite(x) and BELIEVABLE_MM[0] <= x <= BELIEVABLE_MM[1] for x in found
    )


def _same(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(one, other, strict=True))
