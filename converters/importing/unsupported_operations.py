"""Every operation of a source model that OpenVINO does not know, with the node that has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN = {"FrameworkNode", "TFFrameworkNode", "ONNXFrameworkNode"}
UNCONVERTED = {"NotSupportedONNXNode"}
"""Known, but not as it is used there; often only because of an unknown one before it."""
ONNX_TYPE, ONNX_DOMAIN = "ONNX_META_type", "ONNX_META_domain"
LISTED = re.compile(r"No conversion rule found for operations: (.+)")
"""In the front ends' report of what they did not convert, the names apart by commas."""
MAXIMUM_LINES = 50


def unsupported_nodes(path: Path) -> list[str]:
    """One line for each node that stays foreign when the front end converts what it can.

    Args:
        path: of the source, under the suffix by which OpenVINO finds the front end.
    """
    from openvino.frontend import FrontEndManager

    manager = FrontEndManager()
    front_end = manager.load_by_model(str(path))
    try:
        # Kept in a name: the nodes' attributes point into it, and reading them would crash.
        loaded = front_end.load(str(path))
        partial = front_end.convert_partially(loaded)
    except RuntimeError:
        return []  # torn as well: what the whole conversion said has to do
    operations = partial.get_ordered_ops()
    foreign = [o for o in operations if o.get_type_name() in UNKNOWN] or [
        o for o in operations if o.get_type_name() in UNCONVERTED
    ]
    lines = [_line(operation) for operation in foreign][:MAXIMUM_LINES]
    del loaded
    return lines


def _line(operation: Any) -> str:
    attributes = operation.get_attributes()
    name = operation.get_friendly_name()
    if ONNX_TYPE not in attributes:
        return f"node {name!r}: no such operation in OpenVINO"
    domain = attributes.get(ONNX_DOMAIN) or ""
    kind = f"{domain}.{attributes[ONNX_TYPE]}" if domain else attributes[ONNX_TYPE]
    why = "not as it is used here" if operation.get_type_name() in UNCONVERTED else "unknown"
    return f"node {name!r}: operation {kind} is {why}"


def unsupported_torch_nodes(program: Any, told: str) -> list[str]:
    """One line for each node of a torch program whose operation `told` lists.

    Args:
        program: an ExportedProgram or a ScriptModule.
        told: OpenVINO's message.
    """
    found = LISTED.search(told)
    if found is None:
        return []
    kinds = {kind.strip().rstrip(".") for kind in found[1].split(",")}
    if hasattr(program, "inlined_graph"):
        nodes = [
            (node.kind(), next(iter(node.outputs())).debugName())
            for node in program.inlined_graph.nodes()
            if node.outputsSize()
        ]
    else:
        nodes = [(str(node.target), node.name) for node in program.graph.nodes]
    return [f"node {name!r}: operation {kind} is unknown" for kind, name in nodes if kind in kinds][
        :MAXIMUM_LINES
    ]
