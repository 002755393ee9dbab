"""Where the last feature map of a classifier is, and what it does with it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.errors import BenchFaultError

if TYPE_CHECKING:
    from collections.abc import Sequence

CONVOLUTIONS = {"Convolution", "GroupConvolution"}
LAYOUT_CHANGES = {"Transpose", "Reshape"}
SCALINGS = {"Add", "Subtract", "Multiply", "Divide"}
SHAPINGS = {"Reshape", "Squeeze", "Unsqueeze", "Convert", "FakeQuantize", "Result"}
LINEAR = SCALINGS | SHAPINGS | CONVOLUTIONS | {"MatMul"}
ACTIVATIONS = {"Sigmoid", "Softmax"}


@dataclass(frozen=True, kw_only=True)
class ClassifierHead:
    """The last place where everything that the score rests on is one map, and what follows it."""

    features: str
    """Friendly name of the operation whose output 0 is the map, 1 x channels x rows x columns."""
    channels: int
    rows: int
    columns: int
    pooling: str | None
    """Friendly name of a global average pooling right behind the map; None if there is none."""
    linear: bool
    """Nothing but linear operations between that pooling and the score's activation."""

    @property
    def averages_cells(self) -> bool:
        """The image's logit is the mean of the cells' logits: class activation mapping is exact."""
        return self.pooling is not None and self.linear


def find_head(graph: Any, tensor: str) -> ClassifierHead:
    """The head of `graph` (static shapes, batch 1) that leads to its output `tensor`.

    Raises:
        BenchFaultError: no such output, or no convolution's map that all of the score rests on.
    """
    operations = _live_ancestors(graph, result_of(graph, tensor))
    place = {operation.get_friendly_name(): at for at, operation in enumerate(operations)}
    found: int | None = None
    reach, behind_convolution, moved = 0, False, False
    for at, operation in enumerate(operations):
        shape = _shape_of(operation)
        if operation.get_type_name() in CONVOLUTIONS and _is_map(shape):
            behind_convolution, moved = True, False
        elif operation.get_type_name() in LAYOUT_CHANGES and not _is_vector(shape):
            moved = True  # rows and columns may be elsewhere now; a squeezed vector has none
        # No value from further up is used further down: the score rests on this one alone.
        if reach <= at and behind_convolution and not moved and _is_map(shape):
            found = at
        reach = max([reach, *(place.get(name, 0) for name in _consumers(operation))])
    if found is None:
        raise BenchFaultError(
            [f"output {tensor!r}: no convolution's map that all of the score rests on"]
        )
    features, behind = operations[found], operations[found + 1 :]
    _, channels, rows, columns = features.output(0).shape
    pooling = behind[0] if behind and _is_global_mean(behind[0], rows, columns) else None
    return ClassifierHead(
        features=features.get_friendly_name(),
        channels=channels,
        rows=rows,
        columns=columns,
        pooling=pooling.get_friendly_name() if pooling is not None else None,
        linear=pooling is not None and _are_linear(behind[1:]),
    )


def result_of(graph: Any, tensor: str) -> Any:
    """The Result operation of the output called `tensor`.

    Raises:
        BenchFaultError: there is none.
    """
    for result in graph.get_results():
        if tensor in result.input_value(0).get_names():
            return result
    raise BenchFaultError([f"the graph has no output {tensor!r}"])


def _live_ancestors(graph: Any, result: Any) -> list[Any]:
    """The operations between the image and `result`, in topological order."""
    ordered = graph.get_ordered_ops()
    live: set[str] = set()
    for operation in ordered:
        if _is_live(operation, live):
            live.add(operation.get_friendly_name())
    wanted = {result.get_friendly_name()}
    for operation in reversed(ordered):
        if operation.get_friendly_name() in wanted:
            wanted |= {v.get_node().get_friendly_name() for v in operation.input_values()}
    return [o for o in ordered if o.get_friendly_name() in wanted & live]


def _is_live(operation: Any, live: set[str]) -> bool:
    """Whether its value depends on the image; shapes are static, so ShapeOf's does not."""
    kind = operation.get_type_name()
    if kind == "Parameter":
        return True
    return kind != "ShapeOf" and any(
        value.get_node().get_friendly_name() in live for value in operation.input_values()
    )


def _consumers(operation: Any) -> list[str]:
    return [
        target.get_node().get_friendly_name()
        for output in operation.outputs()
        for target in output.get_target_inputs()
    ]


def _shape_of(operation: Any) -> tuple[int, ...]:
    """Of its first output; empty where that is dynamic, or there is none."""
    if not operation.get_output_size() or operation.get_output_partial_shape(0).is_dynamic:
        return ()
    return tuple(operation.get_output_shape(0))


def _is_map(shape: Sequence[int]) -> bool:
    return len(shape) == 4 and shape[0] == 1 and shape[2] * shape[3] > 1


def _is_vector(shape: Sequence[int]) -> bool:
    """One value for each channel, as squeezed-and-excited ones are, or a flattened map."""
    return len(shape) > 1 and int(np.prod(shape)) == shape[1]


def _is_global_mean(operation: Any, rows: int, columns: int) -> bool:
    """ReduceMean over rows and columns, or an average pooling whose window is the whole map."""
    if operation.get_type_name() == "AvgPool":
        window = operation.get_attributes()["kernel"]
        return list(window) == [rows, columns]
    if operation.get_type_name() != "ReduceMean":
        return False
    axes = operation.input_value(1).get_node()
    if axes.get_type_name() != "Constant":
        return False
    return {int(axis) % 4 for axis in np.ravel(axes.get_data())} == {2, 3}


def _are_linear(operations: Sequence[Any]) -> bool:
    """Linear operations, and at most one activation with nothing but shaping behind it."""
    activated = False
    for operation in operations:
        kind = operation.get_type_name()
        if kind in ACTIVATIONS and not activated:
            activated = True
        elif kind not in (SHAPINGS if activated else LINEAR):
            return False
    return True
