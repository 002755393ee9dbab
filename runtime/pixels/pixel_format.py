"""How the pixels of an image are laid out, and how large an image may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.errors import PeerError
from runtime.dicom_header.attributes import frame_count, integer, text
from runtime.image.reasons import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset


class PixelsRefusedError(PeerError):
    """Pixels that cannot be had: damaged, of a kind that is not read, or too many.

    Attributes:
        reason: UNDECODABLE, UNSUPPORTED_PIXELS or TOO_LARGE.
        detail: what was wrong, without any value that could identify a patient.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, kw_only=True)
class PixelLimits:
    """What is decoded at most.

    The largest detector has 26 megapixels (4915 x 5355), the finest film scanner of a 24 x 30 cm
    film at 43.5 micrometres 38.
    """

    pixels: int = 60_000_000
    """Rows times columns."""


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """The Image Pixel module (PS3.3 C.7.6.3) of a single gray image."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    monochrome1: bool

    @property
    def lowest(self) -> int:
        """The lowest stored value that there can be."""
        return -(2 ** (self.bits_stored - 1)) if self.signed else 0

    @property
    def said(self) -> str:
        """The layout in words."""
        kind = "signed" if self.signed else "unsigned"
        return (
            f"{self.rows} x {self.columns}, {self.bits_stored} of {self.bits_allocated} bits,"
            f" high bit {self.high_bit}, {kind}"
        )

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The element type as stored, native byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame."""
        return self.rows * self.columns * self.bits_allocated // 8

    def to_unsigned(self, stored: NDArray[np.generic]) -> NDArray[np.uint16]:
        """Stored values as uint16 in 0..2**bits_stored-1, read-only; signed ones are shifted up.

        Args:
            stored: rows x columns, of `dtype` or wider.

        Unused bits are dropped: they may hold an overlay, or the sign (PS3.5 8.1.1).
        """
        top = 2**self.bits_stored - 1
        pixels = stored.view(np.dtype(f"u{stored.dtype.itemsize}"))
        shift = self.high_bit + 1 - self.bits_stored
        if shift > 0:
            pixels = pixels >> shift
        if stored.dtype.itemsize == 1:
            pixels = pixels.astype(np.uint16)
        if self.bits_stored < 8 * pixels.dtype.itemsize and int(pixels.max()) > top:
            pixels = pixels & top
        if self.signed:
            # Two's complement of n bits, plus 2**(n-1), is the same word with its sign bit turned.
            pixels = pixels ^ (1 << (self.bits_stored - 1))
        unsigned = pixels.astype(np.uint16, copy=False)
        unsigned.flags.writeable = False
        return unsigned


def pixel_format(ds: Dataset, limits: PixelLimits) -> PixelFormat:
    """The layout that `ds` announces.

    Raises:
        PixelsRefusedError: colour, more than one frame, odd bit depths, no or too many pixels.
    """
    rows, columns = integer(ds, "Rows"), integer(ds, "Columns")
    allocated, stored = integer(ds, "BitsAllocated"), integer(ds, "BitsStored")
    photometric = text(ds, "PhotometricInterpretation").upper()
    if rows < 1 or columns < 1:
        raise PixelsRefusedError(Reason.UNDECODABLE, f"{rows} rows and {columns} columns")
    if rows * columns > limits.pixels:
        raise PixelsRefusedError(
            Reason.TOO_LARGE, f"{rows} x {columns} pixels are more than {limits.pixels}"
        )
    if integer(ds, "SamplesPerPixel", 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise PixelsRefusedError(Reason.UNSUPPORTED_PIXELS, "the image is not gray")
    frames = frame_count(ds)
    if frames != 1:
        what = "more than one frame" if frames else "Number of Frames (0028,0008) counts nothing"
        raise PixelsRefusedError(Reason.UNSUPPORTED_PIXELS, what)
    high_bit = integer(ds, "HighBit", stored - 1)
    if (
        allocated not in (8, 16)
        or not 2 <= stored <= allocated
        or not stored <= high_bit + 1 <= allocated
    ):
        raise PixelsRefusedError(
            Reason.UNSUPPORTED_PIXELS, f"{stored} bits stored in {allocated}, high bit {high_bit}"
        )
    return PixelFormat(
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        signed=integer(ds, "PixelRepresentation") == 1,
        monochrome1=photometric == "MONOCHROME1",
    )
