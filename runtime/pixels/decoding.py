"""From a stored image to its pixels, by the fastest decoder for its transfer syntax.

Native pixels are mapped from the file, not read. Encapsulated ones are put together by pydicom,
which knows fragments and offset tables, and decoded by `runtime.pixels.imagecodecs_plugin`.
"""

from __future__ import annotations

import logging
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import RLELossless

from runtime.dicom.part10_reader import (
    DEFLATED,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
)
from runtime.image.reasons import Reason
from runtime.pixels import imagecodecs_plugin
from runtime.pixels.codestream import SeveralComponentsError
from runtime.pixels.pixel_format import PixelFormat, PixelLimits, PixelsRefusedError, pixel_format
from runtime.pixels.reconciliation import in_place, reconciled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.dicom.stored_image import StoredImage
    from runtime.pixels.codestream import CodestreamHeader

NATIVE_SYNTAXES = (IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, DEFLATED)
# What pydicom and the codecs raise on a broken codestream; imagecodecs' errors are RuntimeErrors.
CODESTREAM_FAULTS = (
    ValueError,
    RuntimeError,
    EOFError,
    IndexError,
    KeyError,
    AttributeError,
    TypeError,
    NotImplementedError,
    MemoryError,
    struct.error,
    OSError,
)


def register_decoders() -> None:
    """Adds our plugin to pydicom's decoders; called once by each process that decodes.

    Calling it again changes nothing. The one other thing it changes for the process: pydicom's
    decoders log no stack trace for a codestream that they cannot read. Here that is an answer
    (`undecodable`), which travels with the image.
    """
    for syntax in imagecodecs_plugin.DECODER_DEPENDENCIES:
        decoder = get_decoder(syntax)
        if imagecodecs_plugin.LABEL not in decoder.available_plugins:
            decoder.add_plugin(
                imagecodecs_plugin.LABEL, (imagecodecs_plugin.__name__, "decode_frame")
            )
    logging.getLogger("pydicom.pixels.decoders.base").setLevel(logging.CRITICAL)


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Stored values, unsigned (`PixelFormat.to_unsigned`), and what a codestream said of them.

    `codestream`: None for native and run-length pixels, which say nothing of themselves.
    """

    pixels: NDArray[np.uint16]
    codestream: CodestreamHeader | None = None


def decode(image: StoredImage, limits: PixelLimits | None = None) -> NDArray[np.uint16]:
    """The stored values of `image`; arguments and errors as `decoded`."""
    return decoded(image, limits).pixels


def decoded(image: StoredImage, limits: PixelLimits | None = None) -> Decoded:
    """The stored values of `image`, and the word of its codestream.

    Args:
        image: of `open_image`; its file must still be there.
        limits: how large an image may be; checked before anything is allocated.

    Returns:
        `pixels` are rows x columns, read-only; they may be a view of the mapped file.

    Raises:
        PixelsRefusedError: damaged or absent pixels, kinds that are not read, too many, or a
            codestream that contradicts the header.
    """
    layout = pixel_format(image.file.elements, limits or PixelLimits())
    if image.file.pixels is None:
        raise PixelsRefusedError(Reason.UNDECODABLE, "the file has no pixel data")
    syntax = image.file.transfer_syntax_uid
    if syntax in NATIVE_SYNTAXES:
        return Decoded(pixels=layout.to_unsigned(in_place(_native(image, layout), layout)))
    if syntax in imagecodecs_plugin.DECODER_DEPENDENCIES:
        stored, codestream = _encapsulated(image, layout)
    else:
        raise PixelsRefusedError(
            Reason.UNSUPPORTED_PIXELS, f"no decoder for the transfer syntax {syntax}"
        )
    if codestream is None:
        return Decoded(pixels=layout.to_unsigned(in_place(stored, layout)))
    # A wavelet of which layers were dropped is reversible by its own word: the label knows more.
    lossy = codestream.lossy or (syntax in imagecodecs_plugin.WAVELET and image.header.lossy)
    words, layout = reconciled(stored, codestream, layout, lossy=lossy)
    return Decoded(pixels=layout.to_unsigned(words), codestream=codestream)


def _native(image: StoredImage, layout: PixelFormat) -> NDArray[np.generic]:
    """Pixels as they stand in the file (PS3.5 8.2), mapped where nothing has to be changed."""
    place = image.file.pixels
    assert place is not None  # noqa: S101  decode() has checked it
    if place.length is None or place.length < layout.frame_bytes:
        raise PixelsRefusedError(
            Reason.UNDECODABLE, f"{place.length} bytes of pixels, {layout.frame_bytes} announced"
        )
    if image.file.transfer_syntax_uid == DEFLATED:
        found = _inflated(image, place.offset + layout.frame_bytes)[place.offset :]
        flat = np.frombuffer(found, np.uint8, count=len(found))
    else:
        size = image.path.stat().st_size
        count = max(0, min(layout.frame_bytes, size - place.offset))
        flat = (
            np.memmap(image.path, np.uint8, "r", offset=place.offset, shape=(count,))
            if count
            else np.empty(0, np.uint8)
        )
    if flat.size < layout.frame_bytes:
        raise PixelsRefusedError(
            Reason.UNDECODABLE, f"cut off: {flat.size} of {layout.frame_bytes} bytes"
        )
    flat = flat[: layout.frame_bytes]
    big = image.file.transfer_syntax_uid == EXPLICIT_BIG_ENDIAN
    if big and place.vr == "OW" and layout.bits_allocated == 8:
        # Bytes in words of 16 bits, so each pair of pixels is swapped (PS3.5 8.2, annex A.3).
        even = flat[: flat.size // 2 * 2].view(">u2").astype("<u2").view(np.uint8)
        flat = np.concatenate([even, flat[even.size :]])
        big = False
    words = flat.view(np.asarray(flat).dtype).view(layout.dtype.newbyteorder(">" if big else "<"))
    return np.asarray(words, layout.dtype).reshape(layout.rows, layout.columns)


def _inflated(image: StoredImage, needed: int) -> bytes:
    """The first `needed` bytes of a deflated data set, and never much more than those."""
    deflated = image.path.read_bytes()[image.file.data_set_offset :]
    try:
        # libdeflate is twice as fast as zlib, and must know how much room there is: what follows
        # the pixels is small, or else zlib takes over.
        return bytes(imagecodecs.deflate_decode(deflated, raw=True, out=needed + (1 << 16)))
    except imagecodecs.DeflateError:
        pass
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, needed)
    except zlib.error as fault:
        raise PixelsRefusedError(Reason.UNDECODABLE, "the deflated data set is broken") from fault


def _encapsulated(
    image: StoredImage, layout: PixelFormat
) -> tuple[NDArray[np.generic], CodestreamHeader | None]:
    place = image.file.pixels
    assert place is not None  # noqa: S101  decoded() has checked it
    syntax, size = image.file.transfer_syntax_uid, (layout.rows, layout.columns)
    try:
        with image.path.open("rb") as stream:
            stream.seek(place.offset)
            src = get_frame(stream, 0, number_of_frames=1)
        if syntax == RLELossless:
            return imagecodecs_plugin.run_length(src, size, layout.bits_allocated), None
        return imagecodecs_plugin.decode_codestream(src, syntax, size)
    except SeveralComponentsError as fault:
        raise PixelsRefusedError(Reason.UNSUPPORTED_PIXELS, str(fault)) from fault
    except CODESTREAM_FAULTS as fault:
        raise PixelsRefusedError(
            Reason.UNDECODABLE, f"the codestream cannot be decoded ({fault.__class__.__name__})"
        ) from fault
