"""Pixels come back as they were stored, or a reason does."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from runtime.dicom.stored_image import open_image
from runtime.image.header import HeaderRefusedError
from runtime.image.reasons import Reason
from runtime.pixels import imagecodecs_plugin
from runtime.pixels.codestream import read_codestream
from runtime.pixels.decoding import decode, register_decoders
from runtime.pixels.pixel_format import PixelLimits, PixelsRefusedError
from tests.support.synthetic import (
    LOSSLESS_SYNTAXES,
    LOSSY_SYNTAXES,
    NATIVE_SYNTAXES,
    breast_pixels,
    encode,
    mammogram_dataset,
    write,
)

SMALL = {"rows": 96, "columns": 61}


@pytest.fixture(autouse=True, scope="module")
def _registered():
    register_decoders()


def decoded(ds, tmp_path, syntax=ExplicitVRLittleEndian, limits=None):
    return decode(open_image(write(ds, tmp_path / "image", transfer_syntax=syntax)), limits)


def refusal(ds, tmp_path, syntax=ExplicitVRLittleEndian, limits=None) -> PixelsRefusedError:
    with pytest.raises(PixelsRefusedError) as refused:
        decoded(ds, tmp_path, syntax, limits)
    return refused.value


@pytest.mark.parametrize("syntax", [*NATIVE_SYNTAXES, *LOSSLESS_SYNTAXES], ids=lambda u: u.name)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_lossless_syntaxes_give_back_every_bit(syntax, bits, signed, tmp_path):
    """All native and lossless syntaxes, all depths; signed values are shifted by half the range."""
    pixels = breast_pixels(bits_stored=bits, **SMALL)
    ds = mammogram_dataset(pixels=pixels, bits_stored=bits, signed=signed)
    found = decoded(ds, tmp_path, syntax)
    assert found.dtype == np.uint16
    assert not found.flags.writeable
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("syntax", LOSSY_SYNTAXES, ids=lambda u: u.name)
def test_lossy_syntaxes_are_close(syntax, tmp_path):
    """On average within half a percent of the range, JPEG Extended with its 12 bits included."""
    bits = 8 if syntax == JPEGBaseline8Bit else 12
    pixels = breast_pixels(bits_stored=bits, **SMALL)
    found = decoded(mammogram_dataset(pixels=pixels, bits_stored=bits), tmp_path, syntax)
    off = np.abs(found.astype(int) - pixels.astype(int)).mean()
    assert off < 0.005 * 2**bits


def test_native_pixels_are_mapped_not_read(tmp_path):
    """The array is backed by the file: its memory is the page cache."""
    found = decoded(mammogram_dataset(bits_stored=16, **SMALL), tmp_path)
    owner = found
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    assert isinstance(owner, np.memmap)


def test_bytes_in_words_are_swapped_back(tmp_path):
    """8-bit pixels as OW in big endian lie pairwise swapped (PS3.5 A.3)."""
    pixels = breast_pixels(bits_stored=8, rows=40, columns=30)
    ds = mammogram_dataset(pixels=pixels, bits_stored=8)
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
    ds["PixelData"].VR = "OW"
    assert np.array_equal(decoded(ds, tmp_path, ExplicitVRBigEndian), pixels)


def test_unused_bits_are_dropped(tmp_path):
    """An overlay in the upper bits is no part of the image."""
    pixels = breast_pixels(**SMALL)
    ds = mammogram_dataset(pixels=pixels)
    ds.PixelData = (pixels | 0xA000).astype("<u2").tobytes()
    assert np.array_equal(decoded(ds, tmp_path), pixels)


def test_left_justified_pixels_are_shifted(tmp_path):
    """High Bit 15 with 12 bits stored."""
    pixels = breast_pixels(**SMALL)
    ds = mammogram_dataset(pixels=pixels)
    ds.HighBit, ds.PixelData = 15, (pixels << 4).astype("<u2").tobytes()
    assert np.array_equal(decoded(ds, tmp_path), pixels)


def test_fragments_of_one_frame_are_joined(tmp_path):
    """A codestream in several fragments, without an offset table."""
    pixels = breast_pixels(**SMALL)
    ds = mammogram_dataset(pixels=pixels)
    path = write(ds, tmp_path / "source", transfer_syntax=JPEGLosslessSV1)
    stored = open_image(path)
    whole = path.read_bytes()[stored.file.pixels.offset :]
    stream = whole[20 : 20 + int.from_bytes(whole[16:20], "little")]  # after the offset table
    path.write_bytes(
        path.read_bytes()[: stored.file.pixels.offset]
        + encapsulate([stream], fragments_per_frame=3, has_bot=False)
        + b"\xfe\xff\xdd\xe0\0\0\0\0"
    )
    assert np.array_equal(decode(open_image(path)), pixels)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, NATIVE_SYNTAXES[3]], ids=["native", "deflated"]
)
def test_cut_off_pixels_are_undecodable(syntax, share, tmp_path):
    """A file that ends within its pixels."""
    path = write(mammogram_dataset(), tmp_path / "image", transfer_syntax=syntax)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(PixelsRefusedError) as refused:
        decode(open_image(path))
    assert refused.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda u: u.name)
def test_a_broken_codestream_is_undecodable(syntax, tmp_path, caplog):
    """Random bytes where a codestream belongs; nothing but the reason is said."""
    path = write(mammogram_dataset(**SMALL), tmp_path / "image", transfer_syntax=syntax)
    content = bytearray(path.read_bytes())
    start = open_image(path).file.pixels.offset + 16
    noise = np.random.default_rng(1).integers(0, 256, len(content) - start - 8).astype(np.uint8)
    content[start : start + noise.size] = noise.tobytes()
    path.write_bytes(content)
    with caplog.at_level(logging.DEBUG), pytest.raises(PixelsRefusedError) as refused:
        decode(open_image(path))
    assert refused.value.reason is Reason.UNDECODABLE
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("syntax", [*LOSSLESS_SYNTAXES, JPEGExtended12Bit], ids=lambda u: u.name)
def test_a_codestream_of_another_size_is_undecodable(syntax, tmp_path):
    """The header announces 97 rows, the codestream has 96."""
    path = write(mammogram_dataset(**SMALL), tmp_path / "image", transfer_syntax=syntax)
    rows = b"\x28\x00\x10\x00US\x02\x00"
    content = path.read_bytes()
    path.write_bytes(content.replace(rows + b"\x60\x00", rows + b"\x61\x00"))
    with pytest.raises(PixelsRefusedError) as refused:
        decode(open_image(path))
    assert refused.value.reason is Reason.UNDECODABLE


def test_one_pixel_is_decoded(tmp_path):
    """A 1 x 1 image has a pixel; that it is too small is for the suitability gate to say."""
    ds = mammogram_dataset(pixels=np.array([[7]], np.uint16))
    assert decoded(ds, tmp_path).tolist() == [[7]]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=["native", "rle"])
def test_eighty_megapixels_are_refused_before_anything_is_allocated(syntax, tmp_path):
    """The limit is checked on the announced size."""
    ds = mammogram_dataset(**SMALL)
    path = write(ds, tmp_path / "image", transfer_syntax=syntax)
    size = b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"
    content = path.read_bytes()
    content = content.replace(size[0] + b"\x60\x00", size[0] + (10_000).to_bytes(2, "little"))
    content = content.replace(size[1] + b"\x3d\x00", size[1] + (8_000).to_bytes(2, "little"))
    path.write_bytes(content)
    with pytest.raises(PixelsRefusedError) as refused:
        decode(open_image(path))
    assert refused.value.reason is Reason.TOO_LARGE


def test_the_size_limit_is_a_setting(tmp_path):
    """A smaller limit refuses a smaller image."""
    assert (
        refusal(mammogram_dataset(**SMALL), tmp_path, limits=PixelLimits(pixels=5000)).reason
        is Reason.TOO_LARGE
    )


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("SamplesPerPixel", 3, Reason.UNSUPPORTED_PIXELS),
        ("PhotometricInterpretation", "PALETTE COLOR", Reason.UNSUPPORTED_PIXELS),
        ("BitsAllocated", 32, Reason.UNSUPPORTED_PIXELS),
        ("BitsStored", 17, Reason.UNSUPPORTED_PIXELS),
        ("BitsStored", 0, Reason.UNSUPPORTED_PIXELS),
        ("HighBit", 3, Reason.UNSUPPORTED_PIXELS),
        ("NumberOfFrames", 2, Reason.UNSUPPORTED_PIXELS),
        ("Rows", 0, Reason.UNDECODABLE),
        ("Rows", 500, Reason.UNDECODABLE),
    ],
)
def test_odd_pixel_modules_are_refused(keyword, value, reason, tmp_path):
    """Colour, several frames, depths that no mammogram has, more rows than bytes."""
    ds = mammogram_dataset(**SMALL)
    setattr(ds, keyword, value)
    assert refusal(ds, tmp_path).reason is reason


@pytest.mark.parametrize("frames", ["0", "-1", "1e20", "1.5", "nan", "ONE", "1e9999", "--1", "0x1"])
def test_what_is_no_number_of_frames_is_refused(frames, tmp_path):
    """It is not taken for one frame; the detail names the attribute."""
    ds = mammogram_dataset(**SMALL)
    ds.NumberOfFrames = placeholder = "987654321"
    path = write(ds, tmp_path / "image")
    content = path.read_bytes()
    assert content.count(placeholder.encode()) == 1
    path.write_bytes(content.replace(placeholder.encode(), frames.ljust(9).encode()))
    with pytest.raises(PixelsRefusedError) as refused:
        decode(open_image(path))
    assert refused.value.reason is Reason.UNSUPPORTED_PIXELS
    assert "Number of Frames (0028,0008)" in str(refused.value)


@pytest.mark.parametrize("frames", ["1", "1 ", "01", ""])
def test_one_frame_may_be_written_in_several_ways(frames, tmp_path):
    """An empty value says nothing of another frame."""
    ds = mammogram_dataset(**SMALL)
    ds.NumberOfFrames = frames
    assert decode(open_image(write(ds, tmp_path / "image"))) is not None


def test_no_pixels_are_undecodable(tmp_path):
    """A header without Pixel Data."""
    ds = mammogram_dataset(**SMALL)
    del ds.PixelData
    assert refusal(ds, tmp_path).reason is Reason.UNDECODABLE


def test_an_unknown_transfer_syntax_is_said_to_be_one(tmp_path):
    """MPEG-4 in a mammogram."""
    path = write(mammogram_dataset(**SMALL), tmp_path / "image", transfer_syntax=RLELossless)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.9\0"))
    with pytest.raises(PixelsRefusedError) as refused:
        decode(open_image(path))
    assert refused.value.reason is Reason.UNSUPPORTED_PIXELS


def test_registering_twice_changes_nothing():
    """The plugin is there once, beside pydicom's own."""
    before = {s: get_decoder(s).available_plugins for s in imagecodecs_plugin.DECODER_DEPENDENCIES}
    register_decoders()
    after = {s: get_decoder(s).available_plugins for s in imagecodecs_plugin.DECODER_DEPENDENCIES}
    assert before == after
    assert all(imagecodecs_plugin.LABEL in plugins for plugins in after.values())


