"""In what precision each arithmetic layer of a graph is really executed: mixed precision, told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.inference.engine import ARITHMETIC_LAYERS

if TYPE_CHECKING:
    from pathlib import Path


def executed_layers(xml: Path) -> dict[str, str]:
    """Layer -> `i8`, `f32`, ... as this machine's CPU reports them after its own fusions."""
    import openvino

    compiled = openvino.Core().compile_model(str(xml), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = {}
    for layer in compiled.get_runtime_model().get_ops():
        facts = layer.get_rt_info()
        if facts["layerType"].astype(str) in ARITHMETIC_LAYERS:
            kernel = facts["primitiveType"].astype(str).rpartition("_")[2].lower()
            found[layer.get_friendly_name()] = kernel
    return found
