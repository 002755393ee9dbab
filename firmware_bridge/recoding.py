"""The pixels of an image in another transfer syntax, for benches and simulated units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    Encoder = Callable[[NDArray[np.generic], int], bytes]


class UnknownTransferSyntaxError(ValueError):
    """We cannot write that."""


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """How a compressed transfer syntax is written. `encode` takes pixels and bits stored."""

    encode: Encoder
    max_bits: int = 16
    lossy_method: str = ""
    """Defined term of (0028,2114), PS3.3 C.7.6.1.1.5; "" if it is lossless."""


def _rle(pixels: NDArray[np.generic], bits: int) -> bytes:
    # imagecodecs decodes DICOM's RLE but does not write it.
    return get_encoder(RLELossless).encode(
        pixels,
        encoding_plugin="pydicom",
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        number_of_frames=1,
        samples_per_pixel=1,
        bits_allocated=8 * pixels.itemsize,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )


def _jpeg_lossless(pixels: NDArray[np.generic], bits: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits))


def _jpeg_2000(pixels: NDArray[np.generic], bits: int, *, level: int = 0) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            pixels, level, codecformat="J2K", reversible=level == 0, bitspersample=bits
        )
    )


def _ht(pixels: NDArray[np.generic], bits: int) -> bytes:
    del bits
    return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))


_CODESTREAMS: dict[str, Codestream] = {
    RLELossless: Codestream(encode=_rle),
    JPEGLossless: Codestream(encode=_jpeg_lossless),
    JPEGLosslessSV1: Codestream(encode=_jpeg_lossless),
    JPEGLSLossless: Codestream(encode=lambda p, _: bytes(imagecodecs.jpegls_encode(p, 0))),
    JPEGLSNearLossless: Codestream(
        encode=lambda p, _: bytes(imagecodecs.jpegls_encode(p, 2)), lossy_method="ISO_14495_1"
    ),
    JPEG2000Lossless: Codestream(encode=_jpeg_2000),
    JPEG2000: Codestream(
        encode=lambda p, bits: _jpeg_2000(p, bits, level=60), lossy_method="ISO_15444_1"
    ),
    HTJ2KLossless: Codestream(encode=_ht),
    HTJ2KLosslessRPCL: Codestream(encode=_ht),
    HTJ2K: Codestream(
        encode=lambda p, _: bytes(imagecodecs.htj2k_encode(p, 0.0005, reversible=False)),
        lossy_method="ISO_15444_15",
    ),
    JPEGBaseline8Bit: Codestream(
        encode=lambda p, _: bytes(imagecodecs.jpeg8_encode(p.astype(np.uint8), 95)),
        max_bits=8,
        lossy_method="ISO_10918_1",
    ),
    JPEGExtended12Bit: Codestream(
        encode=lambda p, _: bytes(imagecodecs.jpeg8_encode(p, 95, bitspersample=12)),
        max_bits=12,
        lossy_method="ISO_10918_1",
    ),
}
_NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)


def recode(dataset: Dataset, pixels: NDArray[np.uint16], transfer_syntax_uid: str) -> None:
    """Writes `pixels` into `dataset` in another transfer syntax.

    A syntax that holds fewer bits gets the upper ones, with the window scaled alike.

    Args:
        dataset: one frame, one unsigned sample for each pixel; changed in place.
        pixels: (rows, columns), of `BitsStored` bits.
        transfer_syntax_uid: any native or compressed one of `transfer_syntaxes`.

    Raises:
        UnknownTransferSyntaxError: another one.
    """
    codestream = _CODESTREAMS.get(transfer_syntax_uid)
    if codestream is None and transfer_syntax_uid not in _NATIVE:
        raise UnknownTransferSyntaxError(transfer_syntax_uid)
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    if codestream is None:
        order = ">u2" if transfer_syntax_uid == ExplicitVRBigEndian else "<u2"
        dataset.PixelData = pixels.astype(order).tobytes()
        dataset["PixelData"].VR = "OW"
        return
    samples = _with_bits(dataset, pixels, codestream.max_bits)
    frame = codestream.encode(np.ascontiguousarray(samples), int(dataset.BitsStored))
    dataset.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    dataset["PixelData"].VR = "OB"  # PS3.5 A.4
    if codestream.lossy_method:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionMethod = codestream.lossy_method
        dataset.LossyImageCompressionRatio = f"{samples.nbytes / len(frame):.4g}"


def _with_bits(dataset: Dataset, pixels: NDArray[np.uint16], max_bits: int) -> NDArray[np.generic]:
    drop = max(0, int(dataset.BitsStored) - max_bits)
    if not drop:
        return pixels
    dataset.BitsStored, dataset.HighBit = max_bits, max_bits - 1
    dataset.BitsAllocated = 8 if max_bits == 8 else 16
    for keyword in ("WindowCenter", "WindowWidth"):
        if keyword in dataset:
            setattr(dataset, keyword, float(dataset[keyword].value) / 2**drop)
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
        if keyword in dataset:
            setattr(dataset, keyword, int(dataset[keyword].value) >> drop)
    return (pixels >> drop).astype(np.uint8 if max_bits == 8 else np.uint16)
