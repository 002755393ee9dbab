"""Where crops were cut out of views is found again, whatever was done to them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from converters.training.data.placing import place_crop, read_places, write_places
from tests.support.synthetic import breast_pixels

SCALE = 0.0517
"""View pixels for a crop's pixel."""


def scanned_breast() -> np.ndarray:
    """A breast of 4,000 rows, 0 to 1, with structure of all sizes."""
    grey = breast_pixels(rows=1000, columns=800, seed=4).astype(np.float32) / 4095
    clouds = sum(
        cv2.GaussianBlur(
            np.random.default_rng(size).normal(size=grey.shape).astype(np.float32), (0, 0), size
        )
        * size
        for size in (3, 10, 30)
    )
    return np.clip(grey + 0.05 * clouds * (grey > 0.05), 0, 1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_is_found_where_it_was_cut(*, mirrored: bool) -> None:
    """Of another tone, mirrored or not, and the view a little narrower than true."""
    fine = cv2.resize(scanned_breast(), None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    top, left, side = 1600, 700, 560
    view = cv2.resize(fine, None, fx=SCALE * 0.93, fy=SCALE, interpolation=cv2.INTER_AREA)
    crop = np.sqrt(fine[top : top + side, left : left + side] * 0.7 + 0.1)
    crop = np.ascontiguousarray(crop[:, ::-1]) if mirrored else crop
    place = place_crop(view, crop, names=("view.png", "mass/benign/crop.jpg"))
    assert place is not None
    assert place.is_sure
    assert place.scale == pytest.approx(SCALE, rel=0.06)
    assert place.top + place.rows / 2 == pytest.approx((top + side / 2) * SCALE, abs=2)
    assert place.left + place.columns / 2 == pytest.approx((left + side / 2) * SCALE * 0.93, abs=2)


def test_empty_background_is_no_place() -> None:
    """Air that is 0 but for rounding correlates with nothing, whatever 0 / 0 gives."""
    fine = cv2.resize(scanned_breast(), None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    view = cv2.resize(fine, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_AREA)
    view[:, 100:] = np.random.default_rng(0).random(view[:, 100:].shape, dtype=np.float32) * 1e-7
    place = place_crop(view, fine[1500:1900, 600:1000], names=("v.png", "calc/benign/c.jpg"))
    assert place is not None
    assert place.left + place.columns / 2 == pytest.approx(800 * SCALE, abs=2)
    assert place.correlation <= 1


def test_a_crop_of_another_breast_is_not_surely_placed() -> None:
    """Noise correlates somewhere, but not enough to be believed."""
    noise = np.random.default_rng(1).random((600, 600), dtype=np.float32)
    view = cv2.resize(scanned_breast(), (200, 250), interpolation=cv2.INTER_AREA)
    place = place_crop(view, noise, names=("view.png", "mass/benign/crop.jpg"))
    assert place is not None
    assert not place.is_sure


def test_places_come_back_as_they_were_written(tmp_path: Path) -> None:
    """All fields, with their types."""
    view = cv2.resize(scanned_breast(), (200, 250), interpolation=cv2.INTER_AREA)
    crop = cv2.resize(view[100:140, 50:100], None, fx=20, fy=20, interpolation=cv2.INTER_LINEAR)
    place = place_crop(view, crop, names=("view.png", "mass/malignant/crop.jpg"))
    assert place is not None
    write_places(tmp_path / "places.csv", [place])
    assert read_places(tmp_path / "places.csv") == [place]


def test_a_search_that_was_broken_off_leaves_no_file(tmp_path: Path) -> None:
    """Half of the places would be taken for all of them."""
    path = tmp_path / "places.csv"

    def broken_off():
        yield from ()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_places(path, broken_off())
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "view,crop\na.png,b.jpg\n", "view,crop,top\n"])
def test_a_file_without_places_is_refused(tmp_path: Path, content: str) -> None:
    """Without places the coarse branch would learn no lesion, and say nothing."""
    path = tmp_path / "places.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"places\.csv"):
        read_places(path)
