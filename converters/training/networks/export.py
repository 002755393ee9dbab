"""Write the shipped graph as ONNX: static shapes, nothing that needs torch to open."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from converters.training.networks.graph import SuspicionGraph

OPSET = 17


def export_onnx(graph: SuspicionGraph, path: Path, *, rows_px: int, columns_px: int) -> None:
    """Write `graph` for views of `rows_px` x `columns_px` (multiples of its cell) to `path`.

    Input `view` float32 (1, 1, rows, columns); outputs `suspicion` (1, 1) and `evidence`
    (1, 1, rows/cell, columns/cell).
    """
    cell_px = graph.network.cell_px
    if rows_px % cell_px or columns_px % cell_px:
        message = f"canvas {rows_px}x{columns_px} is no multiple of {cell_px} px"
        raise ValueError(message)
    graph.eval()
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but it writes static shapes at this opset
        # without help; what it writes is checked against torch by the caller.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (torch.zeros(1, 1, rows_px, columns_px),),
            str(path),
            input_names=["view"],
            output_names=["suspicion", "evidence"],
            opset_version=OPSET,
            dynamo=False,
        )
