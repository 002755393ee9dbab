"""Noise, gradients, and what a detector gives without an object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Picture = NDArray[np.float32]


def axes(shape: tuple[int, int]) -> tuple[Picture, Picture]:
    """Rows and columns of a picture as numbers from -1 to 1."""
    down = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    return down + 0 * across, across + 0 * down


def stretched(picture: NDArray[np.floating]) -> Picture:
    """From 0 to 1."""
    low, high = float(picture.min()), float(picture.max())
    return ((picture - low) / max(1e-9, high - low)).astype(np.float32)


def coloured_noise(draw: Generator, shape: tuple[int, int], slope: float) -> Picture:
    """A random field whose power falls with frequency to the power of `slope`; 0 to 1."""
    rows, columns = shape
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(draw.standard_normal(shape)) / frequency ** (slope / 2)
    return stretched(np.fft.irfft2(spectrum, shape))


def white_noise(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Uniform, Gaussian, Poisson, or salt and pepper."""
    kind = int(draw.integers(4))
    if kind == 0:
        return draw.random(shape, np.float32)
    if kind == 1:
        return np.clip(draw.normal(0.5, draw.uniform(0.02, 0.3), shape), 0, 1).astype(np.float32)
    if kind == 2:
        return stretched(draw.poisson(draw.uniform(1, 60), shape).astype(np.float32))
    return (draw.random(shape) > draw.uniform(0.02, 0.98)).astype(np.float32)


def clouds(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Coloured noise, from nearly white to almost one slope, some of it of high contrast."""
    field = coloured_noise(draw, shape, draw.uniform(0.5, 4.5))
    middle, hardness = float(np.median(field)), draw.uniform(0.5, 8)
    return np.clip((field - middle) * hardness + draw.uniform(0, 0.6), 0, 1).astype(np.float32)


def clouds_at_a_wall(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Clouds that are brighter towards one side, on black."""
    _, across = axes(shape)
    side = 1 if draw.random() < 0.5 else -1
    field = coloured_noise(draw, shape, draw.uniform(1, 4.5)) - 0.5
    level = draw.uniform(-0.3, 0.6) - side * across * draw.uniform(0.3, 1.5)
    return np.clip(level + field * draw.uniform(0.5, 4), 0, 1).astype(np.float32)


def gradient(draw: Generator, shape: tuple[int, int]) -> Picture:
    """A slope in some direction, straight or curved, with or without noise."""
    down, across = axes(shape)
    angle = draw.uniform(0, 2 * np.pi)
    slope = (down * np.sin(angle) + across * np.cos(angle) + 1.5) / 3
    bent = np.clip(slope, 0, 1) ** draw.uniform(0.3, 3)
    return stretched(bent + draw.normal(0, draw.choice([0.0, 0.005, 0.05]), shape))


def glow(draw: Generator, shape: tuple[int, int]) -> Picture:
    """A spot of light that fades from a border or a corner: a lamp, a heel effect, a flare."""
    down, across = axes(shape)
    centre = draw.choice([-1.0, 1.0]), draw.uniform(-0.7, 0.7)
    apart = np.hypot((down - centre[1]) / draw.uniform(0.4, 1.2), across - centre[0])
    light = np.exp(-((apart / draw.uniform(0.3, 1.2)) ** draw.uniform(1, 4)))
    return stretched(light + draw.normal(0, draw.choice([0.0, 0.005, 0.03]), shape))


def flat_field(draw: Generator, shape: tuple[int, int]) -> Picture:
    """Blank, grey or saturated, with a detector's noise, dead lines, a saturated part."""
    level = float(draw.choice([0.0, 1.0, draw.uniform(0.05, 0.95)]))
    field = np.full(shape, level, np.float32)
    if draw.random() < 0.6:
        field += draw.normal(0, draw.uniform(0.001, 0.02), shape).astype(np.float32)
    if draw.random() < 0.4:
        field[:, int(draw.integers(shape[1])) :][:, :2] = 1 - level
    if draw.random() < 0.3:
        field[int(draw.integers(shape[0])) :] = draw.random()
    return np.clip(field, 0, 1)


def saturated_side(draw: Generator, shape: tuple[int, int]) -> Picture:
    """One part at the end of the range, the other empty, the border straight or slanting."""
    down, across = axes(shape)
    side = 1 if draw.random() < 0.5 else -1
    border = draw.uniform(-0.6, 0.6) + down * draw.uniform(-0.5, 0.5)
    lit = (across * side < border).astype(np.float32)
    soft = cv2.GaussianBlur(lit, (0, 0), float(draw.uniform(0.5, 12)))
    return np.clip(soft + draw.normal(0, draw.choice([0.0, 0.01, 0.04]), shape), 0, 1)
