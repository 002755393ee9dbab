"""The engine: OpenVINO on this machine's CPU, its own refusal of the rest, and broken promises."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.errors import PackageRefusedError
from models.package import load_package, sha256_of
from runtime.inference.devices import EngineFaultError, NoUsableDeviceError
from runtime.inference.engine import available_devices, hint_for, open_engine
from tests.support.packages import COLUMNS, ROWS, build_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.package import Package


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages are made once; a test that changes one makes its own."""
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def brightness(folder: Path) -> Package:
    """A package whose score is the brightness of the prepared image."""
    path = build_package(folder, score="brightness", name="brightness", evidence=True)
    return load_package(path, allow_unsigned=True)


@pytest.fixture(scope="module")
def network(folder: Path) -> Package:
    """A package of a small random network in three precisions."""
    path = build_package(folder, name="network", precisions=("fp32", "fp16", "bf16", "int8"))
    return load_package(path, allow_unsigned=True)


def image_of(brightness: float) -> np.ndarray:
    """A prepared image of one gray."""
    return np.full((1, 1, ROWS, COLUMNS), brightness, np.float32)


def rewrite(package: Path, edit: Callable[[dict[str, Any]], None]) -> Package:
    """Change a package's manifest, put its hashes right, and load it."""
    path = package / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    for entry in manifest["files"]:
        entry["sha256"] = sha256_of(package / entry["path"])
        entry["size_bytes"] = (package / entry["path"]).stat().st_size
    path.write_text(json.dumps(manifest))
    return load_package(package, allow_unsigned=True)


def test_scores_follow_the_image(brightness: Package) -> None:
    """The score of a gray image is its brightness; time and execution stand beside it."""
    engine = open_engine(brightness, "fp32", ("CPU",), None, threads=1)
    for gray in (0.25, 0.75):
        prediction = engine.infer({"any": image_of(gray)})
        assert prediction.scores["suspicion"] == pytest.approx(gray, abs=1e-5)
        assert prediction.execution == engine.execution
        assert prediction.infer_ms > 0
    assert engine.execution.actual_device == "CPU"
    assert engine.execution.executed_precision == "f32"


def test_evidence_map_is_kept_when_the_next_image_comes(brightness: Package) -> None:
    """It is a copy: output tensors are used again."""
    engine = open_engine(brightness, "fp32", ("CPU",), None, threads=1)
    first = engine.infer({"any": image_of(0.25)}).evidence
    engine.infer({"any": image_of(0.75)})
    assert first is not None
    assert first.shape == (4, 3)
    assert first == pytest.approx(0.25, abs=1e-5)


def test_a_read_only_image_is_judged_and_not_changed(brightness: Package) -> None:
    """Prepared images are shared with OpenVINO without a copy."""
    engine = open_engine(brightness, "fp32", ("CPU",), None, threads=1)
    image = image_of(0.5)
    image.flags.writeable = False
    assert engine.infer({"any": image}).scores["suspicion"] == pytest.approx(0.5, abs=1e-5)
    assert (image == 0.5).all()


@pytest.mark.parametrize(
    ("precision", "executed"), [("fp32", {"f32"}), ("fp16", {"f32"}), ("int8", {"int8"})]
)
def test_the_executed_precision_is_what_the_layers_report(
    network: Package, precision: str, executed: set[str]
) -> None:
    """FP16 weights are computed in FP32 on a CPU: the result says so."""
    engine = open_engine(network, precision, ("CPU",), None, threads=1)
    assert engine.execution.executed_precision in executed


def test_bf16_is_used_only_where_the_package_asks_for_it(network: Package) -> None:
    """A CPU with BF16 computes in it; another may emulate it or compute in FP32, and says which.

    OpenVINO 2026.4 emulates BF16 on AVX-512 and does not list it among what the CPU can do.
    """
    import openvino

    has_bf16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    asked = open_engine(network, "bf16", ("CPU",), None, threads=1)
    plain = open_engine(network, "fp32", ("CPU",), None, threads=1)
    assert plain.execution.executed_precision == "f32"
    assert asked.execution.executed_precision in ({"bf16"} if has_bf16 else {"bf16", "f32"})
    generator = np.random.default_rng(5)
    images = [generator.random((1, 1, ROWS, COLUMNS), np.float32) for _ in range(4)]
    scores = [
        [engine.infer({"any": image}).scores["suspicion"] for image in images]
        for engine in (asked, plain)
    ]
    differ = bool(np.abs(np.subtract(*scores)).max() > 1e-6)
    assert differ == (asked.execution.executed_precision == "bf16")


