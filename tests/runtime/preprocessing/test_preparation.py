"""Each step is what the manifest says, held to a plain NumPy transcription of the recipe.

Tolerances: OpenCV's area method drops shares of a pixel below a thousandth, which is 2e-4 of the
local contrast here; all else agrees to float32.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from converters.packaging.preparation_reference import prepare_by_reference, resampling, run_steps
from models.manifest import (
    ChannelsStep,
    CropStep,
    Monochrome1Step,
    NormaliseStep,
    OrientStep,
    Recipe,
    ResizeStep,
    ScaleStep,
    WindowStep,
)
from runtime.dicom.stored_image import open_image
from runtime.image.reasons import Remark
from runtime.pixels.decoding import register_decoders
from runtime.pixels.mammogram import load_mammogram
from runtime.pixels.voi_lut_table import histogram, percentile_of
from runtime.preprocessing.placement import place
from runtime.preprocessing.preparation import prepare, prepare_region
from tests.support.synthetic import mammogram_dataset, write

SIZE = {"rows": 320, "columns": 260, "pixel_spacing_mm": 0.6}
VOI = WindowStep(mode="voi_lut")
SQUEEZE = ResizeStep(mode="squeeze", height=90, width=70)
REFERENCE = (
    VOI,
    Monochrome1Step(),
    CropStep(mode="breast_box", margin_mm=3),
    ResizeStep(
        mode="spacing_mm",
        height=80,
        width=56,
        spacing_mm=3.0,
        film_spacing_mm=0.6,
        align="top_left",
    ),
    NormaliseStep(mode="local", box_mm=22, epsilon=0.02, floor=0.04),
    ChannelsStep(),
)


@pytest.fixture
def mammogram(tmp_path):
    register_decoders()

    def make(edit=None, **options):
        ds = mammogram_dataset(**{**SIZE, **options})
        if edit:
            edit(ds)
        return load_mammogram(open_image(write(ds, tmp_path / "image")))

    return make


def agree(image, *steps, tolerance=2e-6):
    """The runtime's tensor, once it was found equal to the reference's."""
    recipe = Recipe(steps=steps)
    found, expected = prepare(image, recipe).tensor, prepare_by_reference(image, recipe)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = max(1.0, float(np.abs(expected).max()))
    assert float(np.abs(found - expected.astype(np.float64)).max()) <= tolerance * scale
    return found


@pytest.mark.parametrize("monochrome1", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    "step",
    [
        VOI,
        WindowStep(mode="voi_lut", to=255),
        WindowStep(mode="minmax"),
        WindowStep(mode="percentile", low_percent=1, high_percent=99.3),
        WindowStep(mode="none"),
    ],
    ids=lambda s: f"{s.mode}-{s.to:g}",
)
def test_windows_at_every_depth(mammogram, step, bits, signed, monochrome1):
    """Every mode, depth, sign and photometric interpretation."""
    low = -(2 ** (bits - 1)) if signed else 0
    window = (low + 2 ** (bits - 1), 2**bits * 0.7)
    image = mammogram(bits_stored=bits, signed=signed, monochrome1=monochrome1, window=window)
    agree(image, step, Monochrome1Step())


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_functions(mammogram, function):
    """Each VOI LUT Function, with a window narrower than the image."""
    agree(mammogram(window=(1800, 900), window_function=function), VOI)


def test_a_voi_lut_goes_before_a_window(mammogram):
    """Where a file has both, the table counts."""

    def edit(ds):
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [3000, 500, 12])
        item.add_new("LUTData", "OW", (np.linspace(0, 1, 3000) ** 2 * 4095).astype("<u2").tobytes())
        ds.VOILUTSequence = Sequence([item])

    with_table = agree(mammogram(edit), VOI)
    assert np.abs(with_table - agree(mammogram(), VOI)).max() > 0.1


@pytest.mark.parametrize("absent", ["minmax", "stored_range"])
def test_without_a_window_the_recipe_says_what_counts(mammogram, absent):
    """The image's own range, or the range of its bits."""
    image = mammogram(window=None)
    gray = agree(image, WindowStep(mode="voi_lut", absent=absent))
    brightest = 1.0 if absent == "minmax" else image.pixels.max() / 4095
    assert gray.max() == pytest.approx(brightest)


def test_an_image_without_contrast_becomes_zero(mammogram):
    """Lowest and highest value are one."""
    flat = np.full((40, 30), 7, np.uint16)
    assert not agree(mammogram(pixels=flat), WindowStep(mode="minmax")).any()


def test_photometric_twins_give_the_same_input(mammogram):
    """MONOCHROME1 and MONOCHROME2 of one picture."""
    steps = (WindowStep(mode="minmax"), Monochrome1Step(), SQUEEZE)
    one = agree(mammogram(), *steps, tolerance=3e-4)
    other = agree(mammogram(monochrome1=True), *steps, tolerance=3e-4)
    assert np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("laterality", ["L", "R"])
