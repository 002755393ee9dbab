"""What of a source model can be seen before anything is run: ports, types, shapes, weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.importing.recipe import PackageRecipe
    from models.manifest import InputPort, OutputPort

WEIGHED = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"}
PASSING = {"Reshape", "Squeeze", "Unsqueeze", "Convert", "Transpose", "Result"}
"""Operations that leave values as they are."""
ACTIVATIONS = {"Sigmoid": "sigmoid", "SoftMax": "softmax", "Softmax": "softmax"}
MAXIMUM_TENSORS = 5


def port_faults(graph: Any, recipe: PackageRecipe) -> list[str]:
    """Inputs that nobody feeds, or feeds with another type or shape."""
    fed = {port.tensor: port for port in recipe.inputs}
    faults = []
    for port in graph.inputs:
        name = next((name for name in port.names if name in fed), None)
        if name is None:
            feeds = ", ".join(fed)
            faults.append(
                f"input {port.any_name!r} is not fed: the recipe feeds {feeds}; export the model"
                " with that input as a constant"
            )
            continue
        faults += _type_fault(port, name, _element_type(recipe, fed[name]))
        wanted = fed[name].shape
        taken = port.partial_shape
        if not taken.compatible(_shape(wanted)):
            faults.append(
                f"does not take the recipe's shapes: input {name!r} is {_told(taken)}, and the"
                f" recipe gives {list(wanted)}{_hint(taken, wanted)}"
            )
    return faults


def output_faults(graph: Any, recipe: PackageRecipe) -> list[str]:
    """Outputs without the element that is asked for, or activated already."""
    faults = []
    ports = {name: port for port in graph.outputs for name in port.names}
    for output in recipe.outputs:
        port = ports[output.tensor]
        size = int(np.prod(list(port.shape)))
        if output.index >= size:
            faults.append(
                f"output {output.tensor!r} has {size} element{'s' * (size > 1)}, shape"
                f" {list(port.shape)}: there is no index {output.index} (they count from 0)"
            )
            continue
        faults += _activation_faults(output, port, size)
    return faults


def weight_faults(graph: Any) -> list[str]:
    """Constants that are no numbers, and weights that are infinite."""
    faults = []
    for operation in graph.get_ordered_ops():
        if operation.get_type_name() != "Constant":
            continue
        if not operation.get_element_type().is_real():
            continue
        values = np.asarray(operation.data, np.float32)
        bad = "" if not np.isnan(values).any() else "NaN"
        if not bad and np.isinf(values).any() and _is_weight(operation):
            bad = "infinite"
        if bad:
            count = int((~np.isfinite(values)).sum())
            faults.append(
                f"weights {operation.get_friendly_name()!r}: {count} of {values.size} values are"
                f" {bad}: training or export went wrong"
            )
    return faults[:MAXIMUM_TENSORS]


def _element_type(recipe: PackageRecipe, port: InputPort) -> str:
    """Of the tensor that the preparation makes."""
    last = recipe.steps_for(port).steps[-1]
    return last.element_type if last.step == "channels" else "f32"


def _type_fault(port: Any, name: str, wanted: str) -> Iterator[str]:
    taken = port.get_element_type().to_string()
    if taken not in {wanted, "dynamic"}:
        yield (
            f"input {name!r} takes {taken}, and a unit gives {wanted}: export the model with a"
            f" {wanted} input, its own conversion inside"
        )


def _shape(wanted: tuple[int, ...]) -> Any:
    from openvino import PartialShape

    return PartialShape(list(wanted))


def _told(taken: Any) -> str:
    return str(taken).replace(",", ", ")


def _hint(taken: Any, wanted: tuple[int, ...]) -> str:
    """What is likely wrong."""
    if taken.rank.is_dynamic or len(taken) != len(wanted):
        return ""
    sizes = [dimension.get_length() if dimension.is_static else 0 for dimension in taken]
    if sizes[0] > 1 and all(a in {0, b} for a, b in zip(sizes[1:], wanted[1:], strict=True)):
        return ": export it with a batch of 1 or a dynamic one; a unit asks image by image"
    if len(wanted) == 4 and (sizes[3], sizes[1]) in {(1, wanted[2]), (3, wanted[2])}:
        return ': its channels come last, layout = "NHWC"'
    return ""


def _activation_faults(output: OutputPort, port: Any, size: int) -> Iterator[str]:
    if output.activation == "none":
        return
    if output.activation == "softmax" and size == 1:
        yield (
            f"output {output.tensor!r} has one element, whose softmax is always 1:"
            ' activation = "sigmoid"'
        )
    there = _last_activation(port)
    if there:
        yield (
            f'output {output.tensor!r} is a {there} in the graph already: activation = "none"'
            f" (a second one would keep scores near 0.5)"
        )


def _last_activation(port: Any) -> str:
    """The activation that an output's values come from, or ""."""
    node = port.get_node()
    while node.get_type_name() in PASSING:
        node = node.input_value(0).get_node()
    return ACTIVATIONS.get(node.get_type_name(), "")


def _is_weight(operation: Any) -> bool:
    """A constant that a convolution or a matrix product takes, maybe unpacked before."""
    nodes = [target.get_node() for target in operation.output(0).get_target_inputs()]
    return any(
        node.get_type_name() in WEIGHED or (node.get_type_name() in PASSING and _is_weight(node))
        for node in nodes
    )
