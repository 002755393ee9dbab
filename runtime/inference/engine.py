"""Runs a model package with OpenVINO: the one file of the runtime that imports it."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.image.prediction import Prediction
from runtime.inference.compile_cache import discard_all, discard_torn_blobs, list_blobs
from runtime.inference.devices import (
    DeviceRefusedError,
    EngineFaultError,
    Graph,
    NoUsableDeviceError,
    Toolkit,
    choose_device,
)
from runtime.inference.golden_check import doubt_about, prepared_cases

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from models.manifest import Manifest, OutputPort
    from models.package import Package
    from runtime.image.outcome import Execution

__all__ = [
    "EngineFaultError",
    "NoUsableDeviceError",
    "OpenVinoToolkit",
    "PackageEngine",
    "available_devices",
    "open_engine",
]

LOG = logging.getLogger(__name__)

# Layers that do the arithmetic; their precision is the precision of the whole.
ARITHMETIC_LAYERS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
PRECISION_NAMES = {
    "f32": "f32",
    "float32": "f32",
    "f16": "f16",
    "float16": "f16",
    "bf16": "bf16",
    "bfloat16": "bf16",
    "i8": "int8",
    "u8": "int8",
}
ROUNDING = 1e-4
"""A score may leave 0..1 by this much before it is a fault: softmax in BF16 sums to 1.00002."""


def available_devices() -> tuple[str, ...]:
    """The devices that OpenVINO finds on this machine."""
    import openvino

    return tuple(openvino.Core().available_devices)


def open_engine(
    package: Package,
    precision: str,
    devices: tuple[str, ...],
    cache_dir: Path | None,
    *,
    threads: int | None = None,
    toolkit: Toolkit | None = None,
) -> PackageEngine:
    """Compile `package` at `precision` on the first of `devices` that proves itself.

    Args:
        package: a loaded package.
        precision: one of the package's precisions.
        devices: in order of preference: `NPU`, `GPU`, `CPU` (`VPU` is the NPU's old name).
        cache_dir: where compiled graphs are kept; None for no cache.
        threads: of the CPU; None leaves the choice to OpenVINO.
        toolkit: instead of OpenVINO, in tests.

    Raises:
        PackageRefusedError: no such precision, or its golden cases cannot be read.
        NoUsableDeviceError: with a line for each device that was tried.
    """
    if toolkit is None:
        folder = None if cache_dir is None else cache_dir / package.sha256[:16] / precision
        toolkit = OpenVinoToolkit(cache_dir=folder, threads=threads)
    wanted = package.precision(precision)
    cases = prepared_cases(package, precision)
    choice = choose_device(
        toolkit,
        lambda device: toolkit.compile(
            package.folder / wanted.xml, device, wanted.inference_precision
        ),
        lambda graph: doubt_about(
            cases,
            wanted,
            graph.precision,
            lambda case: scores_of(package.manifest, graph.run(case)),
        ),
        devices,
        package=package.manifest.label,
    )
    return PackageEngine(package.manifest, choice.graph, choice.execution)


class PackageEngine:
    """One package, compiled. Not for use by two threads at once."""

    def __init__(self, manifest: Manifest, graph: Graph, execution: Execution) -> None:
        self._manifest = manifest
        self._graph = graph
        self._execution = execution

    @property
    def execution(self) -> Execution:
        """Requested and actual device, executed precision, and why a device was passed over."""
        return self._execution

    def infer(self, tensors: Mapping[str, NDArray[np.generic]]) -> Prediction:
        """One inference.

        Args:
            tensors: input tensor name -> array of the port's shape, C-contiguous.

        Raises:
            EngineFaultError: a tensor is missing or misshapen, the device failed, or a score
                is no number between 0 and 1.
        """
        for port in self._manifest.inputs:
            if port.tensor not in tensors or tensors[port.tensor].shape != port.shape:
                raise EngineFaultError(f"input {port.tensor}: no tensor of shape {port.shape}")
        started = time.perf_counter()
        outputs = self._graph.run(tensors)
        infer_ms = (time.perf_counter() - started) * 1000.0
        return Prediction(
            scores=scores_of(self._manifest, outputs),
            execution=self._execution,
            evidence=_evidence(self._manifest, outputs),
            infer_ms=infer_ms,
        )


def scores_of(manifest: Manifest, outputs: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """Scores 0-1 by name from the raw output tensors.

    Raises:
        EngineFaultError: an output is missing or too short, or a score is no number from 0 to 1.
    """
    return {port.score: score_of(port, outputs) for port in manifest.outputs}


def score_of(port: OutputPort, outputs: Mapping[str, NDArray[np.float32]]) -> float:
    """One score 0-1 from the raw output tensors. Raises EngineFaultError, as `scores_of`."""
    raw = outputs.get(port.tensor)
    if raw is None or raw.size <= port.index:
        raise EngineFaultError(f"output {port.tensor}: no element {port.index}")
    if port.activation == "softmax":
        values, place = softmax_group(port, raw)
        powers = np.exp(values - values.max())
        score = float(powers[place] / powers.sum())
    else:
        score = float(raw.reshape(-1)[port.index])
        if port.activation == "sigmoid":
            # By tanh: exp() of a large negative logit would overflow.
            score = 0.5 * (1.0 + math.tanh(0.5 * score))
        elif port.activation == "exp":
            score = math.exp(min(score, 1.0))  # above 0 it is no logarithm of a probability
    if port.complement:
        score = 1.0 - score
    if not -ROUNDING <= score <= 1.0 + ROUNDING:
        raise EngineFaultError(f"score {port.score}: {score} is not between 0 and 1")
    return min(max(score, 0.0), 1.0)


def softmax_group(port: OutputPort, raw: NDArray[np.generic]) -> tuple[NDArray[np.float64], int]:
    """The values that the port's softmax runs over, and which of them is the port's.

    Raises:
        EngineFaultError: the output has no such dimension.
    """
    long = [axis for axis, size in enumerate(raw.shape) if size > 1]
    axis = port.axis if port.axis is not None else long[-1] if long else raw.ndim - 1
    if axis >= max(raw.ndim, 1):
        raise EngineFaultError(f"output {port.tensor}: no dimension {axis}")
    if raw.ndim == 0:
        return raw.reshape(1).astype(np.float64), 0
    place = [int(part) for part in np.unravel_index(port.index, raw.shape)]
    group = np.moveaxis(raw, axis, -1)[tuple(place[:axis] + place[axis + 1 :])]
    return group.astype(np.float64), place[axis]


def _evidence(
    manifest: Manifest, outputs: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32] | None:
    port = manifest.evidence
    if port is None:
        return None
    raw = outputs.get(port.tensor)
    if raw is None or raw.size != port.rows * port.columns:
        raise EngineFaultError(f"output {port.tensor}: not {port.rows} x {port.columns} cells")
    # A copy: the next inference overwrites the output tensor.
    return raw.reshape(port.rows, port.columns).astype(np.float32, copy=True)


def hint_for(device: str, inference_precision: str) -> str:
    """What a device is asked to compute in: what the manifest says, but f16 of an NPU.

    "Computation precision for the HW is FP16" (OpenVINO, NPU Device); an NPU refuses to be asked
    for anything else. Whether that is near enough, the golden cases decide.
    """
    return "f16" if device.partition(".")[0] == "NPU" else inference_precision


class OpenVinoToolkit:
    """OpenVINO's Core with the settings of an edge device: low latency, a cache, no surprises."""

    def __init__(self, *, cache_dir: Path | None, threads: int | None) -> None:
        import openvino

        self._core = openvino.Core()
        self._cache_dir = cache_dir
        self._threads = threads

    def devices(self) -> tuple[str, ...]:
        """The devices that OpenVINO finds on this machine."""
        return tuple(self._core.available_devices)

    def compile(self, graph: Path, device: str, inference_precision: str) -> Graph:
        """Compile the IR file `graph` for `device`; see `Toolkit.compile`."""
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Stated, because a CPU with BF16 uses it for FP32 models unless told otherwise.
            "INFERENCE_PRECISION_HINT": hint_for(device, inference_precision),
        }
        if device == "CPU" and self._threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self._threads
        cache = self._usable_cache(device)
        if cache is None:
            return OpenVinoGraph(self._compile(graph, device, settings))
        try:
            compiled = self._compile(graph, device, settings | {"CACHE_DIR": str(cache)})
        except DeviceRefusedError:
            # A new driver does not read an NPU's old blob, a full disk takes no new one: once
            # more without a cache, before the device is given up.
            discard_all(cache)
            return OpenVinoGraph(self._compile(graph, device, settings))
        list_blobs(cache)
        return OpenVinoGraph(compiled)

    def _usable_cache(self, device: str) -> Path | None:
        """The device's own folder of the cache, rid of torn blobs; None without one."""
        if self._cache_dir is None:
            return None
        cache = self._cache_dir / device.replace(".", "_")
        try:
            discard_torn_blobs(cache)
        except OSError as fault:
            LOG.warning("compiling without a cache: %s", fault.strerror)
            return None
        return cache

    def _compile(self, graph: Path, device: str, settings: dict[str, Any]) -> Any:
        try:
            return self._core.compile_model(str(graph), device, settings)
        except RuntimeError as fault:
            raise DeviceRefusedError(_one_line(fault)) from fault


