"""Two files under one SOP Instance UID: do they hold the same pixels, and what else differs?"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime.dicom.stored_image import open_image
from runtime.image.header import HeaderRefusedError
from runtime.image.outcome import PixelComparison
from runtime.pixels.decoding import decoded
from runtime.pixels.mammogram import mammogram_from
from runtime.pixels.pixel_format import PixelsRefusedError
from runtime.worker.file_check import bytes_found

if TYPE_CHECKING:
    from typing import Any

    from runtime.image.header import ImageHeader
    from runtime.image.outcome import Job
    from runtime.pixels.mammogram import Mammogram
    from runtime.pixels.pixel_format import PixelLimits

DIFFERENT = PixelComparison(same_pixels=False)
ENCODING = {"transfer_syntax_uid", "lossy"}
"""Of a header: how the pixels travelled. What they lost shows in the pixels."""
DISPLAY = (
    "bits_stored",
    "monochrome1",
    "pixel_spacing_mm",
    "rescale_slope",
    "rescale_intercept",
    "windows",
    "intensity_sign",
)


def compare(job: Job, limits: PixelLimits) -> PixelComparison:
    """Compares the two images of a job after decoding; what cannot be decoded is different."""
    if any(bytes_found(Path(image.path)) != image.answered for image in job.images):
        return DIFFERENT
    try:
        images = [open_image(Path(image.path)) for image in job.images]
        # Volumes are not judged: the first frame would speak for all of them.
        if any(image.header.frames > 1 for image in images):
            return DIFFERENT
        pixels = [decoded(image, limits).pixels for image in images]
        if not np.array_equal(pixels[0], pixels[1]):
            return DIFFERENT
        first, second = (
            mammogram_from(image.file.elements, stored, image.header)
            for image, stored in zip(images, pixels, strict=True)
        )
    except (HeaderRefusedError, PixelsRefusedError):
        return DIFFERENT
    return PixelComparison(same_pixels=True, changed=_changed(first, second))


def _changed(first: Mammogram, second: Mammogram) -> tuple[str, ...]:
    """The facts that a judgement rests on and that are not the same, by name."""
    names = [field.name for field in fields(first.header) if field.name not in ENCODING]
    one, other = (_facts(mammogram.header, names) for mammogram in (first, second))
    shown, shown_otherwise = (_facts(mammogram, DISPLAY) for mammogram in (first, second))
    found = [name for name in names if one[name] != other[name]]
    found += [name for name in DISPLAY if shown[name] != shown_otherwise[name]]
    if _tables(first) != _tables(second):
        found.append("voi_luts")
    if not np.array_equal(first.pixels, second.pixels):
        found.append("padding_or_modality_lut")
    return tuple(dict.fromkeys(found))


def _facts(of: ImageHeader | Mammogram, names: list[str] | tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}


def _tables(mammogram: Mammogram) -> list[tuple[int, int, bytes]]:
    return [(table.first, table.bits, table.entries.tobytes()) for table in mammogram.voi_luts]
