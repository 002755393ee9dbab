"""`mammoedge convert` and `quantize`: IR with its description, INT8 told layer by layer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import openvino
import pytest

from converters.commands.stage_cache import StageCache
from converters.errors import BenchFaultError
from converters.importing.imported_model import import_model
from converters.importing.ir_files import save_ir
from converters.importing.recipe import read_recipe
from runtime.cli.main import main
from tests.converters.conftest import save_onnx

if TYPE_CHECKING:
    from pathlib import Path

    from tests.converters.conftest import Bench


def test_convert_writes_static_ir_and_says_where_the_runtime_stops(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folded port is a plain image; the source's hash stands beside it."""
    words = ["convert", bench.onnx, "--recipe", bench.recipe, "--precision", "fp32"]
    assert main([str(word) for word in [*words, "-o", tmp_path / "ir"]]) == 0
    assert "view from step 4 on" in capsys.readouterr().out
    told = json.loads((tmp_path / "ir" / "conversion.json").read_text())
    assert told["inputs"][0]["preparation"]["folded_from"] == 4
    model = openvino.Core().read_model(tmp_path / "ir" / "fp32.xml")
    assert list(model.inputs[0].shape) == [64, 48]


@pytest.mark.parametrize("more", [[], ["--accuracy-aware", "--max-drop", "0.05"]])
def test_quantize_tells_each_layers_precision(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    """As the CPU executes it; with labels NNCF checks the AUC itself."""
    words = ["quantize", bench.onnx, "--recipe", bench.recipe, "--calibration", bench.images]
    words += ["--labels", bench.images / "labels.csv", "-o", tmp_path / "ir", *more]
    assert main([str(word) for word in words]) == 0
    layers = json.loads((tmp_path / "ir" / "conversion.json").read_text())["layers"]
    assert len(layers) == 2
    assert set(layers.values()) & {"i8", "u8", "int8"} or more
    last = capsys.readouterr().out.splitlines()[-1]
    assert "layers in" in last


def test_accuracy_aware_without_labels_is_refused(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read; nothing is written."""
    words = ["quantize", bench.onnx, "--recipe", bench.recipe, "--calibration", bench.images]
    words += ["--accuracy-aware", "-o", tmp_path / "ir"]
    assert main([str(word) for word in words]) == 2
    assert "needs --labels" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_accuracy_aware_graph_tells_what_it_reached_and_can_be_packaged(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """AUC and flags of the labelled images; `package` and `build` take it instead of their own."""
    words = [str(bench.onnx), "--recipe", str(bench.recipe), "--calibration", str(bench.images)]
    aware = ["--accuracy-aware", "--labels", str(bench.images / "labels.csv"), "--max-drop", "1"]
    assert main(["quantize", *words, *aware, "-o", str(tmp_path / "aware")]) == 0
    said = capsys.readouterr().out
    assert "images         12, 12 assessed" in said
    assert "       balanced: " in said
    graph = (tmp_path / "aware" / "int8.bin").read_bytes()
    int8 = ["--int8", str(tmp_path / "aware")]
    assert main(["package", *words, *int8, "-o", str(tmp_path / "package")]) == 0
    assert (tmp_path / "package" / "int8.bin").read_bytes() == graph
    more = ["--without-explain", "--without-benchmark", "-o", str(tmp_path / "built")]
    assert main(["build", *words, *int8, *more]) == 1  # made; no labelled image proves it
    assert (tmp_path / "built" / "int8.bin").read_bytes() == graph


def test_a_graph_of_another_model_is_not_taken(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the hash of the source; a folder that `quantize` did not write is told as such."""
    words = ["--recipe", str(bench.recipe), "--calibration", str(bench.images)]
    assert main(["quantize", str(bench.onnx), *words, "-o", str(tmp_path / "int8")]) == 0
    other = save_onnx(tmp_path / "other.onnx", seed=9)
    words = ["package", str(other), *words, "-o", str(tmp_path / "out"), "--int8"]
    assert main([*words, str(tmp_path / "int8")]) == 2
    assert "made from another source or recipe than other.onnx" in capsys.readouterr().err
    assert main([*words, str(tmp_path)]) == 2
    assert "no conversion.json of `quantize`" in capsys.readouterr().err


def test_ir_that_the_disk_does_not_take_is_told_with_its_name(bench: Bench, tmp_path: Path) -> None:
    """OpenVINO's own words name neither file nor disk."""
    (tmp_path / "fp16.xml").mkdir()
    graph = import_model(bench.onnx, read_recipe(bench.recipe)).graph
    with pytest.raises(BenchFaultError, match=r"fp16\.xml: cannot be written, [0-9]+ MB are free"):
        save_ir(graph, tmp_path, "fp16")


def test_a_write_that_falls_short_says_what_it_said(tmp_path: Path) -> None:
    """NumPy's error on a full disk has no number: its words are told, not `None`."""

    def short(_folder: Path) -> dict[str, object]:
        raise OSError("64 requested and 0 written")

    with pytest.raises(BenchFaultError, match="calibration: 64 requested and 0 written"):
        StageCache(tmp_path / ".out.build").once("calibration", "key", short)
