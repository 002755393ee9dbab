"""From a stored image to its pixels, by the fastest decoder for its transfer syntax.

Native pixels are mapped from the file, not read. Encapsulated ones go through pydicom, which knows
fragments and offset tables, to our plugin for its decoders (`runtime.pixels.imagecodecs_plugin`).
"""

from __future__ import annotations

import logging
import struct
import zlib
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from runtime.dicom.part10_reader import (
    DEFLATED,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
)
from runtime.image.reasons import Reason
from runtime.pixels import imagecodecs_plugin
from runtime.pixels.pixel_format import PixelFormat, PixelLimits, PixelsRefusedError, pixel_format

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.dicom.stored_image import StoredImage

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


def decode(image: StoredImage, limits: PixelLimits | None = None) -> NDArray[np.uint16]:
    """The stored values of `image`, unsigned (`PixelFormat.to_unsigned`).

    Args:
        image: of `open_image`; its file must still be there.
        limits: how large an image may be; checked before anything is allocated.

    Returns:
        rows x columns, read-only; may be a view of the mapped file.

    Raises:
        PixelsRefusedError: damaged or absent pixels, kinds that are not read, too many.
    """
    layout = pixel_format(image.file.elements, limits or PixelLimits())
    if image.file.pixels is None:
        raise PixelsRefusedError(Reason.UNDECODABLE, "the file has no pixel data")
    syntax = image.file.transfer_syntax_uid
    if syntax in NATIVE_SYNTAXES:
        stored = _native(image, layout)
    elif syntax in imagecodecs_plugin.DECODER_DEPENDENCIES:
        stored = _encapsulated(image, layout)
    else:
        raise PixelsRefusedError(
            Reason.UNSUPPORTED_PIXELS, f"no decoder for the transfer syntax {syntax}"
        )
    return layout.to_unsigned(stored)


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


def _encapsulated(image: StoredImage, layout: PixelFormat) -> NDArray[np.generic]:
    place = image.file.pixels
    assert place is not None  # noqa: S101  decode() has checked it
    try:
        with image.path.open("rb") as stream:
            stream.seek(place.offset)
            # validate=False: pydicom's validation warns about what we check ourselves.
            buffer, found = get_decoder(UID(image.file.transfer_syntax_uid)).as_buffer(
                stream,
                index=0,
                validate=False,
                decoding_plugin=imagecodecs_plugin.LABEL,
                rows=layout.rows,
                columns=layout.columns,
                number_of_frames=1,
                samples_per_pixel=1,
                bits_allocated=layout.bits_allocated,
                bits_stored=layout.bits_stored,
                pixel_representation=int(layout.signed),
                photometric_interpretation="MONOCHROME2",
                pixel_keyword="PixelData",
            )
    except CODESTREAM_FAULTS as fault:
        raise PixelsRefusedError(
            Reason.UNDECODABLE, f"the codestream cannot be decoded ({fault.__class__.__name__})"
        ) from fault
    element = np.dtype(f"u{int(found['bits_allocated']) // 8}")
    return np.frombuffer(buffer, element).reshape(layout.rows, layout.columns)
