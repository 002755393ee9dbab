"""VOI LUT, window, rescale and polarity as the standard has them, and as units write them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from runtime.dicom.stored_image import open_image
from runtime.image.reasons import Remark
from runtime.pixels.decoding import register_decoders
from runtime.pixels.mammogram import load_mammogram
from tests.support.synthetic import mammogram_dataset, write

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = {"rows": 96, "columns": 61}
EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
RAMP = np.arange(4096)


def loaded(ds, tmp_path, syntax=EXPLICIT):
    register_decoders()
    return load_mammogram(open_image(write(ds, tmp_path / "image", transfer_syntax=syntax)))


def table(entries, bits, *, first=0, count=None, vr="US", data_vr="OW", packed=False) -> Dataset:
    """An item of a VOI LUT Sequence."""
    entries = np.asarray(entries)
    count = (len(entries) if count is None else count) & 0xFFFF
    item = Dataset()
    # pydicom writes the first word unsigned under SS as well.
    item.add_new("LUTDescriptor", vr, [count, first if vr == "SS" else first & 0xFFFF, bits])
    if data_vr == "US":
        item.add_new("LUTData", "US", [int(x) for x in entries])
    else:
        raw = entries.astype("u1" if packed else "<u2").tobytes()
        item.add_new("LUTData", data_vr, raw + b"\0" * (len(raw) % 2))
    return item


def with_tables(*items, window=None, **options) -> Dataset:
    ds = mammogram_dataset(window=window, **{**SMALL, **options})
    ds.VOILUTSequence = Sequence(items)
    return ds


@dataclass(frozen=True, kw_only=True)
class Row:
    """Header facts, where they come from, and what is to be shown of some modality values."""

    item: Dataset
    source: str
    at: tuple[float, ...] = (0, 2048, 4095)
    gray: tuple[float, ...] = (0, 0.5, 1)
    options: dict[str, object] = field(default_factory=dict)
    rescale: tuple[float, float] | None = None
    remarks: tuple[Remark, ...] = ()
    syntax: str = EXPLICIT


SIGNED = {"signed": True}
RANGE_16 = RAMP * 65535 // 4095
TABLES = {
    "16 bits": Row(item=table(RANGE_16, 16), source="PS3.3 C.11.2.1.1: output 0 to 2^n - 1"),
    "12 bits, as declared": Row(item=table(RAMP, 12), source="the same"),
    "8 bits in words": Row(item=table(RAMP >> 4, 8), source="PS3.3 C.11.2.1.1"),
    "8 bits packed": Row(
        item=table(RAMP >> 4, 8, packed=True), source="PS3.3 C.11.2.1.1; cornerstone3D PR 2856"
    ),
    "8 bits packed, odd count": Row(
        item=table(RAMP[:4095] >> 4, 8, packed=True), source="padded to even length (PS3.5 7.1.1)"
    ),
    "8 bits packed in US": Row(
        item=table((RAMP >> 4)[::2] | ((RAMP >> 4)[1::2] << 8), 8, count=4096, data_vr="US"),
        source="two in a word, the first in the low byte",
    ),
    "one entry too long": Row(item=table([*RANGE_16, 65535], 16, count=4096), source="OHIF 818"),
    "65,536 entries": Row(
        item=table(np.minimum(np.arange(65536) * 16, 65535), 16, count=0),
        source="PS3.3 C.11.2.1.1: 0 stands for 65,536",
    ),
    "SS, more than 32,767 entries": Row(
        item=table(np.minimum(np.arange(40000) * 16, 65535), 16, vr="SS"),
        source="PS3.3 C.11.2.1.1: the first value is unsigned whatever the VR",
    ),
    "first input below 0, without rescale": Row(
        item=table(RANGE_16, 16, first=-2048, vr="SS"),
        source="PS3.3 C.11.2.1.1: signed by Pixel Representation",
        at=(-2048, 0, 2047),
        options=SIGNED,
    ),
    "first input below 0, implicit": Row(
        item=table(RANGE_16, 16, first=-2048),
        source="the same, VR not said",
        at=(-2048, 0, 2047),
        options=SIGNED,
        syntax=IMPLICIT,
    ),
    "unsigned pixels, intercept below 0": Row(
        item=table(RANGE_16, 16, first=-2048),
        source="PS3.3 C.11.2.1.1: signed where the output after rescale can be negative",
        at=(-2048, 0, 2047),
        rescale=(1, -2048),
    ),
    "signed pixels, output above 0": Row(
        item=table(RANGE_16, 16, first=40000),
        source="PS3.3 C.11.2.1.1: unsigned where the output after rescale cannot be negative",
        at=(40000, 42048, 44095),
        options=SIGNED,
        rescale=(1, 42048),
    ),
    "first input 40,000 of unsigned pixels": Row(
        item=table(RANGE_16, 16, first=40000),
        source="unsigned by Pixel Representation",
        at=(40000, 42048, 44095),
        options={"bits_stored": 16},
    ),
    "big endian": Row(item=table(RANGE_16, 16, data_vr="US"), source="PS3.5 A.3", syntax=BIG),
    "8 said, 12 used": Row(
        item=table(RAMP, 8), source="entries count", remarks=(Remark.VOI_LUT_BITS,)
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_voi_lut_is_read_as_the_standard_has_it(name, tmp_path):
    """Each row's values become the gray that its source says."""
    row = TABLES[name]
    ds = with_tables(row.item, **row.options)
    if row.rescale is not None:
        ds.RescaleSlope, ds.RescaleIntercept = row.rescale
    found = loaded(ds, tmp_path, row.syntax)
    assert found.remarks == row.remarks, row.source
    gray = found.voi_luts[0].apply(np.array(row.at, float))
    assert gray == pytest.approx(row.gray, abs=0.003), row.source


