"""What a source model is, told by its content: a suffix is only what somebody called it."""

from __future__ import annotations

import zipfile
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from converters.errors import BenchFaultError

if TYPE_CHECKING:
    from pathlib import Path


class SourceKind(StrEnum):
    """What can be imported; the value stands in the manifest as the source's framework."""

    ONNX = "onnx"
    SAVED_MODEL = "tensorflow_saved_model"
    FROZEN_GRAPH = "tensorflow_frozen_graph"
    TFLITE = "tflite"
    PADDLE = "paddle"
    EXPORTED_PROGRAM = "torch_exported_program"
    TORCHSCRIPT = "torchscript"
    IR = "openvino_ir"


PICKLED_ADVICE = """a pickled checkpoint executes code when it is read, and holds no architecture.
Export it where the code that made it is installed:
    import torch
    model = ...                  # build it and load the checkpoint as its authors do
    model.eval()
    example = (torch.zeros(1, 1, ROWS, COLUMNS),)
    torch.onnx.export(
        model, example, "model.onnx",
        input_names=["view"], output_names=["suspicion"], opset_version=17,
    )
    # or: torch.export.save(torch.export.export(model, example), "model.pt2")"""
KERAS_ADVICE = """a Keras file may hold Python code, and OpenVINO does not read it.
Export a SavedModel:
    import keras
    model = keras.saving.load_model("model.keras")
    model.export("saved_model")"""
PADDLE_JSON_ADVICE = """Paddle's newer program file, which OpenVINO does not read.
Export the older one, with the model loaded as its authors do, and convert model.pdmodel:
    # FLAGS_enable_pir_api=0 in the environment of:
    paddle.jit.save(model, "model", input_spec=[paddle.static.InputSpec([1, 1, ROWS, COLUMNS])])"""

KNOWN_KINDS = "ONNX, SavedModel, frozen graph, TFLite, .pdmodel, .pt2, TorchScript, IR"
HEAD_BYTES = 64
# A pickle of protocol 2 or later begins with PROTO and the protocol's number (pickletools).
PICKLE_HEADS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


def kind_of(source: Path) -> SourceKind:
    """What `source` holds.

    Raises:
        BenchFaultError: it is not there, executes code when read, leaves its folder, or is unknown.
    """
    if source.is_dir():
        return _kind_of_folder(source)
    try:
        with source.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
    except OSError as fault:
        raise BenchFaultError([f"{source.name}: {fault.strerror}"]) from fault
    if zipfile.is_zipfile(source):
        return _kind_of_zip(source)
    if head.startswith(PICKLE_HEADS):
        raise BenchFaultError([f"{source.name}: {PICKLED_ADVICE}"])
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        raise BenchFaultError([f"{source.name}: {KERAS_ADVICE}"])
    if head.lstrip().startswith(b"{"):
        raise BenchFaultError([f"{source.name}: {PADDLE_JSON_ADVICE}"])
    if head[4:8] == b"TFL3":  # the file identifier of TensorFlow Lite's FlatBuffers schema
        return SourceKind.TFLITE
    if head.lstrip().startswith(b"<") and b"<net" in head:
        return SourceKind.IR
    return _kind_of_protobuf(source, head)


def _kind_of_folder(source: Path) -> SourceKind:
    if not (source / "saved_model.pb").is_file():
        raise BenchFaultError([f"{source.name}: a folder without saved_model.pb"])
    root = source.resolve()
    leaving = [
        path.relative_to(source).as_posix()
        for path in sorted(source.rglob("*"))
        if not path.resolve().is_relative_to(root)
    ]
    if leaving:
        raise BenchFaultError([f"{source.name}: {name!r} leads out of it" for name in leaving])
    return SourceKind.SAVED_MODEL


def _kind_of_zip(source: Path) -> SourceKind:
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as fault:
        raise BenchFaultError([f"{source.name}: {fault}"]) from fault
    leaving = [n for n in names if n.startswith(("/", "\\")) or ".." in PurePosixPath(n).parts]
    if leaving:
        raise BenchFaultError([f"{source.name}: {name[:80]!r} leaves it" for name in leaving[:5]])
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return SourceKind.EXPORTED_PROGRAM
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return SourceKind.TORCHSCRIPT
    if "data.pkl" in inner:
        raise BenchFaultError([f"{source.name}: {PICKLED_ADVICE}"])
    if "model.weights.h5" in names:
        raise BenchFaultError([f"{source.name}: {KERAS_ADVICE}"])
    raise BenchFaultError([f"{source.name}: a zip that is no model of a known kind"])


def _kind_of_protobuf(source: Path, head: bytes) -> SourceKind:
    """By the first fields of onnx.proto3, graph.proto and framework.proto.

    ONNX's ModelProto begins with `ir_version` (field 1, varint), TensorFlow's GraphDef and Paddle's
    ProgramDesc with a message in field 1; TensorFlow's (NodeDef) begins with a string, Paddle's
    (BlockDesc) with the varint `idx`.
    """
    if head[:1] == b"\x08":
        return SourceKind.ONNX
    if head[:1] == b"\x0a":
        place = 1
        while place < len(head) - 1 and head[place] & 0x80:  # the message's length
            place += 1
        inner = head[place + 1 : place + 2]
        if inner == b"\x0a":
            return SourceKind.FROZEN_GRAPH
        if inner == b"\x08":
            return SourceKind.PADDLE
    raise BenchFaultError([f"{source.name}: no model of a known kind ({KNOWN_KINDS})"])
