"""Windows of whole views carry their lesions' places with them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra [train])")

from converters.training.data.augmentation import Augmentation  # noqa: E402  (needs torch)
from converters.training.data.preparation import PreparationOptions  # noqa: E402
from converters.training.learning.coarse_schedule import (  # noqa: E402
    CoarsePool,
    CoarseSchedule,
    draw_coarse_batches,
)
from converters.training.networks.coarse_network import CELL_PX  # noqa: E402
from converters.training.sampling.coarse_windows import (  # noqa: E402
    CoarseView,
    Region,
    draw_coarse_window,
)

RECIPE = PreparationOptions(
    spacing_mm=0.6,
    canvas_rows_px=384,
    canvas_columns_px=256,
    box_mm=40.0,
    eps=0.02,
    floor=0.04,
    margin_mm=3.0,
)
PLAIN = Augmentation(
    window_px=192, context_px=32, scale=1.0, gamma=1.0, blur_px=0.31, noise=0.0, band_gain=1.0,
    transplant=0.0,
)  # fmt: skip
SCHEDULE = CoarseSchedule(
    epochs=1, batch=4, learning_rate=1e-3, weight_decay=0.0, warmup_share=0.1, averaging=0.9,
    digital_windows=4, window_weight=0.3, seed=1,
)  # fmt: skip


def view_with(*regions: Region, label: str, is_located: bool = True) -> CoarseView:
    """A grey view of 300 x 220 with noise, each lesion a bright square."""
    picture = np.random.default_rng(0).random((300, 220), dtype=np.float32) * 0.1 + 0.3
    for r in regions:
        picture[int(r.top) : int(r.bottom), int(r.left) : int(r.right)] += 0.4
    return CoarseView(
        name="v.png", data_set="film", patient="p", label=label,
        picture=picture, regions=regions, is_located=is_located,
    )  # fmt: skip


def test_lesion_cells_are_where_the_lesion_is() -> None:
    """However the window is turned, the marked cells are the bright ones."""
    lesion = Region(130, 90, 170, 130, malignant=True, spiculated=False)
    view = view_with(lesion, label="malignant")
    seen = 0
    for seed in range(20):
        window = draw_coarse_window(view, np.random.default_rng(seed), PLAIN, RECIPE)
        rows, columns = window.pixels.shape
        grid = window.pixels.reshape(rows // CELL_PX, CELL_PX, columns // CELL_PX, CELL_PX)
        brightness = grid.mean(axis=(1, 3))
        marked = window.cells[0] == 1
        if marked.any():
            seen += 1
            assert brightness[marked].mean() > brightness[window.cells[0] == 0].mean() + 1
            assert np.array_equal(window.cells[0], window.cells[1])
            assert not (window.cells[2] == 1).any()
    assert seen >= 10


def test_a_benign_lesion_is_a_mass_and_no_malignancy() -> None:
    """Its cells are negatives of the first class, and its window holds nothing malignant."""
    view = view_with(Region(130, 90, 170, 130, malignant=False, spiculated=False), label="benign")
    windows = [draw_coarse_window(view, np.random.default_rng(s), PLAIN, RECIPE) for s in range(8)]
    assert any((window.cells[1] == 1).any() for window in windows)
    assert not any((window.cells[0] == 1).any() for window in windows)
    assert {window.holds_malignant for window in windows} == {0.0}


def test_a_lesion_of_unknown_place_marks_no_cell() -> None:
    """Such a view can only say that some cell of a window with most of the breast holds it."""
    view = view_with(label="malignant", is_located=False)
    window = draw_coarse_window(view, np.random.default_rng(0), PLAIN, RECIPE)
    assert (window.cells == -1).all()
    assert window.holds_malignant in {1.0, -1.0}


def test_the_seed_fixes_every_window() -> None:
    """Two passes over one epoch are the same; another epoch is not."""
    pool = CoarsePool(film=[view_with(label="benign")] * 6, digital=[view_with(label="normal")] * 2)

    def first(epoch: int) -> torch.Tensor:
        return next(iter(draw_coarse_batches(pool, SCHEDULE, PLAIN, RECIPE, epoch))).pixels

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))
