"""The recipe word for word, in NumPy and float64: slow, and what everything else is held to.

Executes *all* steps, the tail that a package folds into its graph included. Tests compare
`runtime.preprocessing.preparation` with it; packaging proves NumPy(all steps) -> source model equal
to runtime steps -> graph. It shares with the runtime only where the breast is and where content is
placed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.manifest import (
    ChannelsStep,
    CropStep,
    Monochrome1Step,
    NormaliseStep,
    OrientStep,
    ResizeStep,
    ScaleStep,
    WindowStep,
)
from runtime.breast_gate.breast import Box, find_breast
from runtime.pixels.display import display_of
from runtime.preprocessing.placement import Placement, crop_box, is_to_be_mirrored, place

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from models.manifest import Recipe, Step
    from runtime.breast_gate.breast import Breast
    from runtime.pixels.mammogram import Mammogram

    Array = NDArray[np.float64]


@dataclass(kw_only=True)
class _State:
    mammogram: Mammogram
    recipe: Recipe
    breast: Breast | None
    x: Array
    top: float
    content: Placement
    canvas_spacing_mm: float | None = None
    mirrored: bool = False


def prepare_by_reference(mammogram: Mammogram, recipe: Recipe) -> NDArray[np.generic]:
    """What all of `recipe.steps` make of an image.

    Returns:
        The tensor: float32, or uint16 where a channels step says so.
    """
    return run_steps(mammogram, recipe, recipe.steps)


def run_steps(mammogram: Mammogram, recipe: Recipe, steps: tuple[Step, ...]) -> NDArray[np.generic]:
    """What `steps`, some of those of `recipe`, make of an image."""
    rows, columns = mammogram.pixels.shape
    state = _State(
        mammogram=mammogram,
        recipe=recipe,
        breast=find_breast(
            mammogram.pixels,
            monochrome1=display_of(recipe).falls(mammogram),
            bits_stored=mammogram.bits_stored,
        ),
        x=mammogram.pixels.astype(np.float64),
        top=2.0**mammogram.bits_stored - 1,
        content=Placement.whole(rows, columns),
    )
    for step in steps:
        _execute(state, step)
    last = steps[-1]
    as_u16 = isinstance(last, ChannelsStep) and last.element_type == "u16"
    if as_u16:
        return np.clip(np.rint(state.x), 0, 65535).astype(np.uint16)
    return state.x.astype(np.float32)


def _execute(state: _State, step: Step) -> None:
    executors: dict[type, Callable[[_State, Step], None]] = {
        WindowStep: _window,
        Monochrome1Step: _invert,
        OrientStep: _orient,
        CropStep: _crop,
        ResizeStep: _resize,
        ScaleStep: _scale,
        NormaliseStep: _normalise,
        ChannelsStep: _channels,
    }
    executors[type(step)](state, step)


def _window(state: _State, step: Step) -> None:
    assert isinstance(step, WindowStep)  # noqa: S101  for mypy; the table above says so
    image = state.mammogram
    if step.mode == "none":
        return
    state.top = step.to
    values = state.x * image.rescale_slope + image.rescale_intercept
    if step.mode == "voi_lut" and image.voi_luts:
        table = image.voi_luts[0]
        index = np.clip(np.rint(values) - table.first, 0, len(table.entries) - 1).astype(int)
        state.x = table.entries[index] / (2.0**table.bits - 1) * step.to
    elif step.mode == "voi_lut" and image.windows:
        state.x = _through_window(image, values) * step.to
    elif step.mode == "voi_lut" and step.absent == "stored_range":
        share = state.x / (2.0**image.bits_stored - 1)
        state.x = (share if image.rescale_slope > 0 else 1 - share) * step.to
    else:
        percents = (step.low_percent, step.high_percent) if step.mode == "percentile" else (0, 100)
        low, high = np.percentile(values, percents)
        span = high - low
        state.x = np.clip((values - low) / span, 0, 1) * step.to if span > 0 else 0 * values


def _through_window(image: Mammogram, x: Array) -> Array:
    """The pseudo-code of PS3.3 C.11.2.1.2.1 and C.11.2.1.3, for an output of 0 to 1."""
    c, w = image.windows[0].center, image.windows[0].width
    if image.windows[0].function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (x - c) / w)), np.float64)
    if image.windows[0].function == "LINEAR_EXACT":
        y = (x - c) / w + 0.5
        y[x <= c - w / 2], y[x > c + w / 2] = 0, 1
        return np.asarray(y, np.float64)
    y = (x - (c - 0.5)) / (w - 1) + 0.5 if w > 1 else np.zeros_like(x)
    y[x <= c - 0.5 - (w - 1) / 2], y[x > c - 0.5 + (w - 1) / 2] = 0, 1
    return np.asarray(y, np.float64)


def _invert(state: _State, step: Step) -> None:  # noqa: ARG001  all executors take the same
    if state.mammogram.monochrome1:
        state.x = state.top - state.x


def _orient(state: _State, step: Step) -> None:
    assert isinstance(step, OrientStep)  # noqa: S101
    if is_to_be_mirrored(step, state.mammogram.header.laterality, state.breast):
        state.x = state.x[:, ::-1]
        state.mirrored = not state.mirrored


def _crop(state: _State, step: Step) -> None:
    assert isinstance(step, CropStep)  # noqa: S101
    rows, columns = state.x.shape
    whole = Box(top=0, left=0, bottom=rows, right=columns)
    view = state.mammogram.header.view
    box = crop_box(step, whole, state.breast, _source_spacing(state), view)
    source = state.x[:, ::-1] if state.mirrored else state.x
    out = np.zeros((box.rows, box.columns))
    for row in range(max(0, box.top), min(rows, box.bottom)):
        left, right = max(0, box.left), min(columns, box.right)
        out[row - box.top, left - box.left : right - box.left] = source[row, left:right]
    state.x = out[:, ::-1] if state.mirrored else out
    state.content = Placement.whole(*state.x.shape)


def _source_spacing(state: _State) -> tuple[float, float] | None:
    image = state.mammogram
    if image.pixel_spacing_mm is None and image.header.film:
        for step in state.recipe.steps:
            if isinstance(step, ResizeStep) and step.film_spacing_mm is not None:
                return step.film_spacing_mm, step.film_spacing_mm
    return image.pixel_spacing_mm


def _resize(state: _State, step: Step) -> None:
    assert isinstance(step, ResizeStep)  # noqa: S101
    at = place(step, state.x.shape[0], state.x.shape[1], _source_spacing(state))
    enlarges = at.rows > state.x.shape[0] or at.columns > state.x.shape[1]
    method = "linear" if step.interpolation == "area" and enlarges else step.interpolation
    down = resampling(state.x.shape[0], at.rows, method)
    across = resampling(state.x.shape[1], at.columns, method)
    canvas = np.zeros((step.height, step.width))
    canvas[at.top : at.top + at.rows, at.left : at.left + at.columns] = down @ state.x @ across.T
    state.x, state.content, state.canvas_spacing_mm = canvas, at, step.spacing_mm


def resampling(inputs: int, outputs: int, method: str) -> Array:
    """Weights of one axis, outputs x inputs, as OpenCV defines its methods.

    `area`: the share of each input pixel in what an output pixel covers. The others sample at the
    centre of the output pixel, (i + 0.5) * inputs / outputs - 0.5, and repeat the border; `cubic`
    is Keys' kernel with a = -0.75; `nearest` takes floor(i * inputs / outputs).
    """
    ratio = inputs / outputs
    weights = np.zeros((outputs, inputs))
    for i in range(outputs):
        if method == "area":
            low, high = i * ratio, (i + 1) * ratio
            for j in range(int(low), min(inputs, int(np.ceil(high)))):
                weights[i, j] = (min(high, j + 1) - max(low, j)) / ratio
            continue
        if method == "nearest":
            # OpenCV inverts the scale in floating point, which decides ties.
            weights[i, min(inputs - 1, int(i * (1 / (outputs / inputs))))] = 1
            continue
        centre = (i + 0.5) * ratio - 0.5
        first = int(np.floor(centre))
        reach, kernel = (1, _tent) if method == "linear" else (2, _keys)
        for j in range(first - reach + 1, first + reach + 1):
            weights[i, min(max(j, 0), inputs - 1)] += kernel(abs(centre - j))
    return weights


def _tent(distance: float) -> float:
    return max(0.0, 1 - distance)


def _keys(distance: float, a: float = -0.75) -> float:
    if distance <= 1:
        return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    if distance < 2:
        return a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return 0.0


def _scale(state: _State, step: Step) -> None:
    assert isinstance(step, ScaleStep)  # noqa: S101
    x = state.x
    if step.mode == "affine":
        x = x * step.factor + step.offset
    elif step.mode == "minmax":
        span = x.max() - x.min()
        x = (x - x.min()) / span if span > 0 else 0 * x
    else:
        divisor = x.max() if step.by == "image_max" else step.by or 1.0
        x = x / divisor if divisor else x
    low = -np.inf if step.clip_low is None else step.clip_low
    high = np.inf if step.clip_high is None else step.clip_high
    state.x = np.clip(x, low, high)


def _normalise(state: _State, step: Step) -> None:
    assert isinstance(step, NormaliseStep)  # noqa: S101
    if step.mode == "per_image":
        state.x = (state.x - state.x.mean()) / max(state.x.std(), step.epsilon)
    elif step.mode == "fixed":
        mean, std = np.array(step.mean), np.array(step.std)
        shape = (-1, 1, 1) if mean.size > 1 else (1, 1)
        state.x = (state.x - mean.reshape(shape)) / std.reshape(shape)
    else:
        state.x = _normalised_locally(state, step)


def _normalised_locally(state: _State, step: NormaliseStep) -> Array:
    """The counted pixels of the box around each: their mean, their deviation."""
    if step.box_mm is None or state.canvas_spacing_mm is None:
        raise ValueError("normalise local needs box_mm and a resize to spacing_mm before it")
    side = max(1, round(step.box_mm / state.canvas_spacing_mm))
    half = side // 2  # an even side has one pixel added: 2 * half + 1
    at = state.content
    counted = np.zeros(state.x.shape, bool)
    counted[at.top : at.top + at.rows, at.left : at.left + at.columns] = True
    if step.floor is not None:
        counted &= state.x > step.floor
    seen = np.where(counted, state.x, 0.0)
    n = np.maximum(_box_sums(counted.astype(np.float64), half), 1.0)
    mean = _box_sums(seen, half) / n
    # About the image's own mean, so that the difference of squares loses nothing.
    shift = seen.sum() / max(counted.sum(), 1)
    square = _box_sums(np.where(counted, (state.x - shift) ** 2, 0.0), half) / n
    deviation = np.sqrt(np.maximum(square - (mean - shift) ** 2, 0.0))
    return np.where(counted, (state.x - mean) / np.maximum(deviation, step.epsilon), 0.0)


def _box_sums(x: Array, half: int) -> Array:
    """Sum of the 2*half+1 rows and columns around each place, nothing beyond the borders."""
    side = 2 * half + 1
    sums = np.pad(x, ((half + 1, half), (half + 1, half))).cumsum(axis=0).cumsum(axis=1)
    lower, upper = sums[side:], sums[:-side]
    return np.asarray(
        lower[:, side:] - upper[:, side:] - lower[:, :-side] + upper[:, :-side], np.float64
    )


def _channels(state: _State, step: Step) -> None:
    assert isinstance(step, ChannelsStep)  # noqa: S101
    planes = state.x if state.x.ndim == 3 else np.stack([state.x] * step.count)
    state.x = planes[np.newaxis] if step.layout == "NCHW" else planes.transpose(1, 2, 0)[np.newaxis]
