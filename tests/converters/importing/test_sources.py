"""Sources of other frameworks: told apart by content, read, or refused with the way out."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from converters.errors import BenchFaultError
from converters.importing.imported_model import import_model
from converters.importing.recipe import PackageRecipe
from converters.importing.source_kind import SourceKind, kind_of
from tests.conftest import skip_or_fail
from tests.support.packages import recipe_of

SOURCES = Path(__file__).parent / "sources"


def recipe_for(shape: tuple[int, ...], layout: str = "NCHW") -> PackageRecipe:
    """Window, resize, one channel; ports as the recipe calls them."""
    steps = [
        {"step": "window", "mode": "voi_lut"},
        {"step": "resize", "mode": "squeeze", "height": 64, "width": 48},
        {"step": "scale", "mode": "affine", "factor": 2.0, "offset": -1.0},
        {"step": "channels", "layout": layout},
    ]
    content = recipe_of().model_dump(mode="json") | {
        "preparation": steps,
        "inputs": [{"tensor": "view", "shape": shape}],
        "outputs": [{"tensor": "suspicion", "score": "suspicion", "suspicion": True}],
    }
    return PackageRecipe.model_validate(content)


def run(graph: object, plain: np.ndarray) -> float:
    """One inference of the folded graph."""
    import openvino

    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({"view": plain})["suspicion"].item()


@pytest.mark.parametrize(
    ("name", "kind", "shape", "layout"),
    [
        ("saved_model", SourceKind.SAVED_MODEL, (1, 64, 48, 1), "NHWC"),
        ("frozen.pb", SourceKind.FROZEN_GRAPH, (1, 64, 48, 1), "NHWC"),
        ("tiny.tflite", SourceKind.TFLITE, (1, 64, 48, 1), "NHWC"),
        ("tiny.pdmodel", SourceKind.PADDLE, (1, 1, 64, 48), "NCHW"),
    ],
)
def test_a_source_is_read_with_the_tail_folded_in(
    name: str, kind: SourceKind, shape: tuple[int, ...], layout: str
) -> None:
    """The folded graph gives on the plain image what the source gives on the whole recipe's."""
    source = SOURCES / name
    assert kind_of(source) is kind
    model = import_model(source, recipe_for(shape, layout))
    assert model.framework == kind.value
    plain = np.random.default_rng(3).random((64, 48), np.float32)
    whole = (plain * 2 - 1).reshape(shape)
    expected = model.run_source({"view": whole})["suspicion"].item()
    assert 0 < expected < 1
    assert run(model.graph, plain) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["frozen.pb", "tiny.tflite", "tiny.pdmodel"])
def test_the_suffix_does_not_matter(tmp_path: Path, name: str) -> None:
    """A file that somebody called model.bin is read all the same."""
    shutil.copy(SOURCES / name, tmp_path / "model.dat")
    if name == "tiny.pdmodel":
        shutil.copy(SOURCES / "tiny.pdiparams", tmp_path / "model.pdiparams")
    shape = (1, 1, 64, 48) if name == "tiny.pdmodel" else (1, 64, 48, 1)
    layout = "NCHW" if name == "tiny.pdmodel" else "NHWC"
    assert import_model(tmp_path / "model.dat", recipe_for(shape, layout)).framework


def test_ir_is_a_source_too(tmp_path: Path) -> None:
    """An IR pair that somebody else converted; without its weights it is refused."""
    import openvino

    first = import_model(SOURCES / "tiny.pdmodel", recipe_for((1, 1, 64, 48)))
    openvino.save_model(first.graph, tmp_path / "model.xml", compress_to_fp16=False)
    content = recipe_for((64, 48)).model_dump(mode="json")
    content["preparation"] = content["preparation"][:2]
    recipe = PackageRecipe.model_validate(content)
    assert kind_of(tmp_path / "model.xml") is SourceKind.IR
    plain = np.random.default_rng(3).random((64, 48), np.float32)
    again = import_model(tmp_path / "model.xml", recipe)
    assert run(again.graph, plain) == pytest.approx(run(first.graph, plain), abs=1e-6)
    (tmp_path / "model.bin").unlink()
    with pytest.raises(BenchFaultError, match=r"model\.bin: missing"):
        import_model(tmp_path / "model.xml", recipe)


