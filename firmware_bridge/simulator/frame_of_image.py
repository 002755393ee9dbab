"""A DICOM image -> the `exposure` and the `frame` that a firmware would have said of it.

The other way round than `../frame_object/dicom_object.py`; for simulated units, whose images are
files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_bridge.frame_object.dicom_object import MODIFIERS
from firmware_bridge.frame_protocol.messages import (
    VERSION,
    Exposure,
    Frame,
    Intent,
    Laterality,
    Modifier,
    Technique,
    View,
    Window,
)
from models.errors import OperatorError
from runtime.dicom.stored_image import open_image
from runtime.image import header as image_header
from runtime.image.header import HeaderRefusedError
from runtime.image.view_codes import MAGNIFICATION
from runtime.pixels.decoding import register_decoders
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.pixel_format import PixelsRefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.image.header import ImageHeader
    from runtime.pixels.mammogram import Mammogram

MODIFIER_OF_CODE = {code: modifier for modifier, (code, _meaning) in MODIFIERS.items()}
# Invented, and the same for each: nobody is exposed, and the header reader keeps no technique.
TECHNIQUE = Technique(kvp=28.0, mas=63.0, target="TUNGSTEN", filter="RHODIUM", thickness_mm=50.0)


class NoFrameError(OperatorError, ValueError):
    """The image cannot be said as a frame. The text says what it lacks."""


@dataclass(frozen=True, kw_only=True)
class SpokenImage:
    """What is said of an image, and the pixels beside it."""

    exposure: Exposure
    frame: Frame
    pixels: bytes
    """rows x columns x uint16, little endian."""


def spoken(path: Path, *, instance_number: int) -> SpokenImage:
    """The image in the file at `path`, decoded.

    Raises:
        NoFrameError: no single gray image, or no side, view or spacing.
    """
    register_decoders()
    try:
        image = load_mammogram(open_image(path))
    except (HeaderRefusedError, PixelsRefusedError) as refused:
        raise NoFrameError(str(refused)) from refused
    header = image.header
    if header.laterality is None or header.view in (None, image_header.View.OTHER):
        raise NoFrameError(f"side or view: {header.view_code}")
    if image.pixel_spacing_mm is None or image.bits_stored < 8:
        raise NoFrameError("pixel spacing or bits stored")
    laterality, view = Laterality(header.laterality), View(str(header.view))
    rows, columns = image.pixels.shape
    magnification = max(1.0, header.magnification)
    for_presentation = header.intent is not image_header.PresentationIntent.FOR_PROCESSING
    frame = Frame(
        type="frame",
        version=VERSION,
        id=0,
        study_instance_uid=header.study_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
        instance_number=instance_number,
        laterality=laterality,
        view=view,
        modifiers=_modifiers(header),
        intent=Intent.FOR_PRESENTATION if for_presentation else Intent.FOR_PROCESSING,
        rows=rows,
        columns=columns,
        bits_stored=image.bits_stored,
        monochrome1=image.monochrome1,
        window=_window(image) if for_presentation else None,
        pixel_spacing_mm=_at_the_detector(image.pixel_spacing_mm, magnification),
        magnification_factor=magnification,
        acquired_at=header.acquired_at,
        implant=header.implant,
        partial_view=bool(header.partial_view),
        quality_control=header.quality_control,
        technique=TECHNIQUE,
    )
    exposure = Exposure(
        type="exposure",
        version=VERSION,
        id=0,
        study_instance_uid=header.study_instance_uid,
        laterality=laterality,
        view=view,
        technique=TECHNIQUE,
    )
    return SpokenImage(
        exposure=exposure, frame=frame, pixels=image.pixels.astype("<u2", copy=False).tobytes()
    )


def _at_the_detector(at_the_breast_mm: tuple[float, float], factor: float) -> tuple[float, float]:
    """The header reader gives spacing at the breast (PS3.3 10.7.1.3)."""
    row_mm, column_mm = at_the_breast_mm
    return row_mm * factor, column_mm * factor


def _modifiers(header: ImageHeader) -> tuple[Modifier, ...]:
    """Those that the socket has a word for; a magnified view says so in words too."""
    codes = [*header.modifiers, *([MAGNIFICATION] if header.magnified else [])]
    found = dict.fromkeys(MODIFIER_OF_CODE[code] for code in codes if code in MODIFIER_OF_CODE)
    return tuple(found)


def _window(image: Mammogram) -> Window:
    """The image's first window in stored values; everything that there can be where it has none.

    The socket knows linear windows only: the shape of a curve (SIGMOID, a table) is lost.
    """
    if not image.windows:
        return Window(center=float(2 ** (image.bits_stored - 1)), width=float(2**image.bits_stored))
    window = image.windows[0]
    return Window(
        center=(window.center - image.rescale_intercept) / image.rescale_slope,
        width=max(1.0, window.width / abs(image.rescale_slope)),
    )
