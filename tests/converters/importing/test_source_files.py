"""A source model is all of its files: other weights are another model, wherever they lie."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from converters.errors import BenchFaultError
from converters.importing.source_files import SourceFiles
from converters.importing.source_kind import SourceKind
from tests.converters.conftest import save_onnx

if TYPE_CHECKING:
    from pathlib import Path

SAVED = SourceKind.SAVED_MODEL


def hash_of(source: Path, kind: SourceKind) -> str:
    """Over all files of the source."""
    return SourceFiles.of(source, kind).sha256()


@pytest.mark.parametrize("kind", [SourceKind.TORCHSCRIPT, SourceKind.EXPORTED_PROGRAM])
def test_a_source_of_one_file_has_the_files_own_hash(tmp_path: Path, kind: SourceKind) -> None:
    """As packages have named it from the first on, and `sha256sum` does."""
    source = tmp_path / "model.pt"
    source.write_bytes(b"weights")
    assert hash_of(source, kind) == hashlib.sha256(b"weights").hexdigest()


def test_an_onnx_file_without_external_data_has_its_own_hash(tmp_path: Path) -> None:
    """Whatever lies beside it."""
    source = save_onnx(tmp_path / "model.onnx")
    (tmp_path / "model.onnx.data").write_bytes(b"of another")
    assert hash_of(source, SourceKind.ONNX) == hashlib.sha256(source.read_bytes()).hexdigest()


def test_other_external_data_are_another_model(tmp_path: Path) -> None:
    """The .onnx file is the same to the last byte."""
    source = save_onnx(tmp_path / "model.onnx", seed=1, beside="weights.bin")
    first, graph = hash_of(source, SourceKind.ONNX), source.read_bytes()
    assert first == hash_of(source, SourceKind.ONNX)
    save_onnx(source, seed=99, beside="weights.bin")
    assert source.read_bytes() == graph
    assert hash_of(source, SourceKind.ONNX) != first


@pytest.mark.parametrize(
    ("kind", "graph", "weights"),
    [
        (SourceKind.IR, "model.xml", "model.bin"),
        (SourceKind.PADDLE, "model.pdmodel", "model.pdiparams"),
        (SAVED, "saved/saved_model.pb", "saved/variables/variables.data-00000-of-00001"),
    ],
)
def test_other_weights_beside_the_graph_are_another_model(
    tmp_path: Path, kind: SourceKind, graph: str, weights: str
) -> None:
    """IR, Paddle, SavedModel; and a file under another name is the same model."""
    for name, content in ((graph, b"graph"), (weights, b"first")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    source = tmp_path / "saved" if kind is SAVED else tmp_path / graph
    first = hash_of(source, kind)
    (tmp_path / weights).write_bytes(b"other")
    assert hash_of(source, kind) != first
    (tmp_path / weights).write_bytes(b"first")
    assert hash_of(source, kind) == first


@pytest.mark.parametrize("kind", [SourceKind.IR, SourceKind.PADDLE])
def test_missing_weights_are_named(tmp_path: Path, kind: SourceKind) -> None:
    """With the graph that they belong to."""
    source = tmp_path / "model.xml"
    source.write_bytes(b"graph")
    with pytest.raises(BenchFaultError, match=r"missing beside model\.xml"):
        SourceFiles.of(source, kind)


def test_missing_external_data_are_named(tmp_path: Path) -> None:
    """Before OpenVINO reads a file that is not there."""
    source = save_onnx(tmp_path / "model.onnx", beside="weights.bin")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(BenchFaultError, match=r"weights\.bin: missing beside model\.onnx"):
        SourceFiles.of(source, SourceKind.ONNX)
