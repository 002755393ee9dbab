"""An evidence map as a further output of a classifier's graph; nothing else of it is touched.

Where the score is a linear function of the mean of a map of features, the map of each cell's own
score is exact: class activation mapping (Zhou et al., CVPR 2016). Elsewhere the rest of the network
is asked about each part of the map by itself: Recipro-CAM (Byun and Lee, CVPR workshops 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from converters.errors import BenchFaultError
from converters.explanation.classifier_head import ClassifierHead, find_head, result_of
from models.manifest import EvidencePort

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.manifest import OutputPort

Method = Literal["class activation map", "Recipro-CAM"]

MAXIMUM_MASKED_BYTES = 96 * 1024 * 1024
"""Of all masked copies of the map together: the grid gets coarser until they fit."""
HEAD_TOLERANCE = 1e-4
"""Largest difference of a score between one cell by itself and all cells at once."""


@dataclass(frozen=True, kw_only=True)
class AddedEvidence:
    """What was added."""

    port: EvidencePort
    method: Method
    features: str
    """The operation whose map it is made from."""


def add_evidence(graph: Any, output: OutputPort) -> AddedEvidence:
    """Give `graph`, in place, one output more: the evidence for the score of `output`.

    Args:
        graph: openvino.Model of static shapes that judges one image.
        output: the suspicion.

    Raises:
        BenchFaultError: there is no map, or the rest cannot be asked about several cells at once.
    """
    head = find_head(graph, output.tensor)
    rows, columns = (head.rows, head.columns) if head.pooling is not None else grid_of(head)
    cut = head.features if head.pooling is None else head.pooling
    asked = _head_for(graph, cut, output.tensor, rows * columns)
    prove_head(asked, _head_for(graph, cut, output.tensor, 1), cut)
    features = _named(graph, head.features).output(0)
    if head.pooling is None:
        cells = _masked(features, head, rows, columns)
    else:
        cells = _each_cell(features, head, asked.inputs[0].shape)
    scores = _grafted(asked, cells)
    evidence = _shown(scores, output, rows, columns, exact=head.averages_cells)
    taken = {name for port in graph.outputs for name in port.names}
    tensor = "evidence" if "evidence" not in taken else "evidence_of_suspicion"
    evidence.get_node().set_friendly_name(tensor)
    evidence.set_names({tensor})
    graph.add_outputs(evidence)
    graph.validate_nodes_and_infer_types()
    return AddedEvidence(
        port=EvidencePort(tensor=tensor, rows=rows, columns=columns),
        method="class activation map" if head.averages_cells else "Recipro-CAM",
        features=head.features,
    )


def grid_of(head: ClassifierHead) -> tuple[int, int]:
    """Rows and columns of blocks of cells, as fine as their masked maps fit in memory."""
    each = 4 * head.channels * head.rows * head.columns
    for side in range(1, max(head.rows, head.columns) + 1):
        rows, columns = -(-head.rows // side), -(-head.columns // side)
        if rows * columns * each <= MAXIMUM_MASKED_BYTES:
            return rows, columns
    return 1, 1


def block_edges(length: int, blocks: int) -> NDArray[np.int64]:
    """Where each of `blocks` nearly equal parts of `length` begins, and the end of the last."""
    return np.rint(np.linspace(0, length, blocks + 1)).astype(np.int64)


def _named(graph: Any, name: str) -> Any:
    return next(o for o in graph.get_ordered_ops() if o.get_friendly_name() == name)


def _head_for(graph: Any, cut: str, tensor: str, batch: int) -> Any:
    """What follows the operation `cut`, as a model of its own that takes `batch` of its outputs.

    Quantisation of activations is left out of it: its ranges are those of the whole map's mean,
    and one cell alone would fall below the first step.
    """
    import openvino
    from openvino import opset13

    copy = graph.clone()
    before = _named(copy, cut).output(0)
    shape = [batch, *before.shape[1:]]
    parameter = opset13.parameter(shape, np.float32, name="cells")
    parameter.output(0).set_names({"cells"})
    for target in before.get_target_inputs():
        target.replace_source_output(parameter.output(0))
    behind: set[str] = set()
    for operation in copy.get_ordered_ops():
        kind, name = operation.get_type_name(), operation.get_friendly_name()
        given = {value.get_node().get_friendly_name() for value in operation.input_values()}
        if name == parameter.get_friendly_name() or given & behind:
            behind.add(name)
            _free(operation, kind)
        elif kind == "ShapeOf":
            # Of something before the map, which is not there any more; its shape is known.
            kind_of_shape = operation.get_output_element_type(0).to_dtype()
            known = opset13.constant(np.array(operation.get_input_shape(0), kind_of_shape))
            for target in operation.output(0).get_target_inputs():
                target.replace_source_output(known.output(0))
    result = result_of(copy, tensor)
    try:
        head = openvino.Model([result], [parameter], "head")
        head.validate_nodes_and_infer_types()
    except RuntimeError as fault:
        raise _cannot_be_asked(cut, str(fault).splitlines()[-1][:200]) from fault
    return head


def _free(operation: Any, kind: str) -> None:
    """Take what ties an operation behind the map to its batch of one, or to eight bits."""
    if kind == "FakeQuantize":
        for target in operation.output(0).get_target_inputs():
            target.replace_source_output(operation.input_value(0))
    elif kind == "Reshape":
        _keep_batch(operation)


def _keep_batch(reshape: Any) -> None:
    """A pattern that was written for a batch of one takes any."""
    from openvino import opset13

    if reshape.get_output_partial_shape(0).is_dynamic:
        return
    shape = list(reshape.get_output_shape(0))
    if shape[:1] != [1]:
        return
    pattern = opset13.constant(np.array([-1, *shape[1:]], np.int64))
    reshape.input(1).replace_source_output(pattern.output(0))


def prove_head(asked: Any, single: Any, cut: str) -> None:
    """Every cell by itself gives what it gives beside the others.

    Args:
        asked: what follows the operation `cut`, for all cells at once.
        single: the same for one cell.
        cut: for the error.

    Raises:
        BenchFaultError: it does not; the operations behind the map mix what they are given.
    """
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    generator = np.random.default_rng(3)
    cells = generator.random(tuple(asked.inputs[0].shape), np.float32)
    try:
        together = openvino.Core().compile_model(asked, "CPU", exact)(cells)[0]
        alone = openvino.Core().compile_model(single, "CPU", exact)
        places = generator.choice(len(cells), min(4, len(cells)), replace=False)
        if together.shape[:1] != (len(cells),):
            raise _cannot_be_asked(cut, f"the score of {len(cells)} is {together.shape}")
        for place in places:
            apart = np.abs(alone(cells[place : place + 1])[0] - together[place]).max()
            if not apart <= HEAD_TOLERANCE:
                raise _cannot_be_asked(cut, f"a score depends on the others by {apart:.2g}")
    except RuntimeError as fault:
        raise _cannot_be_asked(cut, str(fault).splitlines()[-1][:200]) from fault


def _cannot_be_asked(cut: str, why: str) -> BenchFaultError:
    return BenchFaultError([f"what follows {cut!r} cannot be asked about several cells: {why}"])


def _each_cell(features: Any, head: ClassifierHead, shape: Any) -> Any:
    """Each cell's features as if they were the mean of the map; cells x channels (x 1 x 1).

    Where the head is not linear, as the mean of a map that is zero elsewhere: Recipro-CAM's.
    """
    from openvino import opset13

    flat = opset13.reshape(features, np.array([head.channels, -1]), special_zero=False)
    cells = opset13.transpose(flat, np.array([1, 0]))
    if not head.linear:
        share = np.array([1.0 / (head.rows * head.columns)], np.float32)
        cells = opset13.multiply(cells, share)
    return opset13.reshape(cells, np.array(list(shape)), special_zero=False).output(0)


def _masked(features: Any, head: ClassifierHead, rows: int, columns: int) -> Any:
    """The map once for each block, zero elsewhere: blocks x channels x rows x columns."""
    from openvino import opset13

    down, across = block_edges(head.rows, rows), block_edges(head.columns, columns)
    masks = np.zeros((rows * columns, 1, head.rows, head.columns), np.float32)
    for block in range(rows * columns):
        row, column = divmod(block, columns)
        masks[block, 0, down[row] : down[row + 1], across[column] : across[column + 1]] = 1.0
    return opset13.multiply(features, masks).output(0)


def _grafted(asked: Any, cells: Any) -> Any:
    """The head behind `cells` instead of its parameter; its score, its names out of the way."""
    (parameter,) = asked.get_parameters()
    (result,) = asked.get_results()
    for operation in asked.get_ordered_ops():
        operation.set_friendly_name(f"evidence_of/{operation.get_friendly_name()}")
        for output in operation.outputs():
            output.set_names(set())
    for target in parameter.output(0).get_target_inputs():
        target.replace_source_output(cells)
    return result.input_value(0)


def _shown(scores: Any, output: OutputPort, rows: int, columns: int, *, exact: bool) -> Any:
    """rows x columns values 0-1: each cell's own score, or spread from lowest to highest."""
    from openvino import opset13

    values = opset13.reshape(scores, np.array([rows * columns, -1]), special_zero=False)
    if output.activation == "softmax":
        values = opset13.softmax(values, 1)
    chosen = opset13.gather(values, np.array([output.index]), np.array(1))
    if output.activation == "sigmoid" and exact:
        chosen = opset13.sigmoid(chosen)
    if not exact:
        lowest = opset13.reduce_min(chosen, np.array([0, 1]), keep_dims=True)
        highest = opset13.reduce_max(chosen, np.array([0, 1]), keep_dims=True)
        spread = opset13.maximum(opset13.subtract(highest, lowest), np.array([1e-9], np.float32))
        chosen = opset13.divide(opset13.subtract(chosen, lowest), spread)
    chosen = opset13.clamp(chosen, 0.0, 1.0)
    return opset13.reshape(chosen, np.array([rows, columns]), special_zero=False).output(0)