@pytest.mark.parametrize("facing", ["left", "right", "none"])
@pytest.mark.parametrize("by", ["laterality", "content"])
@pytest.mark.parametrize("interpolation", ["area", "linear", "cubic", "nearest"])
def test_orientation(mammogram, laterality, facing, by, interpolation):
    """All breasts face the same way, before and after any resize."""
    resize = ResizeStep(mode="squeeze", height=91, width=73, interpolation=interpolation)
    image = mammogram(laterality=laterality)
    orient = OrientStep(facing=facing, by=by)
    agree(image, VOI, orient)
    small = agree(image, VOI, orient, resize, tolerance=3e-4)
    if facing != "none":
        half = small.shape[1] // 2
        tissue_is_left = small[:, :half].mean() > small[:, half:].mean()
        assert tissue_is_left == (facing == "right")


@pytest.mark.parametrize("laterality", ["L", "R"])
@pytest.mark.parametrize(
    "step",
    [
        CropStep(mode="breast_box"),
        CropStep(mode="breast_box", margin_px=9),
        CropStep(mode="breast_box", margin_px=2, margin_mm=7.5),
        CropStep(mode="best_center_window", height=200, width=180),
        CropStep(mode="best_center_window", height=400, width=300),
        CropStep(mode="best_center_window", height=400, width=300, align="mlo_top"),
        CropStep(mode="none"),
    ],
    ids=lambda s: f"{s.mode}-{s.margin_px}-{s.height}-{s.align}",
)
def test_crops(mammogram, step, laterality):
    """Before and after mirroring; a window that reaches beyond the image is black there."""
    image = mammogram(laterality=laterality)
    agree(image, VOI, step)
    agree(image, VOI, OrientStep(facing="left"), step)
    agree(image, VOI, step, OrientStep(facing="left"))


@pytest.mark.parametrize("interpolation", ["area", "linear", "cubic", "nearest"])
@pytest.mark.parametrize("align", ["center", "top_left"])
@pytest.mark.parametrize(
    ("mode", "height", "width", "spacing_mm"),
    [
        ("squeeze", 90, 70, None),
        ("squeeze", 160, 130, None),
        ("squeeze", 350, 100, None),
        ("fit_pad", 100, 120, None),
        ("fit_pad", 111, 40, None),
        ("spacing_mm", 150, 140, 1.5),
        ("spacing_mm", 60, 90, 1.5),
    ],
)
def test_resizes(mammogram, *, mode, height, width, spacing_mm, align, interpolation):
    """Each mode, alignment and method; content that is too large is shrunk to the canvas."""
    step = ResizeStep(
        mode=mode,
        height=height,
        width=width,
        spacing_mm=spacing_mm,
        align=align,
        interpolation=interpolation,
    )
    found = agree(mammogram(), VOI, step, tolerance=3e-4)
    assert found.shape == (height, width)


@pytest.mark.parametrize(
    "step",
    [
        ScaleStep(mode="divide", by=65535),
        ScaleStep(mode="divide", by="image_max"),
        ScaleStep(mode="affine", factor=0.003891, offset=-52.18),
        ScaleStep(mode="affine", factor=2, offset=-1, clip_low=-0.5, clip_high=0.5),
        ScaleStep(mode="minmax"),
        NormaliseStep(mode="fixed", mean=(7047.99,), std=(12005.5,)),
        NormaliseStep(mode="per_image", epsilon=1e-5),
    ],
    ids=lambda s: f"{s.step}-{s.mode}",
)
def test_scales_and_normalisations(mammogram, step):
    """On stored values, before and after a resize."""
    image = mammogram(bits_stored=16, window=None)
    agree(image, step, tolerance=1e-5)
    agree(image, SQUEEZE, step, tolerance=3e-4)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("count", [1, 3])
def test_channels(mammogram, layout, count):
    """Batch and channel axes, three by replication."""
    step = ChannelsStep(count=count, layout=layout)
    shape = (1, count, 90, 70) if layout == "NCHW" else (1, 90, 70, count)
    assert agree(mammogram(), VOI, SQUEEZE, step, tolerance=3e-4).shape == shape


