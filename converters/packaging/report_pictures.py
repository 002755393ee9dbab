"""Pictures of a report: small, as data within the page, never with a file's name."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

import cv2
import numpy as np

from converters.labelled.image_reading import ImageRefusedError, SideNotes, read_image
from models.manifest import Monochrome1Step, Recipe, ResizeStep, WindowStep
from runtime.preprocessing.preparation import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from runtime.pixels.mammogram import Mammogram

PREVIEW_PX = 192
PREVIEW = Recipe(
    steps=(
        WindowStep(mode="voi_lut", to=255),
        Monochrome1Step(),
        ResizeStep(mode="fit_pad", height=PREVIEW_PX, width=PREVIEW_PX),
    )
)


def preview(path: Path) -> str:
    """A small picture of an image file, not for diagnostic use."""
    try:
        mammogram = read_image(path, SideNotes())
    except ImageRefusedError as refused:
        return f"<p>{escape(refused.reason)}</p>"
    return _image(prepare(mammogram, PREVIEW).tensor)


def picture_of(tensor: NDArray[np.generic]) -> str:
    """The first channel of what steps made, its lowest value black and its highest white."""
    plane = np.squeeze(np.asarray(tensor, np.float32))
    while plane.ndim > 2:  # channels, windows or views: fewer than rows and columns
        plane = np.take(plane, 0, axis=int(np.argmin(plane.shape)))
    low, high = float(plane.min()), float(plane.max())
    gray = (plane - low) / max(high - low, 1e-6) * 255
    scale = PREVIEW_PX / max(gray.shape)
    size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
    return _image(cv2.resize(gray, size, interpolation=cv2.INTER_AREA))


def strip(recipe: Recipe, example: Mammogram) -> str:
    """What each step of a recipe makes of one view, side by side, with its range of values."""
    figures = []
    for number, step in enumerate(recipe.steps, start=1):
        made = np.asarray(prepare(example, Recipe(steps=recipe.steps[:number])).tensor)
        told = f"{number}. {step.step} {getattr(step, 'mode', '')}"
        size = " x ".join(map(str, made.shape))
        figures.append(
            f"<figure>{picture_of(made)}<figcaption>{escape(told)}<br>{size}<br>"
            f"{float(made.min()):.3g} to {float(made.max()):.3g}</figcaption></figure>"
        )
    return "".join(figures)


def _image(gray: NDArray[np.generic]) -> str:
    """A JPEG within the page: a fifth of a PNG, and a report may hold hundreds."""
    _, jpeg = cv2.imencode(".jpg", np.clip(gray, 0, 255).astype(np.uint8))
    data = base64.b64encode(jpeg.tobytes()).decode()
    return f"<img alt='preview, not for diagnostic use' src='data:image/jpeg;base64,{data}'>"
