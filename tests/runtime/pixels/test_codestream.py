"""The codestream's own word against the header's: made one, or refused, never shown otherwise."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from runtime.dicom.stored_image import open_image
from runtime.image.reasons import Reason, Remark
from runtime.pixels.codestream import read_codestream
from runtime.pixels.decoding import decode, register_decoders
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.pixel_format import PixelsRefusedError
from tests.support.synthetic import breast_pixels, mammogram_dataset, write

SIZE = {"rows": 96, "columns": 61}
PIXELS = breast_pixels(**SIZE)
"""12 bits, as words of 16."""


@pytest.fixture(autouse=True, scope="module")
def _registered():
    register_decoders()


def j2k(pixels, bits, **options) -> bytes:
    """A raw codestream of that precision."""
    options = {"reversible": True, "level": 0} | options
    return bytes(
        imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", bitspersample=bits, **options)
    )


def labelled(stream, syntax, folder, *, bits=12, high_bit=None, signed=False):
    """A file with that codestream under that label, and what its header says of the words."""
    ds = mammogram_dataset(pixels=PIXELS)
    path = write(ds, folder / "image", transfer_syntax=ExplicitVRLittleEndian)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.BitsStored, ds.HighBit = bits, bits - 1 if high_bit is None else high_bit
    ds.PixelRepresentation = int(signed)
    ds.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.save_as(path, enforce_file_format=True)
    return path


def why(path) -> Reason:
    """Why its pixels are refused."""
    with pytest.raises(PixelsRefusedError) as refused:
        decode(open_image(path))
    return refused.value.reason


WORD = PIXELS.astype(np.int16)


@pytest.mark.parametrize(
    ("stream", "word"),
    [
        (lambda: j2k(PIXELS, 12), (12, False, False)),
        (lambda: j2k(WORD, 16), (16, True, False)),
        (lambda: j2k(PIXELS, 12, reversible=False, level=60), (12, False, True)),
        (lambda: bytes(imagecodecs.jpegls_encode(PIXELS)), (16, None, False)),
        (lambda: bytes(imagecodecs.jpegls_encode(PIXELS, 2)), (16, None, True)),
        (lambda: bytes(imagecodecs.ljpeg_encode(PIXELS, bitspersample=12)), (12, None, False)),
        (
            lambda: bytes(imagecodecs.jpeg8_encode((PIXELS >> 4).astype(np.uint8), level=90)),
            (8, None, True),
        ),
    ],
    ids=["j2k", "signed", "irreversible", "jpeg-ls", "near-lossless", "lossless", "baseline"],
)
def test_depth_sign_and_loss_are_read_off_the_headers(stream, word):
    """SOF, SOS, SIZ and COD of each family; only SIZ tells a sign."""
    said = read_codestream(stream())
    assert (said.rows, said.columns) == PIXELS.shape
    assert (said.precision_bits, said.signed, said.lossy) == word


@pytest.mark.parametrize("high_bit", [11, 15])
def test_a_codestream_of_twelve_bits_is_not_shifted(tmp_path, high_bit):
    """High Bit tells of native words; the samples of a codestream lie where its precision ends."""
    path = labelled(j2k(PIXELS, 12), JPEG2000Lossless, tmp_path, high_bit=high_bit)
    assert np.array_equal(decode(open_image(path)), PIXELS)


def test_samples_that_are_shifted_are_shifted_back(tmp_path):
    """High Bit 15 and a codestream of 16 bits that holds the words as they stood in the file."""
    stream = bytes(imagecodecs.jpegls_encode((PIXELS << 4).astype(np.uint16)))
    path = labelled(stream, JPEGLSLossless, tmp_path, high_bit=15)
    assert np.array_equal(decode(open_image(path)), PIXELS)


def test_words_that_cannot_be_where_the_header_puts_them_are_refused(tmp_path):
    """High Bit 15, and every word below 4096 with its low bits in use: which one is wrong?"""
    stream = bytes(imagecodecs.jpegls_encode(PIXELS))
    assert why(labelled(stream, JPEGLSLossless, tmp_path, high_bit=15)) is Reason.UNSUPPORTED_PIXELS
    ds = mammogram_dataset(pixels=PIXELS)
    ds.HighBit = 15
    native = write(ds, tmp_path / "native", transfer_syntax=ExplicitVRLittleEndian)
    assert why(native) is Reason.UNSUPPORTED_PIXELS


def test_what_a_lossy_codestream_overshoots_stays_white(tmp_path):
    """Above 4095 and below 0 are the ends of the range; a mask would turn white into black."""
    over = PIXELS.copy()
    over[10:20, 10:20] = 4095
    over[30:40, 10:20] = 4200
    stream = j2k(over, 16, reversible=False, level=60)
    found = decode(open_image(labelled(stream, JPEG2000, tmp_path)))
    assert found[32:38, 12:18].min() > 4000
    assert found.max() <= 4095


def test_an_overlay_in_a_lossless_codestream_is_dropped_as_before(tmp_path):
    """Nothing was lost: a bit above the stored ones is no overshoot."""
    drawn = PIXELS.copy()
    drawn[10:20, 10:20] |= 0x1000
    path = labelled(bytes(imagecodecs.jpegls_encode(drawn)), JPEGLSLossless, tmp_path)
    assert np.array_equal(decode(open_image(path)), PIXELS)


@pytest.mark.parametrize(
    ("stream", "syntax", "more"),
    [
        (lambda: j2k(WORD - 100, 16), JPEG2000Lossless, {}),
        (
            lambda: bytes(imagecodecs.jpeg8_encode((PIXELS >> 4).astype(np.uint8), level=90)),
            JPEGBaseline8Bit,
            {},
        ),
        (lambda: j2k(PIXELS >> 2, 10), JPEG2000Lossless, {"signed": True}),
    ],
    ids=["negative samples, unsigned header", "8 bits lossy for 12", "whose sign bit"],
)
def test_what_cannot_be_reconciled_is_refused(tmp_path, stream, syntax, more):
    """No reading follows from both: `unsupported_pixels`, with the two words as its detail."""
    assert why(labelled(stream(), syntax, tmp_path, **more)) is Reason.UNSUPPORTED_PIXELS


def test_a_lossy_codestream_is_remarked_on_whatever_its_label(tmp_path):
    """A baseline JPEG under the label of JPEG Lossless, with Lossy Image Compression absent."""
    eight = (PIXELS >> 4).astype(np.uint8)
    ds = mammogram_dataset(pixels=eight.astype(np.uint16), bits_stored=8)
    ds.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    stream = bytes(imagecodecs.jpeg8_encode(eight, level=95))
    ds.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    path = tmp_path / "image"
    ds.save_as(path, enforce_file_format=True)
    image = open_image(path)
    assert not image.header.lossy
    assert Remark.LOSSY_COMPRESSION in load_mammogram(image).remarks