@pytest.mark.parametrize(("scope", "inputs"), [("breast", 2), ("exam", 4)])
def test_packages_of_several_views_run(folder: Path, scope: Any, inputs: int) -> None:
    """Each input is fed by name."""
    path = build_package(folder, scope=scope, score="brightness", name=scope)
    package = load_package(path, allow_unsigned=True)
    engine = open_engine(package, "fp32", ("CPU",), None, threads=1)
    assert len(package.manifest.inputs) == inputs
    grays = np.linspace(0.2, 0.8, inputs)
    tensors = {
        port.tensor: image_of(gray)
        for port, gray in zip(package.manifest.inputs, grays, strict=True)
    }
    score = engine.infer(tensors).scores["suspicion"]
    assert score == pytest.approx(grays.mean(), abs=1e-5)


def test_a_missing_or_misshapen_input_is_an_engine_fault(brightness: Package) -> None:
    """Named, and before OpenVINO sees it."""
    engine = open_engine(brightness, "fp32", ("CPU",), None, threads=1)
    with pytest.raises(EngineFaultError, match="input any"):
        engine.infer({})
    with pytest.raises(EngineFaultError, match="input any"):
        engine.infer({"any": np.zeros((1, 1, 8, 8), np.float32)})


def test_a_score_that_is_no_number_is_an_engine_fault(brightness: Package) -> None:
    """NaN never becomes a flag."""
    engine = open_engine(brightness, "fp32", ("CPU",), None, threads=1)
    with pytest.raises(EngineFaultError, match="not between 0 and 1"):
        engine.infer({"any": image_of(float("nan"))})
    with pytest.raises(EngineFaultError, match="not between 0 and 1"):
        engine.infer({"any": image_of(7.0)})


def test_this_machine_without_npu_falls_back_to_its_cpu(brightness: Package) -> None:
    """OpenVINO's own list of devices decides; requested and actual device are both said."""
    if set(available_devices()) != {"CPU"}:
        pytest.skip("this machine has more than a CPU")
    execution = open_engine(brightness, "fp32", ("VPU", "GPU", "CPU"), None).execution
    assert (execution.requested_device, execution.actual_device) == ("NPU", "CPU")
    assert "NPU: not on this machine" in execution.fallback_reason
    assert "GPU: not on this machine" in execution.fallback_reason


@pytest.mark.parametrize("device", ["NPU", "GPU"])
def test_openvino_itself_refuses_a_device_that_is_not_here(
    brightness: Package, device: str
) -> None:
    """Even where its list claims the device: the refusal of the plugin becomes a reason."""
    if device in available_devices():
        pytest.skip(f"this machine has a {device}")
    from runtime.inference.engine import OpenVinoToolkit

    class Boastful(OpenVinoToolkit):
        """Claims every device, compiles with OpenVINO."""

        def devices(self) -> tuple[str, ...]:
            return ("CPU", "GPU", "NPU")

    toolkit = Boastful(cache_dir=None, threads=1)
    execution = open_engine(brightness, "fp32", (device, "CPU"), None, toolkit=toolkit).execution
    assert execution.actual_device == "CPU"
    assert execution.fallback_reason.startswith(f"{device}: ")
    assert "\n" not in execution.fallback_reason
    assert len(execution.fallback_reason) > len(device) + 10


def test_an_npu_is_asked_for_the_one_precision_that_it_has() -> None:
    """All others for what the manifest says: a CPU never chooses BF16 by itself."""
    asked = {device: hint_for(device, "f32") for device in ("CPU", "GPU.1", "NPU")}
    assert asked == {"CPU": "f32", "GPU.1": "f32", "NPU": "f16"}


@dataclass
class FakeGraph:
    """A graph that always answers the same."""

    device: str
    precision: str
    score: float

    def run(self, tensors: object) -> dict[str, np.ndarray]:
        return {"score": np.array([self.score], np.float32)}


@dataclass
class FakeToolkit:
    """An NPU that answers wrongly and a CPU that answers rightly."""

    scores: dict[str, float]
    precision: str = "f16"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def devices(self) -> tuple[str, ...]:
        return tuple(self.scores)

    def compile(self, graph: Path, device: str, inference_precision: str) -> FakeGraph:
        self.asked.append((device, inference_precision))
        return FakeGraph(device, self.precision, self.scores[device])


def test_a_device_that_misses_a_golden_score_is_passed_over(folder: Path) -> None:
    """The reason names the case, what was given and what was expected."""
    path = build_package(folder, score=0.4, name="constant", precisions=("fp16",))
    package = load_package(path, allow_unsigned=True)
    toolkit = FakeToolkit({"NPU": 0.9, "CPU": 0.4})
    execution = open_engine(package, "fp16", ("NPU", "CPU"), None, toolkit=toolkit).execution
    assert execution.actual_device == "CPU"
    assert execution.fallback_reason.startswith("NPU: golden case left-clear: suspicion is 0.9")
    assert "expected 0.4" in execution.fallback_reason
    assert toolkit.asked == [("NPU", "f32"), ("CPU", "f32")]


