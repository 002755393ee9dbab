"""Text, screens, and the test patterns of displays and detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from tests.no_breast.fields import axes

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Picture = NDArray[np.float32]

LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:-/()%")


def words(draw: Generator, letters: int) -> str:
    """As many letters as that, with gaps."""
    text = "".join(draw.choice(LETTERS, letters))
    return "".join(" " if draw.random() < 0.15 else letter for letter in text)


def _write(picture: Picture, draw: Generator, box: tuple[int, int, int, int], ink: float) -> None:
    """Lines of text within rows and columns `box` (top, bottom, left, right)."""
    top, bottom, left, right = box
    font = int(draw.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN]))
    size = float(draw.choice([0.4, 0.6, 1.0, 2.0, 4.0]))
    weight = max(1, int(size * draw.uniform(1, 3)))
    step = max(8, int(28 * size * draw.uniform(0.9, 1.6)))
    written = np.zeros(picture.shape, np.uint8)
    for row in range(top + step, bottom, step):
        letters = max(1, int((right - left) / (14 * size) * draw.uniform(0.4, 1)))
        cv2.putText(written, words(draw, letters), (left, row), font, size, 255, weight)
    picture += (ink - picture) * (written / np.float32(255))


def text_page(draw: Generator, shape: tuple[int, int]) -> Picture:
    """A page of text, light on dark or dark on light, over all of it or in columns at a side."""
    ground, ink = (0.0, 1.0) if draw.random() < 0.5 else (float(draw.uniform(0.7, 1)), 0.05)
    page = np.full(shape, ground, np.float32)
    left = int(draw.choice([0, 10, 60]))
    right = int(shape[1] * draw.choice([0.4, 0.6, 1.0]))
    _write(page, draw, (int(draw.integers(0, shape[0] // 3)), shape[0], left, right), ink)
    return page[:, ::-1].copy() if draw.random() < 0.2 else page


def huge_letters(draw: Generator, shape: tuple[int, int]) -> Picture:
    """One to three letters that fill the picture: D, B and O are round at one side."""
    page = np.zeros(shape, np.uint8)
    letter = "".join(draw.choice(list("DBOPRCQS80"), int(draw.integers(1, 3))))
    size = shape[0] / 24 * draw.uniform(0.6, 1.1)
    start = (int(draw.integers(-60, 60)), int(shape[0] * draw.uniform(0.75, 1)))
    weight = int(size * draw.uniform(1, 9))
    cv2.putText(page, letter, start, cv2.FONT_HERSHEY_SIMPLEX, size, 255, weight)
    light = page.astype(np.float32) / 255
    return cv2.GaussianBlur(light, (0, 0), float(draw.uniform(0.5, 8)))


def screenshot(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Windows with title bars, text, buttons and a chart."""
    screen = np.full(shape, draw.uniform(0, 1), np.float32)
    rows, columns = shape
    for _ in range(int(draw.integers(1, 6))):
        top, left = int(draw.integers(0, rows // 2)), int(draw.integers(0, columns // 2))
        bottom = int(draw.integers(top + 80, rows + 1))
        right = int(draw.integers(left + 80, columns + 1))
        ground = float(draw.choice([0.05, 0.15, 0.9, 1.0]))
        screen[top:bottom, left:right] = ground
        screen[top : top + 18, left:right] = draw.random()
        _write(screen, draw, (top + 18, bottom, left + 4, right), 1 - ground)
        if draw.random() < 0.4:
            heights = draw.integers(5, max(6, (bottom - top) // 2), 12)
            for number, height in enumerate(heights):
                column = left + 8 + number * max(2, (right - left - 16) // 12)
                screen[bottom - height : bottom, column : column + 6] = 0.5
    return screen


def barcode(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Bars of random width over all or part of the picture, or a square code."""
    picture = np.full(shape, float(draw.choice([0.0, 1.0])), np.float32)
    if draw.random() < 0.5:
        bars = np.repeat(draw.random(shape[1] // 4 + 1) > 0.5, 4)[: shape[1]]
        height = int(shape[0] * draw.uniform(0.3, 1))
        picture[:height] = bars
        return picture.T.copy() if draw.random() < 0.3 else picture
    cells = int(draw.integers(15, 45))
    code = (draw.random((cells, cells)) > 0.5).astype(np.float32)
    size = int(min(shape) * draw.uniform(0.5, 1))
    large = cv2.resize(code, (size, size), interpolation=cv2.INTER_NEAREST)
    left = int(draw.choice([0, shape[1] - size]))
    picture[:size, left : left + size] = large
    return picture


def checkerboard(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Squares or stripes of any size."""
    down, across = np.mgrid[: shape[0], : shape[1]]
    size = int(draw.integers(2, 300))
    kind = int(draw.integers(3))
    squares = (down // size * (kind != 1) + across // size * (kind != 2)) % 2
    return (squares * draw.uniform(0.2, 1)).astype(np.float32)


def step_wedge(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Grey steps down or across, over all of the picture or a part of it."""
    steps = int(draw.integers(3, 20))
    ramp = np.repeat(np.linspace(0, 1, steps, dtype=np.float32), -(-shape[0] // steps))[: shape[0]]
    wedge = np.repeat(ramp[:, None], shape[1], axis=1)
    if draw.random() < 0.5:
        wedge[:, int(shape[1] * draw.uniform(0.3, 1)) :] = 0
    return wedge[::-1].copy() if draw.random() < 0.5 else wedge


def display_pattern(draw: Generator, shape: tuple[int, int]) -> Picture:
    """After SMPTE RP 133 and AAPM TG18-QC: grid, grey patches in a ring, line pairs, text."""
    picture = np.full(shape, draw.uniform(0.05, 0.6), np.float32)
    rows, columns = shape
    step = int(draw.integers(40, 120))
    picture[::step], picture[:, ::step] = 0.8, 0.8
    size = min(shape) // 8
    for number in range(16):
        angle = 2 * np.pi * number / 16
        row = int(rows / 2 + 0.32 * rows * np.sin(angle)) - size // 2
        column = int(columns / 2 + 0.32 * columns * np.cos(angle)) - size // 2
        picture[row : row + size, column : column + size] = number / 15
    for corner in ((0, 0), (0, columns - size), (rows - size, 0), (rows - size, columns - size)):
        pairs = (np.arange(size) // int(draw.integers(1, 4)) % 2).astype(np.float32)
        picture[corner[0] : corner[0] + size, corner[1] : corner[1] + size] = pairs
    _write(picture, draw, (rows // 2 - 30, rows // 2 + 30, columns // 3, 2 * columns // 3), 1.0)
    return picture


def shapes(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Evenly filled discs, half discs, triangles, rectangles and rings, on black."""
    picture = np.zeros(shape, np.float32)
    rows, columns = shape
    for _ in range(int(draw.integers(1, 4))):
        centre = (int(draw.choice([0, columns, draw.integers(columns)])), int(draw.integers(rows)))
        level, radius = float(draw.uniform(0.3, 1)), int(draw.uniform(0.2, 0.6) * rows)
        kind = int(draw.integers(4))
        if kind == 0:
            cv2.circle(picture, centre, radius, level, -1)
        elif kind == 1:
            cv2.circle(picture, centre, radius, level, int(draw.integers(3, 60)))
        elif kind == 2:
            corners = np.column_stack([draw.integers(0, columns, 3), draw.integers(0, rows, 3)])
            cv2.fillPoly(picture, [corners.astype(np.int32)], level)
        else:
            half = int(radius * draw.uniform(0.3, 1))
            top, left = max(0, centre[1] - radius), max(0, centre[0] - half)
            picture[top : centre[1] + radius, left : centre[0] + half] = level
    noisy = picture + draw.normal(0, draw.choice([0.0, 0.004]), shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


def moire(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Waves: line pairs, zone plates, a grid that was not removed."""
    down, across = axes(shape)
    angle, count = draw.uniform(0, np.pi), draw.uniform(2, 120)
    phase = down * np.sin(angle) + across * np.cos(angle)
    if draw.random() < 0.4:
        phase = down**2 + across**2
    return (0.5 + 0.5 * np.sin(phase * count)).astype(np.float32)
