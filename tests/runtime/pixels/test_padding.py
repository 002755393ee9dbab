"""Pixel padding is what Pixel Representation and the stored bits allow it to be."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from runtime.dicom.part10_reader import read_dicom_file
from runtime.dicom.stored_image import IMAGE_TAGS, open_image
from runtime.dicom_header.attributes import pixel_value
from runtime.image.reasons import Remark
from runtime.pixels.decoding import register_decoders
from runtime.pixels.mammogram import load_mammogram
from tests.support.synthetic import mammogram_dataset, write

SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def padded(value, limit=None, *, signed=False):
    """A view of 12 bits with a burnt-out spot and the given padding."""
    ds = mammogram_dataset(rows=64, columns=48, signed=signed)
    kind = "<i2" if signed else "<u2"
    pixels = np.frombuffer(ds.PixelData, kind).reshape(64, 48).copy()
    pixels[20:30, 5:15] = 2047 if signed else 4095
    ds.PixelData = pixels.tobytes()
    vr = "SS" if signed else "US"
    ds.add_new("PixelPaddingValue", vr, value)
    if limit is not None:
        ds.add_new("PixelPaddingRangeLimit", vr, limit)
    return ds


def loaded(ds, folder, syntax=ExplicitVRLittleEndian):
    register_decoders()
    return load_mammogram(open_image(write(ds, folder / "image", transfer_syntax=syntax)))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("value", "limit"), [(-2048, None), (-2048, -2000)])
def test_signed_padding_leaves_burnt_out_tissue_white(value, limit, syntax, tmp_path):
    """PS3.5 A.1: implicit VR tells no VR; read as unsigned, -2048 was the brightest value."""
    found = loaded(padded(value, limit, signed=True), tmp_path, syntax)
    assert int(found.pixels[25, 10]) == 4095
    assert Remark.PADDING_IGNORED not in found.remarks


@pytest.mark.parametrize(
    ("value", "limit", "signed"),
    [
        (65535, None, False),
        (4096, None, False),
        (0, 65535, False),
        (-32768, None, True),
        (2048, None, True),
    ],
)
def test_a_value_beyond_the_stored_bits_is_ignored_with_a_remark(value, limit, signed, tmp_path):
    """Clamped, it would be the brightest or the darkest pixel."""
    found = loaded(padded(value, limit, signed=signed), tmp_path)
    assert int(found.pixels[25, 10]) == 4095
    assert Remark.PADDING_IGNORED in found.remarks


def test_padding_that_can_occur_is_made_dark_with_a_remark_where_it_is_bright(tmp_path):
    """The brightest value as padding, as its file says."""
    found = loaded(padded(4095), tmp_path)
    assert int(found.pixels[25, 10]) < 4095
    assert found.remarks == (Remark.PADDING_DARKENED,)


@pytest.mark.parametrize(("value", "limit", "signed"), [(900, 2000, False), (0, -1100, True)])
def test_padding_among_the_images_own_values_marks_no_pixel(value, limit, signed, tmp_path):
    """PS3.3 C.7.5.1.1.2: outside of the range of the image's pixels, or tissue would be black."""
    found = loaded(padded(value, limit, signed=signed), tmp_path)
    (tmp_path / "plain").mkdir()
    plain = loaded(padded(-2048 if signed else 0, signed=signed), tmp_path / "plain")
    assert (found.pixels == plain.pixels).all()
    assert found.remarks == (Remark.PADDING_IGNORED,)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("value", [-1, -2048, 5])
def test_one_reader_for_all_of_us_or_ss(value, syntax, tmp_path):
    """From the bytes of a file and from a data set alike."""
    ds = padded(value, signed=True)
    with write(ds, tmp_path / "image", transfer_syntax=syntax).open("rb") as stream:
        elements = read_dicom_file(stream, IMAGE_TAGS).elements
    assert pixel_value(elements, "PixelPaddingValue", signed=True) == value
    assert pixel_value(ds, "PixelPaddingValue", signed=True) == value
    assert pixel_value(ds, "PixelPaddingRangeLimit", signed=True) is None