def test_stored_values_may_go_to_the_model_as_they_are(mammogram):
    """uint16, nothing done to them."""
    image = mammogram()
    found = agree(image, ChannelsStep(element_type="u16"))
    assert found.dtype == np.uint16
    assert np.array_equal(found[0, 0], image.pixels)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_figures_for_each_channel(mammogram, layout):
    """ImageNet's three means before the channels step."""
    steps = (
        NormaliseStep(mode="fixed", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ChannelsStep(count=3, layout=layout),
    )
    agree(mammogram(), VOI, SQUEEZE, *steps, tolerance=3e-4)


@pytest.mark.parametrize("laterality", ["L", "R"])
@pytest.mark.parametrize("monochrome1", [False, True])
@pytest.mark.parametrize("floor", [0.04, None])
def test_the_reference_recipe(mammogram, laterality, monochrome1, floor):
    """Local normalisation counts content only; padding is exactly zero."""
    *head, local, channels = REFERENCE
    steps = (*head, local.model_copy(update={"floor": floor}), channels)
    found = agree(mammogram(laterality=laterality, monochrome1=monochrome1), *steps, tolerance=1e-3)
    assert found.std() > 0.2
    assert not found[0, 0, -1].any()


def test_content_is_not_affected_by_its_padding(mammogram):
    """A larger canvas changes no value of local normalisation."""
    larger = tuple(
        step.model_copy(update={"height": 120, "width": 90}) if step.step == "resize" else step
        for step in REFERENCE
    )
    image = mammogram()
    small = prepare(image, Recipe(steps=REFERENCE)).tensor
    large = prepare(image, Recipe(steps=larger)).tensor
    assert np.allclose(small, large[:, :, :80, :56], atol=1e-5)


def test_the_folded_tail_is_left_to_the_graph(mammogram):
    """The runtime stops at `folded_from`; the reference goes on to the end."""
    steps = (VOI, SQUEEZE, ScaleStep(mode="divide", by=4), ChannelsStep(count=3))
    image, folded = mammogram(), Recipe(steps=steps, folded_from=2)
    assert prepare(image, folded).tensor.shape == (90, 70)
    tail = prepare(image, folded).tensor / 4
    assert np.allclose(prepare_by_reference(image, folded)[0, 2], tail, atol=3e-4)
    assert run_steps(image, folded, folded.runtime_steps).shape == (90, 70)


def test_regions_are_neither_cropped_nor_mirrored(mammogram):
    """The whole piece at the recipe's spacing."""
    recipe = Recipe(steps=(VOI, OrientStep(facing="left"), CropStep(mode="breast_box"), SQUEEZE))
    found = prepare_region(mammogram(), recipe)
    assert (found.mirrored, found.source_box.rows, found.source_box.columns) == (False, 320, 260)


# --- the way back, and remarks -------------------------------------------------------------------


@pytest.mark.parametrize("facing", ["left", "right"])
@pytest.mark.parametrize("laterality", ["L", "R"])
def test_a_place_of_the_tensor_leads_back_to_the_image(mammogram, facing, laterality):
    """A bright spot of the image is found through the brightest place of the tensor."""

    def edit(ds):
        pixels = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns).copy()
        column = 60 if laterality == "L" else ds.Columns - 61
        pixels[145:161, column - 8 : column + 8] = 4095
        ds.PixelData = pixels.tobytes()

    steps = (VOI, OrientStep(facing=facing), *REFERENCE[2:4])
    found = prepare(mammogram(edit, laterality=laterality), Recipe(steps=steps))
    row, column = np.unravel_index(int(found.tensor.argmax()), found.tensor.shape)
    expected = 60 if laterality == "L" else 260 - 60
    at = found.to_source(row + 0.5, column + 0.5)
    assert at == (pytest.approx(153, abs=9), pytest.approx(expected, abs=9))


def test_assumptions_are_remarked(mammogram):
    """Film without spacing; content that did not fit."""
    film = prepare(mammogram(film=True), Recipe(steps=REFERENCE))
    assert film.remarks == (Remark.SPACING_ASSUMED,)
    tight = ResizeStep(mode="spacing_mm", height=30, width=30, spacing_mm=1)
    shrunk = prepare(mammogram(), Recipe(steps=(VOI, tight)))
    assert shrunk.remarks == (Remark.SHRUNK_TO_CANVAS,)


def test_a_spacing_that_is_needed_and_unknown_is_an_error(mammogram):
    """The suitability gate says so first; nothing is guessed."""
    with pytest.raises(ValueError, match="spacing"):
        prepare(mammogram(pixel_spacing_mm=None), Recipe(steps=REFERENCE))


# --- parts ---------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 63), min_size=1, max_size=200),
    st.floats(0, 100, allow_nan=False),
    st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_percentiles_of_a_histogram_are_those_of_the_image(values, percent, falling):
    """NumPy's default method, also where values fall with the stored value."""
    pixels = np.array([values], np.uint16)
    stands_for = np.arange(64, dtype=np.float64) * (-3 if falling else 2)
    found = percentile_of(histogram(pixels, 64), stands_for, percent)
    assert found == pytest.approx(np.percentile(stands_for[pixels], percent), abs=1e-9)


@given(st.integers(1, 400), st.integers(1, 200), st.sampled_from(["linear", "cubic", "nearest"]))
@settings(deadline=None, max_examples=60)
def test_resampling_weights_sum_to_one(inputs, outputs, method):
    """A flat picture stays flat by every method."""
    assert resampling(inputs, outputs, method).sum(axis=1) == pytest.approx(np.ones(outputs))


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.02, 0.4), st.floats(0.05, 0.5))
@settings(deadline=None, max_examples=100)
def test_content_lies_within_the_canvas(rows, columns, source_mm, spacing_mm):
    """Whatever the sizes."""
    for align in ("center", "top_left"):
        step = ResizeStep(
            mode="spacing_mm", height=640, width=512, spacing_mm=spacing_mm, align=align
        )
        at = place(step, rows, columns, (source_mm, source_mm))
        assert at.top >= 0
        assert at.left >= 0
        assert 1 <= at.rows <= 640 - at.top
        assert 1 <= at.columns <= 512 - at.left
