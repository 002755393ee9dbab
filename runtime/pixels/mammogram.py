"""A mammogram with its pixels, and what it takes to display them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from runtime.dicom_header.attributes import integer
from runtime.image.reasons import Remark
from runtime.image.witness import Use, Witness, remarks_of
from runtime.pixels.display_facts import display_facts
from runtime.pixels.padding import without_padding
from runtime.pixels.pixel_format import PixelLimits, pixel_format
from runtime.pixels.voi_lut import LookupTable, VoiWindow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from runtime.dicom.stored_image import StoredImage
    from runtime.image.header import ImageHeader
    from runtime.pixels.codestream import CodestreamHeader
    from runtime.pixels.display_facts import DisplayFacts
    from runtime.pixels.pixel_format import PixelFormat


@dataclass(frozen=True, kw_only=True, eq=False)
class Mammogram:
    """One image, ready to be judged.

    `pixels` are the stored values as unsigned numbers; `modality_values` leads from them to the
    values that windows count in. Overlays play no part.
    """

    header: ImageHeader
    pixels: NDArray[np.uint16]
    """rows x columns, 0 to 2**bits_stored-1, read-only. Padding has the darkest value."""
    bits_stored: int
    monochrome1: bool
    pixel_spacing_mm: tuple[float, float] | None
    """(row, column) spacing."""
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    """Modality value = pixel * slope + intercept; undoes the shift of signed pixels as well."""
    windows: tuple[VoiWindow, ...] = ()
    """Those that can be used, the first is the unit's own choice."""
    voi_luts: tuple[LookupTable, ...] = ()
    """The first of the sequence, where it can be used; it goes before the windows."""
    intensity_sign: int = 0
    """Pixel Intensity Relationship Sign: 1, low values are little X-ray intensity; -1; 0 unsaid."""
    witnesses: tuple[Witness, ...] = ()
    """Who said what of its pixels and their display."""

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What of it a reader of the score is told."""
        return remarks_of(self.witnesses)

    def modality_values(self) -> NDArray[np.float64]:
        """The modality value of each possible pixel, 2**bits_stored of them."""
        return (
            np.arange(2**self.bits_stored, dtype=np.float64) * self.rescale_slope
            + self.rescale_intercept
        )

    def modality_range(self) -> tuple[float, float]:
        """The lowest and the highest modality value that a pixel can have."""
        ends = (0.0, (2**self.bits_stored - 1) * self.rescale_slope)
        return min(ends) + self.rescale_intercept, max(ends) + self.rescale_intercept


def load_mammogram(image: StoredImage, limits: PixelLimits | None = None) -> Mammogram:
    """Decodes `image` and reads how it is to be displayed.

    Raises:
        PixelsRefusedError: damaged or absent pixels, kinds that are not read, too many.
    """
    from runtime.pixels.decoding import decoded

    found = decoded(image, limits)
    lost = found.codestream is not None and found.codestream.lossy
    header = replace(image.header, lossy=True) if lost else image.header
    return mammogram_from(
        image.file.elements, found.pixels, header, codestream=found.codestream, places=image.places
    )


def mammogram_from(
    ds: Dataset,
    pixels: NDArray[np.uint16],
    header: ImageHeader,
    *,
    codestream: CodestreamHeader | None = None,
    places: Mapping[str, str] | None = None,
) -> Mammogram:
    """The mammogram of a data set and its decoded `pixels` (`PixelFormat.to_unsigned`).

    Args:
        ds: the data set.
        pixels: rows x columns.
        header: of the image.
        codestream: what the pixels' codestream says of itself, if they had one.
        places: keyword to functional group, of elements that came from one.

    Raises:
        PixelsRefusedError: the Image Pixel module is not one of a gray image.
    """
    layout = pixel_format(ds, PixelLimits(pixels=pixels.size))
    facts = display_facts(ds, layout, places or {})
    pixels, of_padding = without_padding(ds, pixels, layout, bright_is_low=facts.falls)
    if facts.modality_lut is not None:
        values = np.arange(2**layout.bits_stored, dtype=np.float64) + layout.lowest
        pixels = _looked_up(pixels, facts.modality_lut.look_up(values))
    pixels.flags.writeable = False
    return Mammogram(
        header=header,
        pixels=pixels,
        bits_stored=facts.bits,
        monochrome1=layout.monochrome1,
        pixel_spacing_mm=header.pixel_spacing_mm,
        rescale_slope=facts.slope,
        rescale_intercept=facts.intercept,
        windows=facts.windows,
        voi_luts=facts.voi_luts,
        intensity_sign=integer(ds, "PixelIntensityRelationshipSign"),
        witnesses=(
            Witness(about="pixels", source="Image Pixel module", said=layout.said),
            *_of_compression(header, codestream, layout),
            *facts.witnesses,
            *_of_unused_bits(facts, pixels),
            *of_padding,
        ),
    )


def _of_compression(
    header: ImageHeader, codestream: CodestreamHeader | None, layout: PixelFormat
) -> Iterator[Witness]:
    lossy = Remark.LOSSY_COMPRESSION if header.lossy else None
    by_itself = codestream is not None and codestream.lossy
    if codestream is not None:
        remark = lossy if by_itself else None
        yield Witness(about="pixels", source="codestream", said=codestream.said, remark=remark)
        if codestream.signed is False and layout.signed:
            yield Witness(
                about="pixels",
                source="codestream",
                said="unsigned",
                use=Use.CONTRADICTS,
                why="PixelRepresentation says signed: taken as two's complement",
                remark=Remark.PIXEL_SIGN_CONTRADICTS,
            )
    if lossy and not by_itself:
        source = "LossyImageCompression, TransferSyntaxUID"
        yield Witness(about="compression", source=source, said="lossy", remark=lossy)


def _of_unused_bits(facts: DisplayFacts, pixels: NDArray[np.uint16]) -> Iterator[Witness]:
    """Where nothing but the range of stored values makes black and white."""
    if facts.voi_luts or facts.windows:
        return
    used = int(pixels.max()) - int(pixels.min())
    # As with a VOI LUT: one bit less is a picture that is dark or bright for its own reasons.
    if used.bit_length() < facts.bits - 1:
        said = f"values over {used.bit_length()} of {facts.bits} bits"
        yield Witness(about="pixels", source="PixelData", said=said, remark=Remark.BITS_UNUSED)


def _looked_up(pixels: NDArray[np.uint16], table: NDArray[np.uint16]) -> NDArray[np.uint16]:
    full = np.full(1 << 16, table[-1], np.uint16)
    full[: table.size] = table
    return np.asarray(cv2.LUT(pixels, full), np.uint16)
