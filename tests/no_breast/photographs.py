"""Photographs that installed libraries bring along, and what may be made of one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tests.no_breast.fields import axes

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Picture = NDArray[np.float32]

PLACES = {
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
    "skimage": (
        "data",
        (
            "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png",
            "clock_motion.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
            "hubble_deep_field.jpg", "ihc.png", "microaneurysms.png", "moon.png",
            "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png",
        ),
    ),
    "matplotlib": ("mpl-data/sample_data", ("grace_hopper.jpg",)),
}  # fmt: skip
"""Folder and files, by package; scikit-learn's come with the tests, the others where installed."""


def installed_photographs() -> dict[str, Picture]:
    """Name and gray picture, 0 to 1, of each that is on this machine."""
    found = {}
    for package, (folder, names) in PLACES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for name in names:
            gray = cv2.imread(str(Path(spec.origin).parent / folder / name), cv2.IMREAD_GRAYSCALE)
            if gray is not None:
                found[name.split(".")[0]] = gray.astype(np.float32) / 255
    return found


def whole(_: Generator, photograph: Picture, shape: tuple[int, int]) -> Picture:
    """Squeezed into the shape."""
    return cv2.resize(photograph, shape[::-1], interpolation=cv2.INTER_AREA)


def piece(draw: Generator, photograph: Picture, shape: tuple[int, int]) -> Picture:
    """Any piece of it that is no smaller than a sixth of either side."""
    rows, columns = photograph.shape
    high = int(draw.integers(rows // 6, rows + 1))
    wide = int(draw.integers(columns // 6, columns + 1))
    top, left = int(draw.integers(0, rows - high + 1)), int(draw.integers(0, columns - wide + 1))
    cut = photograph[top : top + high, left : left + wide]
    return cv2.resize(cut, shape[::-1], interpolation=cv2.INTER_LINEAR)


def turned(draw: Generator, photograph: Picture, shape: tuple[int, int]) -> Picture:
    """A piece, turned by a quarter or a half, mirrored, or by any angle on black."""
    part = piece(draw, photograph, shape)
    if draw.random() < 0.5:
        return whole(draw, np.rot90(part, int(draw.integers(1, 4))).copy(), shape)
    middle = (shape[1] / 2, shape[0] / 2)
    turn = cv2.getRotationMatrix2D(middle, float(draw.uniform(-180, 180)), draw.uniform(0.6, 1.4))
    return cv2.warpAffine(part, turn, shape[::-1])


def inverted(draw: Generator, photograph: Picture, shape: tuple[int, int]) -> Picture:
    """Its negative."""
    return 1 - piece(draw, photograph, shape)


def hardened(draw: Generator, photograph: Picture, shape: tuple[int, int]) -> Picture:
    """Dark parts cut off to black: what is left is a bright body on clean ground."""
    part = piece(draw, photograph, shape)
    low = float(np.quantile(part, draw.uniform(0.2, 0.7)))
    hard = np.clip((part - low) / max(0.05, 1 - low), 0, 1)
    return hard ** draw.uniform(0.4, 1.5)


def on_black(draw: Generator, photograph: Picture, shape: tuple[int, int]) -> Picture:
    """A print on a dark table: smaller than the picture, at a border or free."""
    rows, columns = shape
    high, wide = int(rows * draw.uniform(0.4, 0.95)), int(columns * draw.uniform(0.35, 0.9))
    top = int((rows - high) * draw.random())
    left = int((columns - wide) * draw.choice([0.0, 1.0, draw.random()]))
    ground = np.zeros(shape, np.float32)
    ground[top : top + high, left : left + wide] = piece(draw, photograph, (high, wide))
    return ground


def vignetted(draw: Generator, photograph: Picture, shape: tuple[int, int]) -> Picture:
    """Dark towards the corners, around any centre."""
    down, across = axes(shape)
    centre = draw.uniform(-1, 1), draw.uniform(-0.4, 0.4)
    apart = np.hypot(across - centre[0], down - centre[1]) / draw.uniform(0.5, 1.2)
    return piece(draw, photograph, shape) * np.exp(-(apart ** draw.uniform(1.5, 5)))


def cut_out(draw: Generator, photograph: Picture, shape: tuple[int, int]) -> Picture:
    """Cut to half an ellipse at a border, on black: all of a breast's shape, none of its tissue."""
    down, across = axes(shape)
    side = 1 if draw.random() < 0.5 else -1
    radius = ((across * side + 1) / draw.uniform(0.9, 1.7)) ** 2 + (
        (down - draw.uniform(-0.1, 0.1)) / draw.uniform(0.6, 0.95)
    ) ** 2
    soft = np.clip((1 - radius) / draw.uniform(0.01, 0.4), 0, 1)
    return (piece(draw, photograph, shape) * 0.9 + 0.1) * soft.astype(np.float32)


VARIANTS = (whole, piece, turned, inverted, hardened, on_black, vignetted, cut_out)
