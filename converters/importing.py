"""A trained model in, a static-shape OpenVINO model with the recipe's linear tail folded in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converters.errors import BenchFaultError
from converters.folding import fold, prove_fold
from models.archive import is_safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from converters.recipe import PackageRecipe
    from models.manifest import InputPort

PICKLED = {".pth", ".pt", ".p", ".pkl", ".ckpt", ".pickle"}
PICKLED_ADVICE = """a pickled checkpoint executes code when it is read, and holds no architecture.
Export it where the code that made it is installed:
    import torch
    model = ...                  # build it and load the checkpoint as its authors do
    model.eval()
    torch.onnx.export(
        model, (torch.zeros(1, 1, ROWS, COLUMNS),), "model.onnx",
        input_names=["view"], output_names=["suspicion"], opset_version=17,
    )"""


@dataclass(frozen=True, kw_only=True)
class ImportedModel:
    """A source model as an OpenVINO graph that starts where the runtime's preparation ends."""

    graph: Any
    """openvino.Model with the recipe's tail folded in, static shapes, named ports."""
    run_source: Callable[[Mapping[str, NDArray[np.generic]]], dict[str, NDArray[np.float32]]]
    """The source model in its own framework, on what all steps of the recipe make."""
    inputs: tuple[InputPort, ...]
    """As they stand in the manifest: the folded graph's shapes, the folded recipes."""
    source: Path
    source_sha256: str
    framework: str
    largest_fold_difference: float


def import_onnx(source: Path, recipe: PackageRecipe) -> ImportedModel:
    """Read an ONNX file and fold the recipe's linear tail into its graph.

    Raises:
        BenchFaultError: not ONNX, weights outside its folder, ports that are not the recipe's,
            shapes that cannot be made static, operations that OpenVINO does not know, or a fold
            that changes the result.
    """
    _refuse_what_is_no_onnx(source)
    unfolded = _read(source)
    _make_static(unfolded, source, recipe)
    graph = unfolded.clone()
    inputs = tuple(fold(graph, port, recipe.steps_for(port)) for port in recipe.inputs)
    return ImportedModel(
        graph=graph,
        run_source=onnx_runner(source),
        inputs=inputs,
        source=source,
        source_sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
        framework="onnx",
        largest_fold_difference=prove_fold(unfolded, graph, recipe, inputs),
    )


def onnx_runner(
    source: Path,
) -> Callable[[Mapping[str, NDArray[np.generic]]], dict[str, NDArray[np.float32]]]:
    """ONNX Runtime on this machine's CPU: output tensors by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(names, session.run(names, dict(tensors)), strict=True))

    return run


def _refuse_what_is_no_onnx(source: Path) -> None:
    import onnx
    from google.protobuf.message import DecodeError

    if source.suffix.lower() in PICKLED:
        raise BenchFaultError([f"{source.name}: {PICKLED_ADVICE}"])
    try:
        model = onnx.load(str(source), load_external_data=False)
    except (OSError, DecodeError) as fault:
        raise BenchFaultError([f"{source.name}: no readable ONNX: {fault}"]) from fault
    if not model.graph.node:
        raise BenchFaultError([f"{source.name}: an ONNX file without a graph"])
    faults = [
        f"{source.name}: weights of {tensor.name!r} lie outside its folder"
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location" and not is_safe_path(entry.value)
    ]
    if faults:
        raise BenchFaultError(faults)


def _read(source: Path) -> Any:
    import openvino
    from openvino import frontend

    try:
        # convert_model, not read_model: it also simplifies the graph (Clip becomes Clamp, shapes
        # become constants), without which the CPU runs quantised depthwise layers in FP32.
        return openvino.convert_model(str(source))
    except (
        RuntimeError,
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    ) as fault:
        raise BenchFaultError(
            [f"{source.name}: OpenVINO cannot read it: {_told(fault)}"]
        ) from fault


def _told(fault: Exception) -> str:
    """What OpenVINO says about operations and nodes, without the places in its own source."""
    lines = [line.strip() for line in str(fault).splitlines()]
    telling = [line for line in lines if line and not line.startswith(("Check ", "FrontEnd API"))]
    return " ".join(telling or lines)[:1000]


def _make_static(graph: Any, source: Path, recipe: PackageRecipe) -> None:
    there = {port.any_name: port for port in graph.inputs}
    faults = [
        f"{source.name}: input {port.tensor!r} of the recipe is none of {', '.join(there)}"
        for port in recipe.inputs
        if port.tensor not in there
    ]
    outputs = {name for port in graph.outputs for name in port.names}
    wanted = {port.tensor for port in recipe.outputs}
    wanted |= {recipe.evidence.tensor} if recipe.evidence else set()
    faults += [
        f"{source.name}: output {tensor!r} of the recipe is none of {', '.join(sorted(outputs))}"
        for tensor in sorted(wanted - outputs)
    ]
    if faults:
        raise BenchFaultError(faults)
    try:
        graph.reshape({port.tensor: list(port.shape) for port in recipe.inputs})
    except RuntimeError as fault:
        raise BenchFaultError(
            [f"{source.name}: does not take the recipe's shapes: {fault}"]
        ) from fault
    dynamic = [
        port.any_name for port in [*graph.inputs, *graph.outputs] if port.partial_shape.is_dynamic
    ]
    if dynamic:
        raise BenchFaultError([f"{source.name}: {name!r} stays dynamic" for name in dynamic])
