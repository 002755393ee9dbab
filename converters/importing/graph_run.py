"""Runs a graph at the bench exactly as a unit's engine would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.inference.engine import OpenVinoToolkit, scores_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from models.manifest import Manifest
    from runtime.inference.devices import Graph


def compile_on_cpu(xml: Path, inference_precision: str, *, threads: int | None = None) -> Graph:
    """The IR file compiled for this machine's CPU, without a cache."""
    toolkit = OpenVinoToolkit(cache_dir=None, threads=threads)
    return toolkit.compile(xml, "CPU", inference_precision)


def score_with(
    graph: Graph, manifest: Manifest, tensors: Mapping[str, NDArray[np.generic]]
) -> dict[str, float]:
    """Scores by name of one set of prepared inputs."""
    return scores_of(manifest, graph.run(tensors))
