"""OpenVINO IR on disk: `NAME.xml` and `NAME.bin`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from converters.errors import BenchFaultError

if TYPE_CHECKING:
    from pathlib import Path


def save_ir(graph: Any, folder: Path, name: str) -> None:
    """Write `NAME.xml` and `NAME.bin`; every precision but fp32 keeps its weights in 16 bits.

    Raises:
        BenchFaultError: the disk would not take them.
    """
    import openvino

    xml = folder / f"{name}.xml"
    try:
        openvino.save_model(graph, str(xml), compress_to_fp16=name != "fp32")
    except RuntimeError as fault:
        # OpenVINO says of a full disk "iostream error" and nothing of where.
        free_mb = shutil.disk_usage(folder).free // 1_000_000
        raise BenchFaultError(
            [f"{xml.name}: cannot be written, {free_mb} MB are free there: {fault}"]
        ) from fault


def read_ir(xml: Path) -> Any:
    """The graph as an openvino.Model. Its weights stay mapped: the files must not be replaced."""
    import openvino

    return openvino.Core().read_model(str(xml))
