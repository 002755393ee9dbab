"""What is usually wrong with a preparation: recipes with one thing changed, each with its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.manifest import (
    CropStep,
    Monochrome1Step,
    NormaliseStep,
    OrientStep,
    ResizeStep,
    ScaleStep,
    WindowStep,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.manifest import Step

    Steps = tuple[Step, ...]
    Changes = Iterator[tuple[str, Steps]]

ENDS = {"low_percent": 1.0, "high_percent": 99.0}
"""Of a window by percentiles, as most codes have them."""


def suspects(steps: Steps) -> Changes:
    """Every recipe that differs from `steps` in one thing that is often wrong."""
    for place, step in enumerate(steps):
        for name, instead in _instead_of(step):
            yield name, (*steps[:place], *instead, *steps[place + 1 :])
    yield from _added(steps)


def _instead_of(step: Step) -> Changes:
    match step:
        case WindowStep():
            yield from _other_windows(step)
        case ResizeStep():
            yield from _other_resizes(step)
        case OrientStep():
            yield from _other_sides(step)
        case NormaliseStep():
            yield from _other_figures(step)
        case ScaleStep():
            yield from (("scale twice", (step, step)), ("no scale", ()))
        case CropStep():
            yield "no crop", ()
        case Monochrome1Step():
            yield "MONOCHROME1 left as it is stored", ()
        case _:
            return


def _other_windows(step: WindowStep) -> Changes:
    for mode in ("voi_lut", "minmax", "percentile", "none"):
        if mode != step.mode:
            ends = ENDS if mode == "percentile" else {}
            yield f"window {mode}", (step.model_copy(update={"mode": mode, **ends}),)
    to = 255.0 if step.to == 1.0 else 1.0
    yield f"gray values from 0 to {to:g}", (step.model_copy(update={"to": to}),)


def _other_resizes(step: ResizeStep) -> Changes:
    for interpolation in ("area", "linear", "cubic", "nearest"):
        if interpolation != step.interpolation:
            other = step.model_copy(update={"interpolation": interpolation})
            yield f"resize by {interpolation}", (other,)
    for mode in ("squeeze", "fit_pad"):
        if mode != step.mode:
            other = step.model_copy(update={"mode": mode, "spacing_mm": None})
            yield f"resize {mode}", (other,)


def _other_sides(step: OrientStep) -> Changes:
    for facing in ("left", "right", "none"):
        if facing != step.facing:
            yield f"breasts facing {facing}", (step.model_copy(update={"facing": facing}),)


def _other_figures(step: NormaliseStep) -> Changes:
    yield "normalise twice", (step, step)
    yield "no normalise", ()
    if len(step.mean) > 1:
        turned = {"mean": step.mean[::-1], "std": step.std[::-1]}
        yield "channels in the other order", (step.model_copy(update=turned),)


def _added(steps: Steps) -> Changes:
    """What the recipe has not at all."""
    top = next((step.to for step in steps if isinstance(step, WindowStep)), 1.0)
    place = next((n for n, step in enumerate(steps) if isinstance(step, ResizeStep)), len(steps))
    before, after = steps[:place], steps[place:]
    invert = ScaleStep(mode="affine", factor=-1.0, offset=top)
    yield "inverted gray values", (*before, *after[:1], invert, *after[1:])
    if not any(isinstance(step, OrientStep) for step in steps):
        yield "breasts facing left", (*before, OrientStep(facing="left"), *after)
        yield "breasts facing right", (*before, OrientStep(facing="right"), *after)
    if not any(isinstance(step, CropStep) for step in steps):
        yield "a crop to the breast", (*before, CropStep(mode="breast_box"), *after)
