"""One drawing under many headers: a score is given only if the displayed picture is the drawing.

Within one gray level of 256, or a remark names what differs; else the image is not assessed. The
facts of a header are drawn, the stored pixels are computed from them so that the display by PS3.3
C.7.6.3.1.2, C.11.1 and C.11.2 gives the drawing; then a word of the header or of the codestream is
changed, so that it contradicts the others or the pixels.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from models.manifest import Accepts, Monochrome1Step, Recipe, WindowStep
from runtime.breast_gate.suitability import assess_header, assess_pixels
from runtime.dicom.stored_image import open_image
from runtime.image.header import HeaderRefusedError
from runtime.pixels.decoding import register_decoders
from runtime.pixels.display import display_of
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.pixel_format import PixelsRefusedError
from tests.support.synthetic import breast_pixels, mammogram_dataset, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LEVEL = 1 / 255
VIEWER = Recipe(steps=(WindowStep(mode="voi_lut", absent="stored_range"), Monochrome1Step()))
RANGE = Recipe(steps=(WindowStep(mode="minmax"), Monochrome1Step()))
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
)
FRAME_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def drawing() -> NDArray[np.float64]:
    """Gray, 0 to 1: a breast on dark air, over most of the range."""
    values = breast_pixels(rows=320, columns=260, bits_stored=12, seed=3) / 4095
    return np.clip(values * 1.35, 0, 1)


GRAY = drawing()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A header that tells the display without a contradiction."""

    bits: int
    signed: bool
    monochrome1: bool
    slope: float
    intercept: float
    shown_by: str
    table_bits: int
    place: str
    syntax: str

    @property
    def falls(self) -> bool:
        """Low stored values enter the picture bright, before MONOCHROME1 turns it."""
        return (self.slope < 0) ^ (self.shown_by == "falling table")

    def stored(self) -> NDArray[np.int64]:
        """The pixels, unsigned."""
        gray = 1 - GRAY if self.monochrome1 ^ self.falls else GRAY
        return np.rint(gray * (2**self.bits - 1)).astype(np.int64)

    def modality_ends(self) -> tuple[float, float]:
        """The modality values of the lowest and the highest stored value."""
        low = -(2 ** (self.bits - 1)) if self.signed else 0
        high = low + 2**self.bits - 1
        return low * self.slope + self.intercept, high * self.slope + self.intercept


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """Any consistent header."""
    shown_by = draw(
        st.sampled_from(["LINEAR", "LINEAR_EXACT", "rising table", "falling table", "nothing"])
    )
    tabled = "table" in shown_by
    signed = draw(st.booleans())
    slope = draw(st.sampled_from([1, -1] if tabled else [1, -1, 0.5, 2]))
    bits = draw(st.sampled_from([10, 12, 14] if tabled else [10, 12, 14, 16]))
    if tabled and slope < 0:
        intercept = float(2**bits - 1)
    else:
        intercept = draw(st.sampled_from([0.0, -100.0] if tabled else [0.0, 100.0, -1024.0]))
    syntax = draw(st.sampled_from(SYNTAXES))
    if signed and syntax in (JPEG2000Lossless, HTJ2KLossless):
        syntax = JPEGLSLossless  # our encoder writes words, and these syntaxes tell a sign
    return Facts(
        bits=bits,
        signed=signed,
        monochrome1=draw(st.booleans()),
        slope=slope,
        intercept=intercept,
        shown_by=shown_by,
        table_bits=draw(st.sampled_from([8, 12, 16])),
        place=draw(st.sampled_from(["top", *FRAME_GROUPS])),
        syntax=syntax,
    )


def dataset(told: Facts) -> Dataset:
    """The drawing as an image that says `told`."""
    stored = told.stored()
    # `mammogram_dataset` turns what it takes for MONOCHROME1; these are as they are to be stored.
    pixels = 2**told.bits - 1 - stored if told.monochrome1 else stored
    ds = mammogram_dataset(
        pixels=pixels,
        bits_stored=told.bits,
        bits_allocated=16,
        signed=told.signed,
        monochrome1=told.monochrome1,
        window=None,
    )
    display, transformation = Dataset(), Dataset()
    transformation.RescaleSlope, transformation.RescaleIntercept = told.slope, told.intercept
    low, high = sorted(told.modality_ends())
    if told.shown_by == "LINEAR":
        display.WindowCenter, display.WindowWidth = (low + high) / 2 + 0.5, high - low + 1
    elif told.shown_by == "LINEAR_EXACT":
        display.WindowCenter, display.WindowWidth = (low + high) / 2, high - low
        display.VOILUTFunction = "LINEAR_EXACT"
    elif "table" in told.shown_by:
        ramp = np.rint(np.linspace(0, 2**told.table_bits - 1, 2**told.bits))
        falls = told.shown_by == "falling table"
        display.VOILUTSequence = Sequence([table(ramp[::-1] if falls else ramp, told, int(low))])
    if told.place == "top":
        ds.update(display)
        ds.update(transformation)
    else:
        group = Dataset()
        group.FrameVOILUTSequence = Sequence([display])
        group.PixelValueTransformationSequence = Sequence([transformation])
        setattr(ds, told.place, Sequence([group]))
    return ds


