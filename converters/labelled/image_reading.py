"""Images at the bench: DICOM, PNG, JPEG or TIFF, all into the runtime's own `Mammogram`."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from converters.errors import BenchFaultError
from models.errors import OperatorError
from runtime.dicom.stored_image import open_image
from runtime.image.header import HeaderRefusedError, Laterality, View
from runtime.image.reasons import Reason
from runtime.pixels.bare_image import BareImage
from runtime.pixels.mammogram import Mammogram, load_mammogram
from runtime.pixels.pixel_format import PixelLimits, PixelsRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}
IMAGE_SUFFIXES = PICTURE_SUFFIXES | {".dcm", ".dicom"}
DICOMDIR = "DICOMDIR"
"""The directory of a DICOM medium (PS3.10 8.6): DICOM by its prefix, and no image."""
MAXIMUM_FILE_BYTES = 512 * 1024 * 1024
MAX_PIXELS = 64_000_000
SIDES = {"LEFT": "L", "RIGHT": "R"}
"""As CBIS-DDSM's tables write them."""


def images_below(folder: Path) -> Iterator[Path]:
    """The images at any depth, in the order of their names; nothing hidden.

    Links to folders are followed, each folder once, however many links lead to it.
    """
    seen = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(where) / name for name in sorted(files) if not name.startswith("."))
        yield from filter(_is_image, paths)


def _is_image(path: Path) -> bool:
    """By its suffix, else by its content: archives call DICOM files by numbers or by UIDs."""
    if path.name == DICOMDIR or not path.is_file():
        return False
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        with path.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"  # PS3.10 7.1: preamble, then the prefix
    except OSError:
        return not path.suffix  # its reader will say why not


class ImageRefusedError(OperatorError):
    """An image that cannot be used, with the reason's code."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, kw_only=True)
class SideNotes:
    """What is known about an image from outside its file: a CSV's columns, an option."""

    laterality: Laterality | None = None
    view: View | None = None
    pixel_spacing_mm: float | None = None
    bits_stored: int | None = None

    @classmethod
    def of(
        cls,
        laterality: str,
        view: str,
        pixel_spacing_mm: float | None,
        bits_stored: int | None = None,
    ) -> SideNotes:
        """From words as they stand in a CSV; a word that is not known says nothing."""
        side = SIDES.get(laterality, laterality)
        return cls(
            laterality=Laterality(side) if side in tuple(Laterality) else None,
            view=View(view) if view in tuple(View) else None,
            pixel_spacing_mm=pixel_spacing_mm,
            bits_stored=bits_stored,
        )

    def completed(self, other: SideNotes) -> SideNotes:
        """The same, and what only `other` knows."""
        return SideNotes(
            laterality=self.laterality or other.laterality,
            view=self.view or other.view,
            pixel_spacing_mm=self.pixel_spacing_mm or other.pixel_spacing_mm,
            bits_stored=self.bits_stored or other.bits_stored,
        )


def spacing_of(row: Mapping[str, str]) -> float | None:
    """A CSV row's `pixel_spacing_mm`. Raises ValueError: what is wrong with it."""
    written = (row.get("pixel_spacing_mm") or "").strip()
    if not written:
        return None
    try:
        spacing = float(written)
    except ValueError:
        raise ValueError(f"pixel_spacing_mm {written[:40]!r} is no number") from None
    if not 0.0 < spacing < 10.0:
        raise ValueError(f"pixel_spacing_mm {spacing} is not between 0 and 10")
    return spacing


def bits_of(row: Mapping[str, str]) -> int | None:
    """A CSV row's `bits_stored`, 12 or 12.0. Raises ValueError: what is wrong with it."""
    written = (row.get("bits_stored") or "").strip()
    if not written:
        return None
    digits = written.removesuffix(".0")
    if not digits.isdecimal() or not 1 <= int(digits) <= 16:
        raise ValueError(f"bits_stored {written[:40]!r} is no whole number from 1 to 16")
    return int(digits)


