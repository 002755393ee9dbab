"""Display metadata is used where it makes sense, and its absence is remarked."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from runtime.dicom.stored_image import open_image
from runtime.image.reasons import Remark
from runtime.pixels.decoding import register_decoders
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.voi_lut import LookupTable, VoiWindow, WindowFunction
from tests.support.synthetic import breast_pixels, mammogram_dataset, write

SMALL = {"rows": 96, "columns": 61}


def loaded(ds, tmp_path):
    register_decoders()
    return load_mammogram(open_image(write(ds, tmp_path / "image")))


def lut(count: int, first: int, bits: int, entries) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [count & 0xFFFF, first & 0xFFFF, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return item


@pytest.mark.parametrize(
    ("function", "at", "expected"),
    [
        # PS3.3 C.11.2.1.2.1, note 3: center 2048, width 4096 spans 0 to 4095 exactly.
        ("LINEAR", [0, 2047.5, 4095], [0, 0.5, 1]),
        ("LINEAR_EXACT", [0, 2048, 4096], [0, 0.5, 1]),
        ("SIGMOID", [2048, 2048 + 1024, 2048 - 1024], [0.5, 0.731059, 0.268941]),
    ],
)
def test_window_functions_are_those_of_the_standard(function, at, expected):
    """Values at the ends and the middle, by hand."""
    window = VoiWindow(center=2048, width=4096, function=WindowFunction(function))
    assert window.apply(np.array(at, float)) == pytest.approx(expected, abs=1e-6)


def test_a_window_of_width_one_is_a_threshold():
    """PS3.3 C.11.2.1.2.1: LINEAR with width 1."""
    assert VoiWindow(center=100, width=1).apply(np.array([99.0, 100.0])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("window", "remark"),
    [
        ((2048, 4096), None),
        (None, Remark.WINDOW_MISSING),
        ((2048, 0), Remark.WINDOW_ABSURD),
        ((2048, -5), Remark.WINDOW_ABSURD),
        ((2048, 1e9), Remark.WINDOW_ABSURD),
        ((1e9, 100), Remark.WINDOW_ABSURD),
        ((-5000, 100), Remark.WINDOW_ABSURD),
    ],
)
def test_windows_that_show_nothing_are_not_used(window, remark, tmp_path):
    """Missing, empty, endless, beside the image."""
    found = loaded(mammogram_dataset(window=window, **SMALL), tmp_path)
    assert bool(found.windows) is (remark is None)
    assert found.remarks == (() if remark is None else (remark,))


@pytest.mark.parametrize("word", [b"NaN ", b"inf ", b"abc "])
def test_windows_that_are_no_numbers_are_not_used(word, tmp_path):
    """NaN, infinity and text in Window Width."""
    path = write(mammogram_dataset(window=("2048", "9876"), **SMALL), tmp_path / "image")
    path.write_bytes(path.read_bytes().replace(b"DS\x04\x009876", b"DS\x04\x00" + word))
    register_decoders()
    found = load_mammogram(open_image(path))
    assert found.windows == ()
    assert found.remarks == (Remark.WINDOW_ABSURD,)


def test_the_first_of_several_windows_comes_first(tmp_path):
    """Units list their alternatives after their choice."""
    found = loaded(mammogram_dataset(window=([2653, 2713], [900, 750]), **SMALL), tmp_path)
    assert [w.center for w in found.windows] == [2653, 2713]


def test_signed_pixels_keep_their_meaning(tmp_path):
    """The shift to unsigned is undone on the way to the values that windows count in."""
    pixels = breast_pixels(**SMALL)
    found = loaded(mammogram_dataset(pixels=pixels, signed=True, window=(0, 4096)), tmp_path)
    assert np.array_equal(found.pixels, pixels)
    values = found.modality_values()
    assert (values[0], values[-1]) == (-2048, 2047)


def test_rescale_leads_to_modality_values(tmp_path):
    """Slope and intercept other than the identity."""
    ds = mammogram_dataset(**SMALL)
    ds.RescaleSlope, ds.RescaleIntercept = 2, -100
    values = loaded(ds, tmp_path).modality_values()
    assert (values[0], values[10]) == (-100, -80)


def test_a_modality_lut_is_applied_to_the_pixels(tmp_path):
    """Its output is what windows count in."""
    pixels = breast_pixels(**SMALL)
    ds = mammogram_dataset(pixels=pixels)
    ds.ModalityLUTSequence = Sequence([lut(4096, 0, 14, 4 * np.arange(4096))])
    found = loaded(ds, tmp_path)
    assert found.bits_stored == 14
    assert np.array_equal(found.pixels, 4 * pixels)


def test_a_voi_lut_is_read(tmp_path):
    """Descriptor and data; the window's absence is then no lack."""
    ds = mammogram_dataset(window=None, **SMALL)
    ds.VOILUTSequence = Sequence([lut(1000, 500, 12, np.linspace(0, 4095, 1000))])
    found = loaded(ds, tmp_path)
    assert found.remarks == ()
    gray = found.voi_luts[0].apply(np.array([0.0, 500, 1499, 4095]))
    assert gray == pytest.approx([0, 0, 1, 1])


def test_a_voi_lut_that_contradicts_itself_is_left_out(tmp_path):
    """Fewer entries than announced."""
    ds = mammogram_dataset(**SMALL)
    ds.VOILUTSequence = Sequence([lut(1000, 500, 12, np.arange(10))])
    found = loaded(ds, tmp_path)
    assert found.voi_luts == ()
    assert found.windows
    assert found.remarks == (Remark.VOI_LUT_UNUSABLE,)


def test_lookup_repeats_its_ends():
    """PS3.3 C.11.2.1.1: inputs below the first give the first entry, above the last the last."""
    table = LookupTable(first=10, entries=np.array([5, 6, 7], np.uint16), bits=8)
    assert table.look_up(np.array([0.0, 10, 11, 12, 99])).tolist() == [5, 5, 6, 7, 7]


def test_bright_padding_is_made_dark(tmp_path):
    """MONOCHROME1 with padding 0 would display white around the breast."""
    pixels = breast_pixels(**SMALL)
    ds = mammogram_dataset(pixels=pixels, monochrome1=True)
    stored = np.frombuffer(ds.PixelData, "<u2").reshape(pixels.shape).copy()
    stored[:10] = 0
    ds.PixelData, ds.PixelPaddingValue = stored.tobytes(), 0
    found = loaded(ds, tmp_path)
    assert found.monochrome1
    assert (found.pixels[:10] == stored[10:].max()).all()
    assert np.array_equal(found.pixels[10:], stored[10:])


def test_dark_padding_costs_no_copy(tmp_path):
    """Padding 0 in MONOCHROME2 is dark already: the pixels stay a view of the file."""
    ds = mammogram_dataset(**SMALL)
    ds.PixelPaddingValue, ds.PixelPaddingRangeLimit = 0, 30
    assert not loaded(ds, tmp_path).pixels.flags.owndata


def test_an_overlay_out_of_bounds_does_no_harm(tmp_path):
    """Overlays play no part (a Siemens sample has one outside its image)."""
    ds = mammogram_dataset(**SMALL)
    ds.add_new(0x60000010, "US", 9000)
    ds.add_new(0x60000011, "US", 9000)
    ds.add_new(0x60003000, "OW", b"\1\2")
    assert loaded(ds, tmp_path).pixels.shape == (96, 61)