def table(entries: NDArray[np.float64], told: Facts, first: int) -> Dataset:
    """An item of a VOI LUT Sequence (PS3.3 C.11.2.1.1)."""
    item = Dataset()
    count = len(entries) & 0xFFFF
    item.add_new("LUTDescriptor", "US", [count, first & 0xFFFF, told.table_bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


# --- contradictions ------------------------------------------------------------------------------


def of_display(ds: Dataset) -> Dataset:
    """Where window or table stand."""
    for place in FRAME_GROUPS:
        if place in ds:
            return ds[place][0].FrameVOILUTSequence[0]
    return ds


def of_rescale(ds: Dataset) -> Dataset:
    for place in FRAME_GROUPS:
        if place in ds:
            return ds[place][0].PixelValueTransformationSequence[0]
    return ds


def photometric(ds: Dataset) -> None:
    other = {"MONOCHROME1": "MONOCHROME2", "MONOCHROME2": "MONOCHROME1"}
    ds.PhotometricInterpretation = other[ds.PhotometricInterpretation]


def shape(ds: Dataset) -> None:
    other = {"IDENTITY": "INVERSE", "INVERSE": "IDENTITY"}
    ds.PresentationLUTShape = other[ds.PresentationLUTShape]


def slope_turned(ds: Dataset) -> None:
    place = of_rescale(ds)
    place.RescaleSlope = -place.RescaleSlope


def slope_of(value: object) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        of_rescale(ds).RescaleSlope = value

    return change


def sign(ds: Dataset) -> None:
    ds.PixelRepresentation = 1 - ds.PixelRepresentation


def bits_by(more: int) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        bits = min(16, ds.BitsStored + more)
        ds.BitsStored, ds.HighBit = bits, bits - 1

    return change


def high_bit(ds: Dataset) -> None:
    ds.HighBit = 15


def window_of(center: object, width: object) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        place = of_display(ds)
        if "WindowCenter" in place:
            place.WindowCenter, place.WindowWidth = center, width

    return change


def function_of(word: str) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        if "WindowCenter" in of_display(ds):
            of_display(ds).VOILUTFunction = word

    return change


def no_window(ds: Dataset) -> None:
    place = of_display(ds)
    for keyword in ("WindowCenter", "WindowWidth", "VOILUTSequence"):
        if keyword in place:
            del place[keyword]


def table_bits(bits: int) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        if "VOILUTSequence" in of_display(ds):
            item = of_display(ds).VOILUTSequence[0]
            item.LUTDescriptor = [*item.LUTDescriptor[:2], bits]

    return change


def table_cut(ds: Dataset) -> None:
    if "VOILUTSequence" in of_display(ds):
        item = of_display(ds).VOILUTSequence[0]
        item.LUTData = item.LUTData[:-10]


def table_turned(ds: Dataset) -> None:
    if "VOILUTSequence" in of_display(ds):
        item = of_display(ds).VOILUTSequence[0]
        item.LUTData = np.frombuffer(item.LUTData, "<u2")[::-1].tobytes()


def padding(value: int, vr: str, limit: int | None = None) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        ds.add_new("PixelPaddingValue", vr, value)
        if limit is not None:
            ds.add_new("PixelPaddingRangeLimit", vr, limit)

    return change


def padding_of(low: float, high: float) -> Callable[[Dataset], None]:
    """A range of values that can occur."""

    def change(ds: Dataset) -> None:
        shift = 2 ** (ds.BitsStored - 1) if ds.PixelRepresentation else 0
        values = [round(x * (2**ds.BitsStored - 1)) - shift for x in (low, high)]
        padding(values[0], "SS" if shift else "US", values[1])(ds)

    return change


def window_at_the_top(ds: Dataset) -> None:
    ds.WindowCenter, ds.WindowWidth = 77, 99


def modality_table(ds: Dataset) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", b"\0" * 10)
    ds.ModalityLUTSequence = Sequence([item])


CHANGES: dict[str, Callable[[Dataset], None]] = {
    "photometric": photometric,
    "shape": shape,
    "slope turned": slope_turned,
    "slope 0": slope_of(0),
    "slope enormous": slope_of("1e9"),
    "sign": sign,
    "two bits more": bits_by(2),
    "two bits fewer": bits_by(-2),
    "one bit more": bits_by(1),
    "high bit": high_bit,
    "window of no width": window_of(100, 0),
    "window beyond": window_of(1e6, 10),
    "window of nan": window_of("nan", 10),
    "window of words": window_of("", ""),
    "function unknown": function_of("SIGMOIDAL"),
    "no window": no_window,
    "table of 16 bits": table_bits(16),
    "table of 8 bits": table_bits(8),
    "table of 14 bits": table_bits(14),
    "table of 32 bits": table_bits(32),
    "table cut": table_cut,
    "table turned": table_turned,
    "padding beyond": padding(40000, "US"),
    "padding signed": padding(-30000, "SS"),
    "padding limit beyond": padding(0, "US", 65000),
    "padding of tissue": padding_of(0.4, 0.5),
    "padding of all above": padding_of(0.4, 1),
    "padding of white": padding_of(1, 1),
    "window at the top": window_at_the_top,
    "modality table": modality_table,
}


def level_shifted(ds: Dataset) -> bytes:
    """Signed by the header; the codestream has unsigned numbers (pydicom 1149, the other way)."""
    words = np.frombuffer(ds.PixelData, "<i2" if ds.PixelRepresentation else "<u2")
    low = 2 ** (ds.BitsStored - 1) if ds.PixelRepresentation else 0
    numbers = (words.astype(int) + low).reshape(ds.Rows, ds.Columns).astype(np.uint16)
    return j2k(numbers, ds.BitsStored)


def j2k(numbers: NDArray[np.generic], bits: int) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            numbers, level=0, reversible=True, codecformat="j2k", bitspersample=bits
        )
    )


