"""Source models through OpenVINO's front ends, and each in its own framework where that is here."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.errors import BenchFaultError
from converters.importing.ir_files import read_ir
from converters.importing.source_files import COMPANIONS
from converters.importing.source_kind import SourceKind
from converters.importing.unsupported_operations import unsupported_nodes, unsupported_torch_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    Run = Callable[[Mapping[str, NDArray[np.generic]]], dict[str, NDArray[np.float32]]]

# The suffix by which OpenVINO chooses the front end of these.
SUFFIXES = {
    SourceKind.FROZEN_GRAPH: ".pb",
    SourceKind.TFLITE: ".tflite",
    SourceKind.PADDLE: ".pdmodel",
    SourceKind.ONNX: ".onnx",
    SourceKind.IR: ".xml",
}


def read_source(source: Path, kind: SourceKind) -> Any:
    """`source` as an openvino.Model, its ports as its own framework names them.

    Raises:
        BenchFaultError: torn, or operations unknown to OpenVINO.
    """
    if kind in {SourceKind.EXPORTED_PROGRAM, SourceKind.TORCHSCRIPT}:
        program = _torch_program(source, kind)
        return _converted(source, program, lambda told: unsupported_torch_nodes(program, told))
    with _under_its_suffix(source, kind) as path:
        if kind is SourceKind.IR:
            return _read_ir(source, path)
        return _converted(source, str(path), lambda _: unsupported_nodes(path))


def _converted(source: Path, model: Any, nodes: Callable[[str], list[str]]) -> Any:
    """By `convert_model`, not `read_model`: it also simplifies the graph.

    Clip becomes Clamp, shapes constants, without which the CPU runs quantised depthwise layers in
    FP32.
    """
    import openvino
    from openvino import frontend
    from openvino.tools.ovc.error import Error as ConverterError

    try:
        return openvino.convert_model(model)
    except (
        RuntimeError,
        ConverterError,
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    ) as fault:
        faults = [f"OpenVINO cannot read it: {told(fault)}"]
        if isinstance(fault, frontend.OpConversionFailure):
            faults += nodes(str(fault))
        raise BenchFaultError([f"{source.name}: {line}" for line in faults]) from fault


def _read_ir(source: Path, xml: Path) -> Any:
    try:
        return read_ir(xml)
    except RuntimeError as fault:
        raise BenchFaultError([f"{source.name}: OpenVINO cannot read it: {told(fault)}"]) from fault


def source_runner(source: Path, kind: SourceKind, unfolded: Any) -> Run:
    """The source model on what all steps of a recipe make: output tensors by name.

    Args:
        source: the file.
        kind: what it holds.
        unfolded: `read_source`'s model with the recipe's names and shapes.
    """
    if kind is SourceKind.ONNX:
        return onnx_runner(source)
    if kind in {SourceKind.EXPORTED_PROGRAM, SourceKind.TORCHSCRIPT}:
        return _torch_runner(source, kind, unfolded)
    return openvino_runner(unfolded)


def onnx_runner(source: Path) -> Run:
    """ONNX Runtime on this machine's CPU.

    Raises:
        BenchFaultError: it refuses the model.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as refusals

    refused = (
        refusals.Fail,
        refusals.InvalidArgument,
        refusals.InvalidGraph,
        refusals.InvalidProtobuf,
        refusals.NotImplemented,
        refusals.RuntimeException,
    )
    try:
        session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    except refused as fault:
        raise BenchFaultError([f"{source.name}: ONNX Runtime refuses it: {told(fault)}"]) from fault
    names = [output.name for output in session.get_outputs()]

    def run(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        try:
            return dict(zip(names, session.run(names, dict(tensors)), strict=True))
        except (ValueError, *refused) as fault:
            raise BenchFaultError([f"{source.name}: ONNX Runtime: {told(fault)}"]) from fault

    return run


def openvino_runner(graph: Any) -> Run:
    """OpenVINO's reading of the source in FP32, for frameworks that are not installed here."""
    import openvino

    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        results = compiled(dict(tensors))
        return {name: results[port] for port in compiled.outputs for name in port.names}

    return run


def _torch_program(source: Path, kind: SourceKind) -> Any:
    try:
        import torch
    except ImportError as fault:
        raise BenchFaultError(
            [f"{source.name}: needs PyTorch: pip install 'mammoedge[convert-torch]'"]
        ) from fault
    try:
        if kind is SourceKind.TORCHSCRIPT:
            return torch.jit.load(str(source), map_location="cpu")
        return torch.export.load(str(source))
    except (RuntimeError, ValueError, KeyError, OSError) as fault:
        raise BenchFaultError([f"{source.name}: PyTorch cannot read it: {told(fault)}"]) from fault


def _torch_runner(source: Path, kind: SourceKind, unfolded: Any) -> Run:
    import torch

    program = _torch_program(source, kind)
    module = program if kind is SourceKind.TORCHSCRIPT else program.module()
    order = [port.any_name for port in unfolded.inputs]
    names = [port.any_name for port in unfolded.outputs]

    def run(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        try:
            with torch.no_grad():
                given = module(*(torch.from_numpy(tensors[name].copy()) for name in order))
        except RuntimeError as fault:
            raise BenchFaultError([f"{source.name}: PyTorch: {told(fault)}"]) from fault
        outputs = list(_flat(given))
        if len(outputs) != len(names):
            told_names = f"{len(outputs)} outputs in PyTorch, {len(names)} in OpenVINO"
            raise BenchFaultError([f"{source.name}: {told_names}"])
        return {name: output.numpy() for name, output in zip(names, outputs, strict=True)}

    return run


def _flat(given: Any) -> Iterator[Any]:
    """The tensors of a module's answer in order: one, several, or a dictionary of them."""
    if isinstance(given, dict):
        given = list(given.values())
    if isinstance(given, tuple | list):
        for part in given:
            yield from _flat(part)
    else:
        yield given


@contextmanager
def _under_its_suffix(source: Path, kind: SourceKind) -> Iterator[Path]:
    """A path by which OpenVINO finds the front end, whatever the file is called."""
    wanted = SUFFIXES.get(kind)
    companion = source.with_suffix(COMPANIONS.get(kind, ".none"))
    if wanted is None or source.suffix.lower() == wanted:
        yield source
        return
    with tempfile.TemporaryDirectory() as scratch:
        link = Path(scratch) / f"source{wanted}"
        link.symlink_to(source.resolve())
        if kind in COMPANIONS:
            link.with_suffix(COMPANIONS[kind]).symlink_to(companion.resolve())
        yield link


def told(fault: Exception) -> str:
    """What a framework says of operations and nodes, without the places in its own source."""
    lines = [line.strip() for line in str(fault).splitlines()]
    telling = [line for line in lines if line and not line.startswith(("Check ", "FrontEnd API"))]
    return " ".join(telling or lines)[:1000]