def test_torch_programs_are_read_and_run_by_torch(tmp_path: Path) -> None:
    """`.pt2` and TorchScript, under each other's suffix."""
    try:
        import torch
    except ImportError:
        skip_or_fail("extra [convert-torch] is not installed")

    class Toy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = torch.nn.Conv2d(1, 4, 3, 2, 1)

        def forward(self, view: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.convolution(view).mean((1, 2, 3)))

    toy, example = Toy().eval(), (torch.zeros(1, 1, 64, 48),)
    torch.export.save(torch.export.export(toy, example), tmp_path / "exported.pt2")
    (tmp_path / "exported.pt2").rename(tmp_path / "a.pt")
    torch.jit.trace(toy, example).save(str(tmp_path / "b.pth"))
    plain = np.random.default_rng(3).random((64, 48), np.float32)
    with torch.no_grad():
        expected = toy(torch.from_numpy(plain * 2 - 1)[None, None]).item()
    for name, kind in (("a.pt", SourceKind.EXPORTED_PROGRAM), ("b.pth", SourceKind.TORCHSCRIPT)):
        model = import_model(tmp_path / name, recipe_for((1, 1, 64, 48)))
        assert model.framework == kind.value
        whole = (plain * 2 - 1)[None, None]
        assert model.run_source({"view": whole})["suspicion"].item() == pytest.approx(expected)
        assert run(model.graph, plain) == pytest.approx(expected, abs=1e-5)


def test_a_torch_program_may_answer_with_a_dictionary(tmp_path: Path) -> None:
    """A score and a regression in the hundreds, both compared to their own extent."""
    try:
        import torch
    except ImportError:
        skip_or_fail("extra [convert-torch] is not installed")

    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = torch.nn.Conv2d(1, 4, 3, 2, 1)

        def forward(self, view: torch.Tensor) -> dict[str, torch.Tensor]:
            mean = self.convolution(view).mean((1, 2, 3))
            return {"suspicion": torch.sigmoid(mean), "months": 1000 * mean}

    heads, example = Heads().eval(), (torch.zeros(1, 1, 64, 48),)
    torch.export.save(torch.export.export(heads, example), tmp_path / "a.pt2")
    torch.jit.trace(heads, example, strict=False).save(str(tmp_path / "b.pt"))
    whole = np.random.default_rng(3).random((1, 1, 64, 48), np.float32)
    with torch.no_grad():
        expected = heads(torch.from_numpy(whole))
    recipe = recipe_for((1, 1, 64, 48))
    more = {"tensor": "months", "score": "months"}
    ports = [*recipe.outputs, recipe.outputs[0].model_copy(update=more | {"suspicion": False})]
    for name in ("a.pt2", "b.pt"):
        model = import_model(tmp_path / name, recipe.model_copy(update={"outputs": tuple(ports)}))
        given = model.run_source({"view": whole})
        for key, value in expected.items():
            assert given[key].item() == pytest.approx(value.item(), rel=1e-5)


def zipped(path: Path, *names: str) -> Path:
    """A zip with empty entries."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return path


def test_pickled_checkpoints_are_refused_with_the_lines_that_export_them(tmp_path: Path) -> None:
    """A bare pickle and torch.save's zip, whatever they are called; nothing of them is executed."""
    (tmp_path / "model.onnx").write_bytes(b"\x80\x04\x95cos\nsystem\n(S'touch pwned'\ntR.")
    zipped(tmp_path / "model.ckpt", "archive/data.pkl", "archive/data/0")
    for source in sorted(tmp_path.iterdir()):
        with pytest.raises(BenchFaultError) as refused:
            kind_of(source)
        (told,) = refused.value.faults
        assert told.startswith(source.name)
        assert "torch.onnx.export" in told
        assert ".pt2" in told
        assert len(told.splitlines()) >= 10