# --- what holds ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Found:
    """What became of an image: refused, or how far its picture is from the drawing."""

    refused: str = ""
    remarks: tuple[str, ...] = ()
    off: float = 0.0
    """Of the gray range, the pixel that is worst."""

    @property
    def honest(self) -> bool:
        """A score only on the drawing, or with a word."""
        return bool(self.refused or self.remarks) or self.off <= LEVEL


def found(ds: Dataset, syntax: str, recipe: Recipe = VIEWER, stream: bytes = b"") -> Found:
    """`ds` as a file through the header, the codec, the gate and the display."""
    register_decoders()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        if stream:
            ds.file_meta.TransferSyntaxUID = UID(syntax)
            ds.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])
            ds["PixelData"].VR = "OB"
            ds.save_as(path, enforce_file_format=True)
        else:
            write(ds, path, transfer_syntax=syntax)
        try:
            image = open_image(path)
            header = assess_header(image.header, Accepts(), recipe)
            mammogram = load_mammogram(image)
            seen = assess_pixels(mammogram, Accepts(), recipe)
        except (HeaderRefusedError, PixelsRefusedError) as error:
            return Found(refused=str(error))
        if header.reasons or seen.reasons:
            return Found(refused=" ".join((*header.reasons, *seen.reasons)))
        gray = display_of(recipe).grays(seen.mammogram, seen.mammogram.pixels)
        remarks = tuple(dict.fromkeys((*header.remarks, *seen.remarks)))
        return Found(remarks=remarks, off=float(np.abs(gray - GRAY).max()))


@settings(max_examples=120, deadline=None)
@given(facts())
def test_a_header_without_a_contradiction_shows_the_drawing(told):
    """Bits, sign, polarity, rescale, window, table, place, syntax: within a gray level."""
    seen = found(dataset(told), told.syntax)
    assert (seen.refused, seen.remarks) == (
        "",
        ("window_missing",) if told.shown_by == "nothing" else (),
    )
    assert seen.off <= LEVEL


@settings(max_examples=300, deadline=None)
@given(facts(), st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=2, unique=True))
def test_a_contradiction_is_refused_remarked_on_or_shows_the_drawing(told, changes):
    """Never another picture in silence."""
    ds = dataset(told)
    frame = ds.PixelData
    for change in changes:
        CHANGES[change](ds)
    assert ds.PixelData == frame
    syntax = told.syntax
    if {"sign", "two bits fewer", "two bits more", "one bit more"} & set(changes):
        syntax = ExplicitVRLittleEndian  # an encoder of ours would believe the header
    seen = found(ds, syntax)
    assert seen.honest, seen


@settings(max_examples=60, deadline=None)
@given(facts(), st.booleans(), st.sampled_from([0, 2, 4]))
def test_a_codestream_of_another_sign_or_depth_is_not_shown_in_silence(told, shifted, more):
    """Level-shifted numbers under a signed header, words of more bits than stored."""
    ds = dataset(told)
    bits = min(16, told.bits + more)
    words = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns)
    stream = level_shifted(ds) if shifted else j2k(words & (2**told.bits - 1), bits)
    seen = found(ds, JPEG2000Lossless, stream=stream)
    assert seen.honest, seen


@settings(max_examples=30, deadline=None)
@given(facts())
def test_what_a_codec_lost_is_always_a_remark(told):
    """By its label or by its own word."""
    seen = found(dataset(told), JPEGLSNearLossless)
    assert seen.refused or "lossy_compression" in seen.remarks


if __name__ == "__main__":
    pytest.main([__file__])
