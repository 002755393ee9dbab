"""X-ray pictures of other things: chest, hand, knee, skull, quality control, ultrasound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from tests.no_breast.fields import axes, coloured_noise

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Picture = NDArray[np.float32]


def _grained(draw: Generator, film: NDArray[np.floating], tissue: float = 0.08) -> Picture:
    """With tissue texture where there is something, quantum noise, and a film's softness."""
    texture = coloured_noise(draw, (film.shape[0], film.shape[1]), 3.0) - 0.5
    soft = cv2.GaussianBlur(film.astype(np.float32), (0, 0), float(draw.uniform(1, 4)))
    grained = soft + texture * tissue * (soft > 0.1)
    noise = draw.normal(0, draw.uniform(0.003, 0.015), film.shape)
    return np.clip(grained + noise, 0, 1).astype(np.float32)


def chest_film(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Two dark lungs in a bright body, heart, spine, ribs; filling the film or on black."""
    down, across = axes(shape)
    width = draw.uniform(0.75, 1.3)
    body = np.abs(across) < width * (1 - 0.15 * np.clip(-down, 0, 1))
    film = np.where(body, draw.uniform(0.6, 0.8), 0.03)
    for side in (-1, 1):
        wide, tall = draw.uniform(0.24, 0.36), draw.uniform(0.5, 0.75)
        lung = ((across - side * 0.42) / wide) ** 2 + ((down + 0.08) / tall) ** 2 < 1
        film = np.where(lung, draw.uniform(0.15, 0.35), film)
    film += np.exp(-((across / 0.12) ** 2)) * 0.15
    film += 0.05 * np.sin(down * draw.uniform(20, 40) + np.abs(across) * 8) * body
    heart = ((across - 0.12) / 0.28) ** 2 + ((down - 0.25) / 0.3) ** 2 < 1
    film = np.where(heart, np.maximum(film, 0.7), film)
    return _grained(draw, film)


def half_chest_film(draw: Generator, shape: tuple[int, int]) -> Picture:
    """One lung: the half of a chest film, the spine at a border."""
    whole = chest_film(draw, (shape[0], 2 * shape[1]))
    return whole[:, : shape[1]] if draw.random() < 0.5 else whole[:, shape[1] :]


def lateral_chest(draw: Generator, shape: tuple[int, int]) -> Picture:
    """From the side: a body on black whose back runs along one border."""
    down, across = axes(shape)
    front = 0.3 + 0.35 * np.sin((down + 1) * draw.uniform(0.9, 1.5)) * draw.uniform(0.6, 1.2)
    film = np.where(across < front, draw.uniform(0.5, 0.8), 0.02)
    lung = ((across + 0.25) / 0.45) ** 2 + (down / 0.7) ** 2 < 1
    film = np.where(lung, draw.uniform(0.15, 0.3), film)
    film += 0.25 * np.exp(-(((across + 0.75) / 0.12) ** 2)) * (0.8 + 0.2 * np.sin(down * 30))
    grained = _grained(draw, film)
    return grained[:, ::-1].copy() if draw.random() < 0.5 else grained


def _bone(film: Picture, ends: NDArray[np.floating], width: int, flesh: float = 0.35) -> None:
    """A long bone between two points (column, row), within flesh."""
    start, end = (tuple(int(x) for x in point) for point in ends)
    limb = np.zeros_like(film)
    cv2.line(limb, start, end, flesh, int(width * 2.2), cv2.LINE_AA)
    np.maximum(film, limb, out=film)
    limb[:] = 0
    cv2.line(limb, start, end, 0.85, width, cv2.LINE_AA)
    cv2.line(limb, start, end, 0.6, max(1, width // 2), cv2.LINE_AA)
    np.maximum(film, limb, out=film)


def hand_film(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Five fingers from a palm, the wrist at one border."""
    rows, columns = shape
    film = np.full(shape, 0.02, np.float32)
    palm = np.array([columns * draw.uniform(0.25, 0.45), rows * draw.uniform(0.45, 0.6)])
    wide = int(rows * draw.uniform(0.1, 0.2))
    cv2.ellipse(film, tuple(palm.astype(int).tolist()), (wide, int(wide * 1.2)), 0, 0, 360, 0.4, -1)
    for number in range(5):
        angle = (number - 2) * draw.uniform(0.2, 0.32)
        reach = columns * draw.uniform(0.35, 0.5)
        tip = palm + reach * np.array([np.cos(angle), np.sin(angle)])
        _bone(film, np.stack([palm, tip]), max(6, wide // 7))
    wrist = np.array([0, palm[1]])
    _bone(film, np.stack([wrist, palm]), max(8, wide // 2), 0.4)
    grained = _grained(draw, film)
    turned = int(draw.integers(4))
    if turned in (1, 3):
        return cv2.resize(np.rot90(grained, turned).copy(), (columns, rows))
    return np.rot90(grained, turned).copy()


def knee_film(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Two long bones that meet, from border to border, in the middle or at a side."""
    rows, columns = shape
    film = np.full(shape, 0.02, np.float32)
    middle = columns * draw.choice([0.1, 0.3, 0.5, 0.9])
    joint = rows * draw.uniform(0.4, 0.6)
    width = int(columns * draw.uniform(0.1, 0.22))
    above = np.array([[middle + draw.uniform(-40, 40), -20], [middle, joint - width // 2]])
    below = np.array([[middle, joint + width // 2], [middle + draw.uniform(-40, 40), rows + 20]])
    flesh = float(draw.uniform(0.25, 0.5))
    _bone(film, above, width, flesh)
    _bone(film, below, width, flesh)
    return _grained(draw, film)


def skull_film(draw: Generator, shape: tuple[int, int]) -> Picture:
    """A bright shell with dark holes, whole or cut by a border."""
    down, across = axes(shape)
    centre = draw.choice([0.0, -0.8, 0.8])
    radius = ((across - centre) / draw.uniform(0.6, 0.95)) ** 2 + (down / 0.85) ** 2
    film = np.where(radius < 1, 0.5 + 0.4 * np.exp(-(((radius - 0.93) / 0.06) ** 2)), 0.02)
    for side in (-1, 1):
        orbit = ((across - centre - side * 0.25) / 0.16) ** 2 + ((down - 0.1) / 0.14) ** 2 < 1
        film = np.where(orbit, 0.2, film)
    return _grained(draw, film)


def collimated(draw: Generator, shape: tuple[int, int]) -> Picture:
    """A rectangle of the film exposed, with a texture in it, straight or turned."""
    film = np.zeros(shape, np.float32)
    rows, columns = shape
    centre = (columns * draw.choice([0.1, 0.5, 0.9]), rows * draw.uniform(0.35, 0.65))
    size = (columns * draw.uniform(0.4, 0.9), rows * draw.uniform(0.4, 0.9))
    corners = cv2.boxPoints((centre, size, float(draw.choice([0.0, draw.uniform(-20, 20)]))))
    cv2.fillPoly(film, [corners.astype(np.int32)], float(draw.uniform(0.3, 0.8)))
    return _grained(draw, film, tissue=float(draw.uniform(0, 0.4)))


def quality_block(draw: Generator, shape: tuple[int, int]) -> Picture:
    """The block of acrylic that units are tested with, at the chest wall, with specks and discs."""
    rows, columns = shape
    film = np.full(shape, 0.03, np.float32)
    height, width = int(rows * draw.uniform(0.4, 0.8)), int(columns * draw.uniform(0.35, 0.8))
    top = int((rows - height) * draw.uniform(0.3, 0.7))
    level = float(draw.uniform(0.4, 0.7))
    film[top : top + height, :width] = level
    for _ in range(16):
        place = int(draw.integers(width)), int(draw.integers(top, top + height))
        cv2.circle(film, place, int(draw.integers(2, 14)), level + float(draw.uniform(0.02, 0.1)))
    grained = _grained(draw, film, tissue=0.0)
    return grained[:, ::-1].copy() if draw.random() < 0.5 else grained


def ultrasound(draw: Generator, shape: tuple[int, int]) -> Picture:
    """A fan of speckle on black, from above or from a side."""
    down, across = axes(shape)
    turned = draw.random() < 0.5
    along, aside = (across + 1, down) if turned else (down + 1, across)
    apart, angle = np.hypot(along + 0.3, aside), np.arctan2(aside, along + 0.3)
    fan = (np.abs(angle) < draw.uniform(0.5, 1.0)) & (apart < draw.uniform(1.2, 2.0))
    fan &= apart > 0.35
    speckle = cv2.GaussianBlur(draw.rayleigh(0.3, shape).astype(np.float32), (0, 0), 2)
    layers = 0.6 + 0.4 * coloured_noise(draw, shape, 2.5)
    return np.clip(fan * speckle * layers * draw.uniform(0.6, 1.4), 0, 1).astype(np.float32)


def body_slice(draw: Generator, shape: tuple[int, int]) -> Picture:
    """A CT or MR slice: an oval body on black with organs, whole or cut by a border."""
    down, across = axes(shape)
    centre = draw.choice([0.0, -0.7, 0.7])
    body = ((across - centre) / draw.uniform(0.7, 0.95)) ** 2 + (down / draw.uniform(0.6, 0.9)) ** 2
    film = np.where(body < 1, draw.uniform(0.35, 0.6), 0.01)
    for _ in range(int(draw.integers(3, 9))):
        row, column = draw.uniform(-0.5, 0.5), centre + draw.uniform(-0.5, 0.5)
        tall, wide = draw.uniform(0.08, 0.35), draw.uniform(0.08, 0.3)
        organ = ((across - column) / wide) ** 2 + ((down - row) / tall) ** 2 < 1
        film = np.where(organ & (body < 1), draw.uniform(0.05, 1), film)
    return _grained(draw, film)