def side_notes(folder: Path) -> dict[str, SideNotes]:
    """What `labels.csv` in `folder` says of each file, any of its rows; nothing without one.

    Raises:
        BenchFaultError: the CSV cannot be read, or a spacing or a number of bits is none.
    """
    found: dict[str, SideNotes] = {}
    table = folder / "labels.csv"
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as opened:
            for row in csv.DictReader(opened):
                if name := row.get("file"):
                    notes = SideNotes.of(
                        (row.get("laterality") or "").strip().upper(),
                        (row.get("view") or "").strip().upper(),
                        spacing_of(row),
                        bits_of(row),
                    )
                    found[name] = found.get(name, SideNotes()).completed(notes)
    except (OSError, ValueError, csv.Error) as fault:
        raise BenchFaultError([f"{folder.name}/{table.name}: {fault}"]) from fault
    return found


def read_image(path: Path, notes: SideNotes) -> Mammogram:
    """The mammogram in a file; what the file itself does not say is taken from `notes`.

    Raises:
        ImageRefusedError: with the reason that a unit would give.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return _read_picture(path, notes)
    try:
        mammogram = load_mammogram(open_image(path), PixelLimits(pixels=MAX_PIXELS))
    except (HeaderRefusedError, PixelsRefusedError) as fault:
        raise ImageRefusedError(fault.reason, fault.detail) from fault
    return _completed(mammogram, notes)


def _read_picture(path: Path, notes: SideNotes) -> Mammogram:
    try:
        if path.stat().st_size > MAXIMUM_FILE_BYTES:
            raise ImageRefusedError(Reason.TOO_LARGE, f"more than {MAXIMUM_FILE_BYTES} bytes")
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as fault:
        raise ImageRefusedError(Reason.UNREADABLE, str(fault.strerror)) from fault
    # As stored: no turning by EXIF, no reduction of 16 bits to 8.
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(content, flags) if content.size else None
    except cv2.error as fault:
        raise ImageRefusedError(Reason.UNDECODABLE, "OpenCV refuses it") from fault
    if decoded is None:
        raise ImageRefusedError(Reason.UNDECODABLE, "no PNG, JPEG or TIFF that can be decoded")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise ImageRefusedError(Reason.UNSUPPORTED_PIXELS, f"pixels of type {decoded.dtype}")
    if decoded.size > MAX_PIXELS:
        raise ImageRefusedError(Reason.TOO_LARGE, f"{decoded.size} pixels")
    used = int(decoded.max()).bit_length()
    bits_stored = _bits_stored(decoded.dtype.itemsize, used, notes.bits_stored)
    if used > bits_stored:
        detail = f"values of {used} bits, where bits_stored is {bits_stored}"
        raise ImageRefusedError(Reason.UNSUPPORTED_PIXELS, detail)
    spacing = notes.pixel_spacing_mm
    return BareImage(
        pixels=decoded.astype(np.uint16),
        bits_stored=bits_stored,
        laterality=notes.laterality,
        view=notes.view,
        pixel_spacing_mm=None if spacing is None else (spacing, spacing),
    ).mammogram()


def _bits_stored(bytes_a_pixel: int, used: int, told: int | None) -> int:
    """PNG and TIFF have no Bits Stored: 12 or 14 of a detector lie in 16 as they are.

    A picture of 8 bits has 8, whatever is told of the wider ones beside it.
    """
    return 8 if bytes_a_pixel == 1 else told or max(8, used)


def _completed(mammogram: Mammogram, notes: SideNotes) -> Mammogram:
    header, spacing = mammogram.header, mammogram.pixel_spacing_mm
    if spacing is None and notes.pixel_spacing_mm is not None:
        spacing = (notes.pixel_spacing_mm, notes.pixel_spacing_mm)
    header = replace(
        header,
        laterality=header.laterality or notes.laterality,
        view=header.view or notes.view,
        pixel_spacing_mm=spacing,
    )
    return replace(mammogram, header=header, pixel_spacing_mm=spacing)