class OpenVinoGraph:
    """A compiled model with one infer request that is used again and again."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._outputs = {name: port for port in compiled.outputs for name in port.names}
        self.device = ",".join(compiled.get_property("EXECUTION_DEVICES"))
        self.precision = _executed_precision(compiled)

    def run(self, tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        """One synchronous inference without copies; see `Graph.run`."""
        try:
            results = self._request.infer(dict(tensors), share_inputs=True, share_outputs=True)
        except (RuntimeError, TypeError, ValueError) as fault:
            raise EngineFaultError(_one_line(fault)) from fault
        return {name: results[port] for name, port in self._outputs.items()}


def _executed_precision(compiled: Any) -> str:
    """The precision of most arithmetic layers, as the device reports them after its own fusions."""
    counts: Counter[str] = Counter()
    try:
        for layer in compiled.get_runtime_model().get_ops():
            facts = layer.get_rt_info()
            if facts["layerType"].astype(str) in ARITHMETIC_LAYERS:
                counts[_layer_precision(facts)] += 1
    except (RuntimeError, KeyError):
        counts.clear()  # not every plugin reports its layers
    counts.pop("", None)
    if counts:
        return counts.most_common(1)[0][0]
    hint = compiled.get_property("INFERENCE_PRECISION_HINT")
    return PRECISION_NAMES.get(hint.to_string() if hasattr(hint, "to_string") else str(hint), "f32")


def _layer_precision(facts: Any) -> str:
    """From the kernel's name (`brgconv_avx512_1x1_f32`), else from `runtimePrecision`.

    The CPU's `runtimePrecision` is that of the stored weights: it says f16 of a layer with
    compressed weights whose kernel computes in FP32.
    """
    kernel = facts["primitiveType"].astype(str).rpartition("_")[2].lower()
    stored = facts["runtimePrecision"].astype(str).lower()
    return PRECISION_NAMES.get(kernel, PRECISION_NAMES.get(stored, ""))


def _one_line(fault: Exception) -> str:
    """The part of OpenVINO's message that says something: without the places in its own source."""
    lines = [line.strip() for line in str(fault).splitlines()]
    telling = [
        line for line in lines if line and not line.startswith(("Exception from", "Check '"))
    ]
    return " ".join(telling or lines)[:300]