@pytest.mark.parametrize("offsets", [(64, 1 << 30), (64, 10), (4000, 64), (64, 64)])
def test_rle_segments_outside_of_the_codestream_are_undecodable(offsets, tmp_path):
    """The codec believes these offsets and reads beyond its input."""
    path = write(mammogram_dataset(**SMALL), tmp_path / "image", transfer_syntax=RLELossless)
    content = bytearray(path.read_bytes())
    start = open_image(path).file.pixels.offset + 20
    content[start + 4 : start + 12] = np.array(offsets, "<u4").tobytes()
    path.write_bytes(content)
    with pytest.raises(PixelsRefusedError) as refused:
        decode(open_image(path))
    assert refused.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES[:-1], ids=lambda u: u.name)
def test_a_codestream_tells_its_size_before_it_is_decoded(syntax):
    """Rows and columns from the frame header of each family of codestreams."""
    ds = mammogram_dataset(**SMALL)
    frame = ds.pixel_array
    said = read_codestream(encode(frame, ds, syntax))
    assert (said.rows, said.columns) == (96, 61)


@pytest.mark.parametrize("syntax", [*NATIVE_SYNTAXES, *LOSSLESS_SYNTAXES], ids=lambda u: u.name)
def test_any_damage_gives_pixels_or_a_reason(syntax, tmp_path):
    """Sixty seeded mutations of each kind: bytes changed, lost and inserted, anywhere."""
    path = write(mammogram_dataset(**SMALL), tmp_path / "image", transfer_syntax=syntax)
    whole, draw = path.read_bytes(), np.random.default_rng(11)
    outcomes = {"pixels": 0, "refused": 0}
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(draw.integers(1, 5)):
            at = int(draw.integers(132, len(content) if draw.integers(2) else 1500))
            some = draw.integers(0, 256, int(draw.integers(1, 6))).astype(np.uint8).tobytes()
            kept = int(draw.integers(0, 3)) * len(some) // 2
            content[at : at + kept] = some
        path.write_bytes(content)
        try:
            assert decode(open_image(path)).dtype == np.uint16
        except (HeaderRefusedError, PixelsRefusedError):
            outcomes["refused"] += 1
        else:
            outcomes["pixels"] += 1
    assert outcomes["refused"] > 0
    assert sum(outcomes.values()) == 60
