"""The linear tail of a recipe as part of the graph: it costs nothing there and cannot drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from converters.errors import BenchFaultError
from models.manifest import ChannelsStep, InputPort, NormaliseStep, Recipe, ScaleStep, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from converters.importing.recipe import PackageRecipe

FOLD_TOLERANCE = 1e-4
"""Largest allowed difference of any output between source and folded graph, at FP32: of the largest
value that the output has, or of 1 where that is smaller."""


def linear_tail_start(steps: tuple[Step, ...]) -> int:
    """Index of the first step of the recipe's linear tail; `len(steps)` if there is none.

    Linear are scale by a number, affine without clipping, normalise with fixed figures, and
    channels. A tail that is one channel alone folds nothing that costs anything.
    """
    start = len(steps)
    while start > 0 and _is_linear(steps[start - 1]):
        start -= 1
    tail = steps[start:]
    worth_it = any(not isinstance(step, ChannelsStep) or step.count == 3 for step in tail)
    return start if worth_it and isinstance(tail[-1], ChannelsStep) else len(steps)


def _is_linear(step: Step) -> bool:
    match step:
        case ScaleStep(mode="divide"):
            return isinstance(step.by, float | int)
        case ScaleStep(mode="affine"):
            return step.clip_low is None and step.clip_high is None
        case NormaliseStep(mode="fixed") | ChannelsStep(element_type="f32"):
            return True
        case _:
            return False


def fold(graph: Any, port: InputPort, recipe: Recipe) -> InputPort:
    """Fold the tail of `recipe` into `graph` at `port`; the port as the manifest has it."""
    import openvino
    from openvino.preprocess import PrePostProcessor

    start = linear_tail_start(recipe.steps)
    if start == len(recipe.steps):
        return port.model_copy(update={"preparation": recipe})
    channels = recipe.steps[-1]
    assert isinstance(channels, ChannelsStep)  # noqa: S101 - linear_tail_start's promise, for mypy
    rows, columns = port.shape[2:] if channels.layout == "NCHW" else port.shape[1:3]
    processor = PrePostProcessor(graph)
    at = processor.input(port.tensor)
    at.tensor().set_shape([rows, columns]).set_element_type(openvino.Type.f32)
    # One custom step: PrePostProcessor itself refuses to turn 1 channel into 3.
    at.preprocess().custom(lambda node: _tail(node, recipe.steps[start:]))
    processor.build()
    folded = Recipe(steps=recipe.steps, folded_from=start)
    return port.model_copy(update={"shape": (rows, columns), "preparation": folded})


def _tail(node: Any, steps: tuple[Step, ...]) -> Any:
    """The steps as OpenVINO operations on a rows x columns tensor; channels come last."""
    from openvino import opset13

    channels = steps[-1]
    assert isinstance(channels, ChannelsStep)  # noqa: S101 - see fold
    axis = 1 if channels.layout == "NCHW" else 3
    node = opset13.unsqueeze(node, np.array([0, axis])).output(0)
    if channels.count == 3:
        node = opset13.concat([node] * 3, axis).output(0)
    figures = [1, 1, 1, 1]
    figures[axis] = -1
    for step in steps[:-1]:
        factor, offset = factor_and_offset(step)
        node = opset13.multiply(node, factor.reshape(figures)).output(0)
        node = opset13.add(node, offset.reshape(figures)).output(0)
    return node


def factor_and_offset(step: Step) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A linear step as y = x * factor + offset, one figure or one for each channel."""
    match step:
        case ScaleStep(mode="divide", by=float() | int() as by) if by != 0:
            return np.array([1.0 / by], np.float32), np.array([0.0], np.float32)
        case ScaleStep(mode="affine"):
            return np.array([step.factor], np.float32), np.array([step.offset], np.float32)
        case NormaliseStep(mode="fixed"):
            mean, std = np.array(step.mean), np.array(step.std)
            return (1.0 / std).astype(np.float32), (-mean / std).astype(np.float32)
        case _:
            raise BenchFaultError([f"step {step.step} is not linear"])


def prove_fold(
    unfolded: Any, folded: Any, recipe: PackageRecipe, inputs: tuple[InputPort, ...]
) -> float:
    """Largest difference of any output, NumPy tail -> source graph against the folded graph.

    Relative to the output's own extent.
    """
    import openvino

    if all(port.preparation is None or port.preparation.folded_from is None for port in inputs):
        return 0.0
    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    before = core.compile_model(unfolded, "CPU", exact)
    after = core.compile_model(folded, "CPU", exact)
    generator = np.random.default_rng(7)
    largest = 0.0
    for _ in range(3):
        whole, short = {}, {}
        for port in inputs:
            plain = generator.random(
                port.shape[-2:] if len(port.shape) == 2 else port.shape, np.float32
            )
            steps = recipe.steps_for(port)
            start = port.preparation.folded_from if port.preparation else None
            short[port.tensor] = plain
            whole[port.tensor] = plain if start is None else numpy_tail(plain, steps.steps[start:])
        for name in (p.tensor for p in recipe.outputs):
            expected, found = before(whole)[name], after(short)[name]
            extent = max(1.0, float(np.abs(expected).max()))
            largest = max(largest, float(np.abs(expected - found).max()) / extent)
    if largest > FOLD_TOLERANCE:
        told = f"folding the recipe's tail changes an output by {largest:.2g} of its extent"
        raise BenchFaultError([told])
    return largest


def numpy_tail(plain: NDArray[np.float32], steps: tuple[Step, ...]) -> NDArray[np.float32]:
    """The same steps in plain NumPy: what the fold is compared with."""
    channels = steps[-1]
    assert isinstance(channels, ChannelsStep)  # noqa: S101 - see fold
    values = np.repeat(plain[np.newaxis], channels.count, axis=0)
    for step in steps[:-1]:
        factor, offset = factor_and_offset(step)
        values = values * factor[:, np.newaxis, np.newaxis] + offset[:, np.newaxis, np.newaxis]
    values = values[np.newaxis]
    if channels.layout == "NHWC":
        values = values.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(values, np.float32)
