"""The preparation of published models, transcribed literally: NumPy and the cv2.resize they call.

Figures from each model's own code or paper. What a model's code looks for in the image (the place
of the breast) is given as a box, because that search is the runtime's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An image as the published codes have it: stored values, and what a viewer would show."""

    stored: Array
    bits: int
    monochrome1: bool
    center: float
    width: float
    laterality: str
    box: tuple[int, int, int, int]
    """Top, left, bottom, right of the breast."""
    view: str = "CC"

    def displayed(self, top: float) -> Array:
        """PS3.3 C.11.2.1.2 LINEAR, then inverted where the lowest value displays white."""
        c, w = self.center, self.width
        y = ((self.stored - (c - 0.5)) / (w - 1) + 0.5) * top
        y[self.stored <= c - 0.5 - (w - 1) / 2] = 0
        y[self.stored > c - 0.5 + (w - 1) / 2] = top
        return top - y if self.monochrome1 else y

    def positive(self) -> Array:
        """Stored values with bright tissue."""
        return 2**self.bits - 1 - self.stored if self.monochrome1 else self.stored


def nyu(height: int, width: int) -> Callable[[Seen], Array]:
    """breast_cancer_classifier and GMIC: flipped, windowed at the breast, standardised."""

    def prepared(seen: Seen) -> Array:
        top, left, bottom, right = seen.box
        image = seen.positive()
        if seen.laterality == "R":  # "R views flipped so that all face right"
            image = np.fliplr(image)
            left, right = image.shape[1] - right, image.shape[1] - left
        first = (top + bottom - height) // 2
        if seen.view == "MLO" and bottom - top < height:  # "MLO view: only pad at the bottom"
            first = top
        window = np.zeros((height, width))
        for row in range(height):
            if 0 <= first + row < image.shape[0]:
                line = image[first + row, left : left + width]
                window[row, : line.size] = line
        window -= np.mean(window)
        window /= np.maximum(np.std(window), 10 ** (-5))
        return window[None, None]

    return prepared


def shen(seen: Seen) -> Array:
    """end2end-all-conv: cv2.INTER_CUBIC, rescale_factor 0.003891, featurewise mean 52.18."""
    # In float32: of float64, OpenCV 5 makes a cubic that is 8e-5 off its own kernel.
    image = seen.displayed(65535).astype(np.float32)
    image = cv2.resize(image, dsize=(896, 1152), interpolation=cv2.INTER_CUBIC).astype(np.float64)
    image = image * 0.003891 - 52.18
    return np.stack([image] * 3, axis=-1)[None]


def mirai(seen: Seen) -> Array:
    """Min-max to 16 bit, 1664 x 2048, aligned, (x - 7047.99) / 12005.5."""
    image = seen.positive()
    image = (image - image.min()) / (image.max() - image.min()) * 65535
    image = shrunk_by_mean(image, 2048, 1664)
    quarter = 1664 // 4
    without_left, without_right = image.copy(), image.copy()
    without_left[:, :quarter] = 0
    without_right[:, -quarter:] = 0
    if without_right.sum() > without_left.sum():
        image = np.fliplr(image)
    image = (image - 7047.99) / 12005.5
    return np.stack([image] * 3)[None]


def mammo_clip(seen: Seen) -> Array:
    """Min-max, breast, cv2.INTER_AREA to 912 x 1520, min-max, mean and deviation."""
    image = seen.stored.max() - seen.stored if seen.monochrome1 else seen.stored
    image = image - image.min()
    image = image / image.max() * 255
    top, left, bottom, right = seen.box
    image = shrunk_by_mean(image[top:bottom, left:right], 1520, 912)
    image -= image.min()
    image /= image.max()
    image = (image - 0.3089279) / 0.2505356
    return np.stack([image] * 3)[None]


def rsna2022_first(seen: Seen) -> Array:
    """VOI LUT to 0-255, aspect kept, centred on zero, ImageNet's figures times 255."""
    top, left, bottom, right = seen.box
    image = seen.displayed(255)[top:bottom, left:right]
    scale = min(2048 / image.shape[0], 1024 / image.shape[1])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    canvas = np.zeros((2048, 1024))
    y, x = (2048 - size[1]) // 2, (1024 - size[0]) // 2
    canvas[y : y + size[1], x : x + size[0]] = image
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    planes = [(canvas - m * 255) / (d * 255) for m, d in zip(mean, deviation, strict=True)]
    return np.stack(planes)[None]


def monai_density(seen: Seen) -> Array:
    """ScaleIntensity to 0-1, Resize to 299 x 299, three equal channels."""
    image = seen.displayed(255)
    image = (image - image.min()) / (image.max() - image.min())
    return np.stack([shrunk_by_mean(image, 299, 299)] * 3)[None]


def petrini(seen: Seen) -> Array:
    """standard_normalize, then cv2.resize to 896 x 1152."""
    image = seen.displayed(65535)
    image = (image - 13369) / 65535
    image = cv2.resize(image, (896, 1152))
    return np.stack([image] * 3)[None]


def shrunk_by_mean(image: Array, rows: int, columns: int) -> Array:
    """The mean of what each pixel covers; where an axis is enlarged, cv2.resize's linear."""
    if rows > image.shape[0] or columns > image.shape[1]:
        return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)

    def weights(inputs: int, outputs: int) -> Array:
        edges = np.linspace(0, inputs, outputs + 1)
        low = np.maximum(edges[:-1, None], np.arange(inputs))
        high = np.minimum(edges[1:, None], np.arange(1, inputs + 1))
        return np.clip(high - low, 0, None) * outputs / inputs

    return weights(image.shape[0], rows) @ image @ weights(image.shape[1], columns).T
