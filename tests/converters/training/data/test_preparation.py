"""Local normalisation is what the manifest's table says, whatever surrounds the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

from converters.training.data.preparation import (  # noqa: E402  (needs OpenCV)
    PreparationOptions,
    normalise,
    pad_top_left,
    prepare,
    resize_to_spacing,
)
from models.manifest import (  # noqa: E402
    ChannelsStep,
    CropStep,
    Monochrome1Step,
    NormaliseStep,
    Step,
    WindowStep,
)
from models.manifest import Recipe as ManifestRecipe  # noqa: E402
from runtime.breast_gate.breast import find_breast  # noqa: E402
from runtime.pixels.bare_image import BareImage  # noqa: E402
from runtime.preprocessing.preparation import prepare as runtime_prepare  # noqa: E402

RECIPE = PreparationOptions(
    spacing_mm=0.15,
    canvas_rows_px=192,
    canvas_columns_px=128,
    box_mm=3.0,
    eps=0.02,
    floor=0.04,
    margin_mm=3.0,
)


def plain_normalise(picture: np.ndarray, *, box_px: int, eps: float, floor: float) -> np.ndarray:
    """The definition, pixel by pixel in double precision."""
    values = picture.astype(np.float64)
    content = picture > floor
    result = np.zeros_like(values)
    half = box_px // 2
    for row, column in np.argwhere(content):
        rows = slice(max(0, row - half), row + half + 1)
        columns = slice(max(0, column - half), column + half + 1)
        box = values[rows, columns][content[rows, columns]]
        result[row, column] = (values[row, column] - box.mean()) / max(box.std(), eps)
    return result


def test_local_normalisation_equals_its_definition() -> None:
    """Mean and deviation are those of the box's content, with a floor on the deviation."""
    picture = np.random.default_rng(1).random((40, 30), dtype=np.float32)
    picture[:10, :10] = 0.0
    got = normalise(picture, RECIPE)
    expected = plain_normalise(picture, box_px=RECIPE.box_px, eps=0.02, floor=0.04)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_padding_changes_nothing_inside() -> None:
    """Padding becomes 0 and leaves the content's values as they were."""
    picture = np.random.default_rng(2).random((50, 40), dtype=np.float32) * 0.8 + 0.1
    alone = normalise(picture, RECIPE)
    padded = normalise(pad_top_left(picture, 192, 128), RECIPE)
    np.testing.assert_allclose(padded[:50, :40], alone, atol=1e-5)
    assert not padded[50:].any()
    assert not padded[:, 40:].any()


def test_a_box_larger_than_the_picture_takes_all_of_it() -> None:
    """A crop smaller than the box is normalised by its own mean and deviation."""
    picture = np.random.default_rng(3).random((9, 7), dtype=np.float32) * 0.8 + 0.1
    got = normalise(picture, replace(RECIPE, box_mm=6.0))
    np.testing.assert_allclose(got, (picture - picture.mean()) / picture.std(), atol=1e-4)


def test_a_flat_picture_becomes_zero() -> None:
    """A saturated or blank picture has no deviation, and so no content for the network."""
    flat = np.full((60, 60), 1.0, dtype=np.float32)
    assert np.abs(normalise(flat, RECIPE)).max() < 1e-3


def test_what_exceeds_the_canvas_is_shrunk_with_its_shape_kept() -> None:
    """A view of 400x100 pixels at the recipe's spacing fits 192 rows as 192x48."""
    resized = resize_to_spacing(np.ones((400, 100), dtype=np.float32), 0.15, RECIPE)
    assert resized.shape == (192, 48)


def test_a_region_keeps_its_physical_size() -> None:
    """60 pixels of 0.05 mm are 20 pixels of 0.15 mm."""
    region = np.random.default_rng(4).random((60, 90), dtype=np.float32) * 0.5 + 0.2
    view = prepare(region, 0.05, RECIPE, is_region=True)
    assert view.shape == (192, 128)
    assert view[:20, :30].any(axis=0).all()
    assert not view[20:].any()


def test_training_prepares_as_the_runtime_does() -> None:
    """A picture of a breast becomes the same tensor here and in the runtime, to 1e-5."""
    steps: list[Step] = [
        WindowStep(mode="voi_lut"),
        Monochrome1Step(),
        CropStep(mode="breast_box", margin_mm=RECIPE.margin_mm),
        RECIPE.resize_step,
        NormaliseStep(mode="local", box_mm=RECIPE.box_mm, epsilon=RECIPE.eps, floor=RECIPE.floor),
        ChannelsStep(),
    ]
    spacing_mm = 0.3
    rows, columns = np.mgrid[:512, :320]
    breast = ((rows - 256) / 200) ** 2 + (columns / 220) ** 2 < 1
    texture = cv2.GaussianBlur(np.random.default_rng(5).random((512, 320)), (0, 0), 6)
    texture = (texture - texture.min()) / (texture.max() - texture.min())
    pixels = np.where(breast, 60 + 150 * texture, 2).astype(np.uint16)
    assert find_breast(pixels, monochrome1=False, bits_stored=8) is not None
    picture = BareImage(pixels=pixels, bits_stored=8, pixel_spacing_mm=(spacing_mm, spacing_mm))
    shipped = runtime_prepare(picture.mammogram(), ManifestRecipe(steps=tuple(steps)))
    here = prepare((pixels / 255).astype(np.float32), spacing_mm, RECIPE, is_region=False)
    np.testing.assert_allclose(shipped.tensor, here[None, None], atol=1e-5)
