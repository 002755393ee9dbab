"""Windows for training: cut from a picture, changed as another scanner would, normalised."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from converters.training.data.preparation import Picture, PreparationOptions, normalise

BAND_SHARE = 0.7
COARSE_PX = 6.0
MIDDLE_PX = 1.5
TISSUE_SHARE = 0.4
TISSUE_TRIES = 6


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a training window may differ from its source."""

    window_px: int
    context_px: int
    """Tissue around a window that enters its local normalisation, on each side."""
    scale: float
    gamma: float
    blur_px: float
    noise: float
    band_gain: float
    transplant: float
    """Share of lesion crops that are grafted into other tissue."""


def cut_window(picture: Picture, generator: np.random.Generator, amount: Augmentation) -> Picture:
    """A turned, flipped and scaled window with its context, before tone and normalisation.

    A picture smaller than the window lies wholly inside it; of a larger one a random part is cut.
    """
    side = amount.window_px + 2 * amount.context_px
    rows, columns = picture.shape
    angle = (
        generator.uniform(0, 360) if generator.random() < 0.5 else 90.0 * int(generator.integers(4))
    )
    scale = float(np.exp(generator.uniform(-1, 1) * np.log(amount.scale)))
    centre = (columns / 2 - 0.5, rows / 2 - 0.5)
    matrix = cv2.getRotationMatrix2D(centre, angle, scale)
    if generator.random() < 0.5:
        matrix = matrix @ np.array([[-1, 0, columns - 1], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
    cosine, sine = np.abs(matrix[0, 0]), np.abs(matrix[0, 1])
    spread = np.array([columns * cosine + rows * sine, columns * sine + rows * cosine])
    slack = np.abs(amount.window_px - spread) / 2
    # A small crop stays whole; a large one keeps its middle more often than its corners.
    shift = generator.uniform(-1, 1, 2) * slack
    matrix[:, 2] += side / 2 - 0.5 - np.array(centre) + shift
    warped = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR)
    # Pixels interpolated between the picture and nothing would draw a dark frame around it.
    whole = cv2.warpAffine(np.ones_like(picture), matrix, (side, side), flags=cv2.INTER_LINEAR)
    return np.asarray(warped * (whole > 0.999), dtype=np.float32)


def cut_tissue(
    picture: Picture,
    generator: np.random.Generator,
    amount: Augmentation,
    recipe: PreparationOptions,
) -> Picture:
    """A window of a view that holds at least 40 % breast (after some tries: the fullest found)."""
    margin = amount.context_px
    tries: list[tuple[float, Picture]] = []
    while len(tries) < TISSUE_TRIES:
        window = cut_window(picture, generator, amount)
        share = float((window[margin:-margin, margin:-margin] > recipe.floor).mean())
        if share > TISSUE_SHARE:
            return window
        tries.append((share, window))
    return max(tries, key=lambda found: found[0])[1]


def graft(lesion: Picture, tissue: Picture, generator: np.random.Generator) -> Picture:
    """`lesion` (a window with zeros around a crop) in `tissue`, tones matched, border feathered."""
    inside = (lesion > 0).astype(np.uint8)
    if inside.mean() < 0.01 or (tissue > 0).mean() < 0.3:
        return lesion
    inside = cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT)
    feather = float(generator.uniform(4, 14))
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    ring = (distance > 0) & (distance < 12)
    under = ring & (tissue > 0)
    if ring.sum() < 20 or under.sum() < 20:
        return lesion
    gain = float(np.clip(tissue[under].std() / max(lesion[ring].std(), 1e-3), 0.5, 2.0))
    matched = (lesion - lesion[ring].mean()) * gain + tissue[under].mean()
    alpha = np.clip(distance / feather, 0, 1)
    return np.asarray(np.clip(alpha * matched + (1 - alpha) * tissue, 0, 1), dtype=np.float32)


def weigh_bands(part: Picture, generator: np.random.Generator, gain: float) -> Picture:
    """Random gains for middle and fine structure, 1/gain to gain; what is 0 stays 0.

    Film here has a third of the middle and fine structure of digital views (power spectra of the
    training data). Without this, sharpness tells film (lesions) from digital (normal tissue).
    """
    content = (part > 0).astype(np.float32)

    def soft(sigma_px: float) -> Picture:
        weight = cv2.GaussianBlur(content, (0, 0), sigma_px)
        blurred = cv2.GaussianBlur(part, (0, 0), sigma_px)
        return np.asarray(blurred / np.maximum(weight, 1e-3), dtype=np.float32)

    coarse, middle = soft(COARSE_PX), soft(MIDDLE_PX)
    limit = np.log(gain)
    first = float(np.exp(generator.uniform(-limit, limit)))
    second = first * float(np.exp(generator.uniform(-limit, limit) / 2))
    weighed = coarse + first * (middle - coarse) + second * (part - middle)
    return np.asarray(np.where(content > 0, np.clip(weighed, 1e-3, 1.0), 0.0), dtype=np.float32)


def change_tone(window: Picture, generator: np.random.Generator, amount: Augmentation) -> Picture:
    """Gamma, contrast, blur or sharpening, grain; what is 0 stays 0."""
    left, top, width, height = cv2.boundingRect((window > 0).astype(np.uint8))
    if width == 0:
        return window
    part = np.ascontiguousarray(window[top : top + height, left : left + width])
    if generator.random() < BAND_SHARE:
        part = weigh_bands(part, generator, amount.band_gain)
    low, high = (float(value) for value in np.quantile(part[part > 0][::7], (0.01, 0.99)))
    span = max(high - low, 0.05)
    tone = np.clip((part - low) / span, 0.0, 1.5)
    tone = cv2.pow(tone, float(np.exp(generator.uniform(-1, 1) * np.log(amount.gamma))))
    if generator.random() < 0.5:
        sigma = float(generator.uniform(0.3, amount.blur_px))
        soft = cv2.GaussianBlur(tone, (0, 0), sigma)
        tone = 1.8 * tone - 0.8 * soft if generator.random() < 0.4 else soft
    if generator.random() < 0.5:
        grain = generator.standard_normal(tone.shape, dtype=np.float32)
        if generator.random() < 0.5:
            # Film grain is coarser than a detector's noise; 2 restores its strength.
            grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 2
        tone = tone + grain * float(generator.uniform(0, amount.noise))
    span = float(np.clip(span * np.exp(generator.uniform(-0.5, 0.5)), 0.08, 0.8))
    low = float(generator.uniform(0.1, max(0.11, 0.95 - span)))
    changed = np.zeros_like(window)
    inside = np.clip(tone * span + low, 0.05, 1.0)
    changed[top : top + height, left : left + width] = np.where(part > 0, inside, 0.0)
    return changed


def finish_window(window: Picture, amount: Augmentation, recipe: PreparationOptions) -> Picture:
    """Normalise with the context around the window, then cut the window out of it."""
    normal = normalise(window, recipe)
    margin = amount.context_px
    return np.ascontiguousarray(normal[margin:, margin:][: amount.window_px, : amount.window_px])