def test_a_precision_that_was_never_proved_is_not_used(folder: Path) -> None:
    """The package states a tolerance for each precision that may execute it."""
    path = build_package(folder, score=0.3, name="constant-fp16", precisions=("fp16",))
    package = load_package(path, allow_unsigned=True)
    toolkit = FakeToolkit({"CPU": 0.3}, precision="int8")
    with pytest.raises(NoUsableDeviceError, match="executes int8, the package was proved for"):
        open_engine(package, "fp16", ("CPU",), None, toolkit=toolkit)


def test_a_package_whose_weights_do_not_give_its_golden_scores_is_refused(tmp_path: Path) -> None:
    """Right hashes are not enough: the graph must answer as it did at the bench."""
    one = build_package(tmp_path, score=0.4, name="one")
    other = build_package(tmp_path, score=0.6, name="other")
    for name in ("fp32.xml", "fp32.bin"):
        (one / name).write_bytes((other / name).read_bytes())
    package = rewrite(one, lambda manifest: None)
    with pytest.raises(NoUsableDeviceError, match=r"CPU: golden case .* expected 0\.4"):
        open_engine(package, "fp32", ("CPU",), None)


def test_a_package_that_is_prepared_differently_here_is_refused(tmp_path: Path) -> None:
    """A recipe that was changed after the golden cases were made does not run."""
    path = build_package(tmp_path, score=0.4)

    def change(manifest: dict[str, Any]) -> None:
        manifest["preparation"]["steps"][0]["to"] = 0.5

    package = rewrite(path, change)
    with pytest.raises(PackageRefusedError, match=r"golden case .* prepared"):
        open_engine(package, "fp32", ("CPU",), None)


def test_a_recipe_that_cannot_be_executed_refuses_the_package(tmp_path: Path) -> None:
    """Its steps are known one by one, but make no sense in this order."""
    path = build_package(tmp_path, score=0.4)
    crop = {"step": "crop", "mode": "breast_box"}
    package = rewrite(path, lambda manifest: manifest["preparation"]["steps"].insert(3, crop))
    with pytest.raises(PackageRefusedError, match="crop comes before resize"):
        open_engine(package, "fp32", ("CPU",), None)


def test_an_ir_that_openvino_cannot_read_leaves_no_device(tmp_path: Path) -> None:
    """Its own message becomes the reason."""
    path = build_package(tmp_path, score=0.4)
    (path / "fp32.xml").write_text("<net>")
    package = rewrite(path, lambda manifest: None)
    with pytest.raises(NoUsableDeviceError, match="CPU: "):
        open_engine(package, "fp32", ("CPU",), None)


def blobs_of(cache: Path) -> list[Path]:
    """The compiled graphs in a cache."""
    return sorted(cache.rglob("*.blob"))


def test_a_second_start_takes_the_graph_from_the_cache(network: Package, tmp_path: Path) -> None:
    """Nothing is compiled and nothing is written again."""
    open_engine(network, "int8", ("CPU",), tmp_path, threads=1)
    before = [(path, path.stat().st_mtime_ns) for path in blobs_of(tmp_path)]
    assert len(before) == 1
    open_engine(network, "int8", ("CPU",), tmp_path, threads=1)
    assert [(path, path.stat().st_mtime_ns) for path in blobs_of(tmp_path)] == before


@pytest.mark.parametrize("damage", ["cut", "zeroed", "empty", "flipped"])
def test_a_damaged_cache_is_survived(network: Package, tmp_path: Path, damage: str) -> None:
    """The graph is compiled again and answers as before."""
    image = {"any": image_of(0.3)}
    engine = open_engine(network, "fp32", ("CPU",), tmp_path, threads=1)
    expected = engine.infer(image).scores
    (blob,) = blobs_of(tmp_path)
    content = bytearray(blob.read_bytes())
    half = len(content) // 2
    if damage == "cut":
        content = content[:half]
    elif damage == "zeroed":
        content[half:] = bytes(len(content) - half)
    elif damage == "empty":
        content = bytearray()
    else:
        content[-1] ^= 0xFF
    blob.write_bytes(bytes(content))
    again = open_engine(network, "fp32", ("CPU",), tmp_path, threads=1)
    assert again.infer(image).scores == pytest.approx(expected, abs=1e-6)
    (fresh,) = blobs_of(tmp_path)
    assert fresh.read_bytes() != bytes(content)


def test_a_cache_that_cannot_be_written_is_done_without(network: Package, tmp_path: Path) -> None:
    """A file stands where the folder should be: the unit starts all the same."""
    (tmp_path / "cache").write_text("in the way")
    engine = open_engine(network, "fp32", ("CPU",), tmp_path / "cache", threads=1)
    assert engine.execution.actual_device == "CPU"


def test_an_unknown_precision_is_refused(network: Package) -> None:
    """With the names of those there are."""
    with pytest.raises(PackageRefusedError, match="'int4' is none of fp32, fp16, bf16, int8"):
        open_engine(network, "int4", ("CPU",), None)