def test_keras_files_are_refused_with_the_three_lines(tmp_path: Path) -> None:
    """The zip and the HDF5."""
    zipped(tmp_path / "a.keras", "config.json", "model.weights.h5", "metadata.json")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    for source in sorted(tmp_path.iterdir()):
        with pytest.raises(BenchFaultError, match=r"model\.export"):
            kind_of(source)


def test_paddles_newer_program_gets_the_line_that_exports_the_older(tmp_path: Path) -> None:
    """OpenVINO does not read the JSON."""
    (tmp_path / "model.json").write_text('{"base_code": {"magic": "pir"}}')
    with pytest.raises(BenchFaultError, match="FLAGS_enable_pir_api=0"):
        kind_of(tmp_path / "model.json")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x0a\x05\x12abc", bytes(100)])
def test_what_is_no_model_is_told_what_would_be(tmp_path: Path, content: bytes) -> None:
    """The kinds that are read are named."""
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BenchFaultError, match="no model of a known kind"):
        kind_of(tmp_path / "model.onnx")


def test_a_zip_that_writes_outside_itself_is_refused(tmp_path: Path) -> None:
    """Zip slip; and a SavedModel with a link that leads out of it."""
    zipped(tmp_path / "model.pt2", "a/archive_format", "../../etc/cron.d/x")
    with pytest.raises(BenchFaultError, match="leaves it"):
        kind_of(tmp_path / "model.pt2")
    folder = shutil.copytree(SOURCES / "saved_model", tmp_path / "saved")
    (folder / "variables" / "more").symlink_to("/etc/passwd")
    with pytest.raises(BenchFaultError, match="leads out of it"):
        kind_of(folder)


def faults_of(source: Path, recipe: PackageRecipe) -> str:
    """Why a source is refused, line by line."""
    with pytest.raises(BenchFaultError) as refused:
        import_model(source, recipe)
    return "\n".join(refused.value.faults)


def test_unsupported_operations_are_named_with_their_nodes(tmp_path: Path) -> None:
    """Paddle's `mul`, which OpenVINO does not know, and a TensorFlow operation that nobody does."""
    told = faults_of(SOURCES / "mul.pdmodel", recipe_for((1, 1, 64, 48)))
    assert "mul node" in told
    assert "mul.pdmodel: node 'fc_0.tmp_0': no such operation" in told
    frozen = (SOURCES / "frozen.pb").read_bytes()
    (tmp_path / "bad.pb").write_bytes(frozen.replace(b"Relu", b"Rexu"))
    told = faults_of(tmp_path / "bad.pb", recipe_for((1, 64, 48, 1), "NHWC"))
    assert "operations: Rexu" in told
    assert "bad.pb: node 'StatefulPartitionedCall/Rexu': no such operation" in told


def test_unsupported_torch_operations_are_named_with_their_nodes(tmp_path: Path) -> None:
    """A Bessel function, which no convolution needs: in an exported program and in TorchScript."""
    try:
        import torch
    except ImportError:
        skip_or_fail("extra [convert-torch] is not installed")

    class Toy(torch.nn.Module):
        def forward(self, view: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(torch.special.bessel_j0(view).mean((1, 2, 3)))

    toy, example = Toy().eval(), (torch.zeros(1, 1, 64, 48),)
    torch.export.save(torch.export.export(toy, example), tmp_path / "a.pt2")
    torch.jit.trace(toy, example).save(str(tmp_path / "b.pt"))
    for name in ("a.pt2", "b.pt"):
        told = faults_of(tmp_path / name, recipe_for((1, 1, 64, 48)))
        assert f"{name}: node '" in told
        assert "special_bessel_j0" in told.partition(f"{name}: node '")[2]


def test_a_torn_zip_is_refused(tmp_path: Path) -> None:
    """Half of a TorchScript file is no zip any more."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/code/x.py", b"x" * 1000)
        archive.writestr("a/constants.pkl", b"y" * 1000)
    (tmp_path / "torn.pt").write_bytes(buffer.getvalue()[:500])
    with pytest.raises(BenchFaultError, match=r"torn\.pt"):
        kind_of(tmp_path / "torn.pt")
