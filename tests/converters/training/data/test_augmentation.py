"""Training windows differ as scanners do, and keep what they show."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed")

from converters.training.data.augmentation import (
    Augmentation,
    change_tone,
    cut_window,
    finish_window,
    graft,
)
from converters.training.data.preparation import PreparationOptions

RECIPE = PreparationOptions(
    spacing_mm=0.15,
    canvas_rows_px=192,
    canvas_columns_px=128,
    box_mm=6.0,
    eps=0.02,
    floor=0.04,
    margin_mm=3.0,
)
AMOUNT = Augmentation(
    window_px=64,
    context_px=16,
    scale=1.2,
    gamma=1.5,
    blur_px=1.4,
    noise=0.04,
    band_gain=2.0,
    transplant=0.5,
)


def test_a_small_crop_lies_wholly_inside_the_window() -> None:
    """However it is turned and moved, a crop of 20 pixels keeps its area in a window of 64."""
    generator = np.random.default_rng(0)
    crop = np.full((20, 20), 0.5, dtype=np.float32)
    for _ in range(50):
        window = cut_window(crop, generator, AMOUNT)
        assert window.shape == (96, 96)
        inside = (window > 0)[16:-16, 16:-16].sum()
        assert inside == (window > 0).sum()
        assert 0.5 * 400 / 1.44 < inside < 400 * 1.44


def test_tone_leaves_padding_at_zero() -> None:
    """Noise, blur and bands never write where there was nothing, and stay above the floor."""
    generator = np.random.default_rng(1)
    window = np.zeros((96, 96), dtype=np.float32)
    window[20:70, 30:80] = generator.random((50, 50), dtype=np.float32) * 0.5 + 0.2
    for _ in range(20):
        changed = change_tone(window, generator, AMOUNT)
        assert not changed[window == 0].any()
        assert (changed[window > 0] > RECIPE.floor).all()
        assert changed.max() <= 1.0
        assert finish_window(changed, AMOUNT, RECIPE).shape == (64, 64)


def test_a_graft_keeps_the_middle_of_the_lesion_and_the_tissue_around() -> None:
    """Outside the crop the tissue is untouched; inside, the lesion's pattern stands."""
    generator = np.random.default_rng(2)
    tissue = generator.random((96, 96), dtype=np.float32) * 0.3 + 0.3
    lesion = np.zeros((96, 96), dtype=np.float32)
    lesion[24:72, 24:72] = generator.random((48, 48), dtype=np.float32) * 0.3 + 0.3
    grafted = graft(lesion, tissue, generator)
    np.testing.assert_array_equal(grafted[:20], tissue[:20])
    middle = (slice(44, 52), slice(44, 52))
    pair = np.corrcoef(grafted[middle].ravel(), lesion[middle].ravel())
    assert pair[0, 1] > 0.95
