"""OpenVINO IR on disk: `NAME.xml` and `NAME.bin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def save_ir(graph: Any, folder: Path, name: str) -> None:
    """Write `NAME.xml` and `NAME.bin`; every precision but fp32 keeps its weights in 16 bits."""
    import openvino

    openvino.save_model(graph, str(folder / f"{name}.xml"), compress_to_fp16=name != "fp32")


def read_ir(xml: Path) -> Any:
    """The graph as an openvino.Model. Its weights stay mapped: the files must not be replaced."""
    import openvino

    return openvino.Core().read_model(str(xml))
