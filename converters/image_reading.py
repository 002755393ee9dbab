"""Images at the bench: DICOM, PNG, JPEG or TIFF, all into the runtime's own `Mammogram`."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from converters.errors import BenchFaultError
from runtime.image_header import HeaderRefusedError, Laterality, View
from runtime.mammogram import Mammogram, load_mammogram
from runtime.picture import Picture
from runtime.pixel_format import PixelsRefusedError
from runtime.reasons import Reason
from runtime.stored_image import open_image

if TYPE_CHECKING:
    from pathlib import Path

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}
IMAGE_SUFFIXES = PICTURE_SUFFIXES | {".dcm", ".dicom"}
MAXIMUM_FILE_BYTES = 512 * 1024 * 1024
MAX_PIXELS = 64_000_000
SIDES = {"LEFT": "L", "RIGHT": "R"}
"""As CBIS-DDSM's tables write them."""


def is_image(path: Path) -> bool:
    """Whether a file is one by its name, or a DICOM file without a suffix; no hidden one."""
    if path.name.startswith(".") or not path.is_file():
        return False
    if path.suffix:
        return path.suffix.lower() in IMAGE_SUFFIXES
    try:
        # Archives keep DICOM files under bare numbers (PS3.10 7.1: preamble, then the prefix).
        with path.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


class ImageRefusedError(Exception):
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


def side_notes(folder: Path) -> dict[str, SideNotes]:
    """What `labels.csv` in `folder` says of each file; nothing where there is none.

    Raises:
        BenchFaultError: the CSV cannot be read, or a spacing or a number of bits is no number.
    """
    table = folder / "labels.csv"
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as opened:
            return {
                row["file"]: SideNotes.of(
                    row.get("laterality") or "",
                    row.get("view") or "",
                    float(row["pixel_spacing_mm"]) if row.get("pixel_spacing_mm") else None,
                    int(row["bits_stored"]) if row.get("bits_stored") else None,
                )
                for row in csv.DictReader(opened)
                if row.get("file")
            }
    except (OSError, ValueError, csv.Error) as fault:
        raise BenchFaultError([f"{folder.name}/{table.name}: {fault}"]) from fault


def read_image(path: Path, notes: SideNotes) -> Mammogram:
    """The mammogram in a file; what the file itself does not say is taken from `notes`.

    Raises:
        ImageRefusedError: with the reason that a unit would give.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return _read_picture(path, notes)
    try:
        mammogram = load_mammogram(open_image(path))
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
    bits_stored = notes.bits_stored or _bits_of(decoded.dtype.itemsize, used)
    if used > bits_stored:
        detail = f"values of {used} bits, where bits_stored is {bits_stored}"
        raise ImageRefusedError(Reason.UNSUPPORTED_PIXELS, detail)
    spacing = notes.pixel_spacing_mm
    return Picture(
        pixels=decoded.astype(np.uint16),
        bits_stored=bits_stored,
        laterality=notes.laterality,
        view=notes.view,
        pixel_spacing_mm=None if spacing is None else (spacing, spacing),
    ).mammogram()


def _bits_of(bytes_a_pixel: int, used_bits: int) -> int:
    """PNG and TIFF have no Bits Stored: 12 or 14 of a detector lie in 16 as they are."""
    return max(8, used_bits) if bytes_a_pixel > 1 else 8


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
