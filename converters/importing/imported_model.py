"""A trained model in, a static-shape OpenVINO model with the recipe's linear tail folded in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converters.errors import BenchFaultError
from converters.importing.folding import fold, prove_fold
from converters.importing.source_checks import output_faults, port_faults, weight_faults
from converters.importing.source_files import SourceFiles
from converters.importing.source_kind import SourceKind, kind_of
from converters.importing.source_reading import read_source, source_runner, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from converters.importing.recipe import PackageRecipe
    from models.manifest import InputPort


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
    files: SourceFiles | None = None
    """On disk; None for a graph that was made in memory."""

    def require_unchanged(self) -> None:
        """Nothing, where the source's files are still those that were read.

        Raises:
            BenchFaultError: they are not: what was made in between may be of both.
        """
        if self.files is not None and self.files.sha256() != self.source_sha256:
            raise BenchFaultError([f"{self.source.name}: changed while it was packaged"])


def import_model(source: Path, recipe: PackageRecipe) -> ImportedModel:
    """Read a source model and fold the recipe's linear tail into its graph.

    Raises:
        BenchFaultError: a kind that is refused, weights outside its folder, ports, types and shapes
            that are not the recipe's, an output that is activated already, weights that are no
            numbers, shapes that cannot be made static, operations that OpenVINO does not know, or a
            fold that changes the result.
    """
    kind = kind_of(source)
    files = SourceFiles.of(source, kind)
    before = files.sha256()
    unfolded = read_source(source, kind)
    if kind is not SourceKind.ONNX:
        _name_ports(unfolded, recipe)
    _make_static(unfolded, source, recipe)
    graph = unfolded.clone()
    inputs = tuple(fold(graph, port, recipe.steps_for(port)) for port in recipe.inputs)
    return ImportedModel(
        graph=graph,
        run_source=source_runner(source, kind, unfolded),
        inputs=inputs,
        source=source,
        files=files,
        source_sha256=before,
        framework=kind.value,
        largest_fold_difference=prove_fold(unfolded, graph, recipe, inputs),
    )


def _name_ports(graph: Any, recipe: PackageRecipe) -> None:
    """Give ports the recipe's names by their order, where the source has as many under others.

    Tracing and other frameworks' converters invent names: `view.1`, `serving_default_view:0`.
    """
    wanted = list(dict.fromkeys(port.tensor for port in recipe.outputs))
    wanted += [recipe.evidence.tensor] if recipe.evidence else []
    for ports, names in (
        (graph.inputs, [port.tensor for port in recipe.inputs]),
        (graph.outputs, wanted),
    ):
        there = {name for port in ports for name in port.names}
        if len(ports) == len(names) and not set(names) <= there:
            for port, name in zip(ports, names, strict=True):
                port.set_names({name})


def _make_static(graph: Any, source: Path, recipe: PackageRecipe) -> None:
    there = {name for port in graph.inputs for name in port.names}
    faults = [
        f"{source.name}: input {port.tensor!r} of the recipe is none of {', '.join(sorted(there))}"
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
    if not faults:
        faults = [f"{source.name}: {fault}" for fault in port_faults(graph, recipe)]
    if faults:
        raise BenchFaultError(faults)
    try:
        graph.reshape({port.tensor: list(port.shape) for port in recipe.inputs})
    except RuntimeError as fault:
        raise BenchFaultError(
            [f"{source.name}: does not take the recipe's shapes: {told(fault)}"]
        ) from fault
    dynamic = [
        port.any_name for port in [*graph.inputs, *graph.outputs] if port.partial_shape.is_dynamic
    ]
    if dynamic:
        raise BenchFaultError([f"{source.name}: {name!r} stays dynamic" for name in dynamic])
    faults = [*output_faults(graph, recipe), *weight_faults(graph)]
    if faults:
        raise BenchFaultError([f"{source.name}: {fault}" for fault in faults])