BROKEN = {
    "fewer entries than announced": table(RAMP[:4000], 12, count=4096),
    "two entries too long": table([*RAMP, 1, 1], 12, count=4096),
    "no bits": table(RAMP, 0),
    "32 bits": table(RAMP, 32),
    "half of it": table(RAMP[:2048], 16, count=4096),
    "nothing in it": Dataset(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_first_table_that_cannot_be_used_is_remarked(name, tmp_path):
    """The first window takes its place; no reader's alternative does."""
    harder = table(RAMP[::-1], 12)
    found = loaded(with_tables(BROKEN[name], harder, window=([2048, 9], [4096, 9])), tmp_path)
    assert found.voi_luts == ()
    assert found.windows[0].width == 4096
    assert found.remarks == (Remark.VOI_LUT_UNUSABLE,)


def test_without_a_window_either_both_are_remarked(tmp_path):
    """A broken table alone: the image is shown as stored, and says so."""
    found = loaded(with_tables(BROKEN["no bits"]), tmp_path)
    assert found.remarks == (Remark.VOI_LUT_UNUSABLE, Remark.WINDOW_MISSING)


def test_the_second_window_does_not_take_the_place_of_an_absurd_first(tmp_path):
    """PS3.3 C.11.2.1.2: further windows are alternative views."""
    found = loaded(mammogram_dataset(window=([2048, 2048], [0, 300]), **SMALL), tmp_path)
    assert found.windows == ()
    assert found.remarks == (Remark.WINDOW_ABSURD,)


@pytest.mark.parametrize(
    ("word", "remarks"),
    [
        (None, ()),
        ("LINEAR", ()),
        ("SIGMOID", ()),
        ("SIGMOIDAL", (Remark.VOI_FUNCTION_UNKNOWN,)),
    ],
)
def test_an_unknown_function_is_remarked(word, remarks, tmp_path):
    """PS3.3 C.11.2.1.3: LINEAR, LINEAR_EXACT, SIGMOID; LINEAR where nothing is said."""
    ds = mammogram_dataset(window=(2048, 2600), window_function=word, **SMALL)
    assert loaded(ds, tmp_path).remarks == remarks


@pytest.mark.parametrize("monochrome1", [False, True])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE", None])
def test_a_presentation_lut_shape_that_contradicts_is_remarked(monochrome1, shape, tmp_path):
    """PS3.3 table C.8-70: IDENTITY with MONOCHROME2, INVERSE with MONOCHROME1."""
    ds = mammogram_dataset(monochrome1=monochrome1, **SMALL)
    if shape is None:
        del ds.PresentationLUTShape
    else:
        ds.PresentationLUTShape = shape
    agrees = shape in (None, "INVERSE" if monochrome1 else "IDENTITY")
    assert loaded(ds, tmp_path).remarks == (() if agrees else (Remark.POLARITY_CONTRADICTS,))


def groups(*, per_frame: bool) -> Callable[[Dataset], None]:
    """Window and rescale in functional groups, as the Breast Projection IOD has them."""

    def edit(ds: Dataset) -> None:
        voi, rescale, group = Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = 1400, 1800, "SIGMOID"
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = -1, 4095, "US"
        group.FrameVOILUTSequence = Sequence([voi])
        group.PixelValueTransformationSequence = Sequence([rescale])
        ds.SharedFunctionalGroupsSequence = Sequence([Dataset() if per_frame else group])
        ds.PerFrameFunctionalGroupsSequence = Sequence([group if per_frame else Dataset()])

    return edit


@pytest.mark.parametrize("per_frame", [False, True])
def test_functional_groups_hold_window_and_rescale(per_frame, tmp_path):
    """PS3.3 C.7.6.16.2.9 and C.7.6.16.2.10."""
    ds = mammogram_dataset(window=None, **SMALL)
    groups(per_frame=per_frame)(ds)
    found = loaded(ds, tmp_path)
    assert (found.windows[0].center, found.windows[0].function) == (1400, "SIGMOID")
    assert found.modality_range() == (0, 4095)
    assert found.rescale_slope == -1
    assert found.remarks == ()


@pytest.mark.parametrize(("slope", "padding"), [(1, 5), (-1, 4090)])
def test_padding_becomes_the_darkest_by_all_that_makes_the_polarity(slope, padding, tmp_path):
    """A slope below 0 makes the highest stored value the darkest."""
    ds = mammogram_dataset(**SMALL)
    stored = np.frombuffer(ds.PixelData, "<u2").reshape(96, 61).copy()
    stored[:10] = padding
    ds.PixelData, ds.PixelPaddingValue = stored.tobytes(), padding
    ds.RescaleSlope, ds.RescaleIntercept = slope, 4095 if slope < 0 else 0
    found = loaded(ds, tmp_path)
    others = stored[stored != padding]
    assert (found.pixels[:10] == (others.min() if slope > 0 else others.max())).all()
    assert found.remarks == ()
