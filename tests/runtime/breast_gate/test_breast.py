"""Real breasts are found, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.breast_gate.breast import find_breast, look_for_breast
from tests.support.synthetic import breast_pixels

ROWS, COLUMNS = 1024, 832
Y, X = np.mgrid[:ROWS, :COLUMNS]


def found(pixels, bits_stored=12, *, monochrome1=False):
    return find_breast(
        np.ascontiguousarray(pixels).astype(np.uint16),
        monochrome1=monochrome1,
        bits_stored=bits_stored,
    )


def acceptance(paths) -> float:
    """Share of 8-bit picture files that the gate lets through."""
    assert len(paths) >= 60
    passed = 0
    for path in paths:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.uint16)
        sighting = look_for_breast(picture, monochrome1=False, bits_stored=8)
        passed += sighting.breast is not None and not sighting.seen
    return passed / len(paths)


@pytest.mark.parametrize(
    ("folder", "pattern", "every", "least"),
    [
        ("mini-mias", "*.png", 1, 1.0),
        ("cdd-cesm-dm", "*.jpg", 1, 1.0),
        ("cbis-ddsm-mass-views-256", "*.png", 3, 0.99),
    ],
)
def test_real_views_are_accepted(shared_data, folder, pattern, every, least):
    """Film with labels and borders, tightly cropped digital views, views of 256 pixels."""
    assert acceptance(sorted((shared_data / folder).glob(pattern))[::every]) >= least


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize(("laterality", "wall"), [("L", "left"), ("R", "right")])
def test_the_chest_wall_and_the_box_are_those_of_the_breast(view, laterality, wall):
    """The box holds all tissue and little else."""
    pixels = breast_pixels(view=view, laterality=laterality, seed=5)
    breast = found(pixels)
    assert breast is not None
    assert (breast.chest_wall, breast.chest_wall_is_certain) == (wall, True)
    tissue = np.argwhere(pixels > 400)
    (top, left), (bottom, right) = tissue.min(axis=0), tissue.max(axis=0)
    box = breast.box
    assert abs(box.top - top) <= 16
    assert abs(box.bottom - bottom) <= 16
    assert abs(box.left - left) <= 16
    assert abs(box.right - right) <= 16


def test_inverted_images_are_understood():
    """MONOCHROME1: the same picture, the same box."""
    pixels = breast_pixels(seed=2)
    assert found(4095 - pixels, monochrome1=True) == found(pixels)


def test_size_does_not_matter():
    """An 8-fold larger image gives an 8-fold larger box."""
    small, large = breast_pixels(rows=512, columns=416), breast_pixels(rows=4096, columns=3328)
    one, other = found(small), found(large)
    assert one is not None
    assert other is not None
    assert other.box.bottom / 8 == pytest.approx(one.box.bottom, abs=4)


def noise(kind: str):
    draw = np.random.default_rng(0)
    if kind == "uniform":
        return draw.integers(0, 4096, (ROWS, COLUMNS))
    if kind == "gaussian":
        return np.clip(draw.normal(2000, 300, (ROWS, COLUMNS)), 0, 4095)
    blurred = cv2.GaussianBlur(draw.normal(size=(ROWS, COLUMNS)), (0, 0), float(kind))
    return (blurred - blurred.min()) / (blurred.max() - blurred.min()) * 4095


def chest_film(seed: int):
    """Two dark lungs within a body that fills the film, heart and ribs."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : ROWS * 1j, -1 : 1 : COLUMNS * 1j]
    film = np.where(np.abs(x) < 0.95, 0.75, 0.05)
    for side in (-1, 1):
        lung = ((x - side * 0.42) / 0.3) ** 2 + ((y + 0.08) / 0.62) ** 2 < 1
        film = np.where(lung, 0.25, film)
    film += np.exp(-((x / 0.12) ** 2)) * 0.15 + 0.05 * np.sin(y * 30 + np.abs(x) * 8)
    film += np.where(((x - 0.12) / 0.28) ** 2 + ((y - 0.25) / 0.3) ** 2 < 1, 0.25, 0)
    return np.clip(film + draw.normal(scale=0.02, size=film.shape), 0, 1) * 4095


OTHERS = {
    "blank": np.zeros((ROWS, COLUMNS)),
    "saturated": np.full((ROWS, COLUMNS), 4095),
    "flat field": np.random.default_rng(1).normal(2000, 5, (ROWS, COLUMNS)),
    "flat field with heel effect": 1500 + X * 1.5,
    "vertical gradient": Y * 3,
    "half field": np.where(X < 400, 3000, 50),
    "disk": np.where((X - 416) ** 2 + (Y - 512) ** 2 < 300**2, 3000, 50),
    "phantom": np.where((X < 500) & (np.abs(Y - 512) < 300), 2500, 30),
    "checkerboard": (X // 64 + Y // 64) % 2 * 4000,
    "noise in the shape of a half field": np.where(
        X < 400, np.random.default_rng(2).integers(0, 4096, (ROWS, COLUMNS)), 50
    ),
    "uniform noise": noise("uniform"),
    "gaussian noise": noise("gaussian"),
    "fine clouds": noise("3"),
    "clouds": noise("15"),
    "large clouds": noise("61"),
    "chest film": chest_film(0),
    "half a chest film": chest_film(1)[:, : COLUMNS // 2],
    "a sliver": np.ones((4, 3000)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_breast_is_not_taken_for_one(name):
    """Blank, flat, saturated, geometric, noise, chest."""
    assert found(OTHERS[name]) is None


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_photographs_are_not_taken_for_a_breast(name):
    """Two photographs, upright, turned and inverted, and twelve pieces of each."""
    images = pytest.importorskip("sklearn.datasets.images")
    gray = cv2.imread(str(Path(images.__file__).parent / name), cv2.IMREAD_GRAYSCALE)
    assert [found(g, 8) for g in (gray, gray.T, 255 - gray, gray[:, ::-1])] == [None] * 4
    draw = np.random.default_rng(3)
    pieces = []
    for _ in range(12):
        rows, columns = draw.integers(120, gray.shape[0]), draw.integers(100, gray.shape[1])
        top = draw.integers(0, gray.shape[0] - rows + 1)
        left = draw.integers(0, gray.shape[1] - columns + 1)
        piece = gray[top : top + rows, left : left + columns]
        pieces.append(cv2.resize(piece, (COLUMNS, ROWS)))
    assert [found(piece, 8) for piece in pieces] == [None] * 12
