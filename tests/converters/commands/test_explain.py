"""`mammoedge explain`: a map beside the score, the score as it was, and a check that can fail."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import pytest

from converters.errors import BenchFaultError
from converters.explanation.classifier_head import find_head
from converters.explanation.evidence_branch import add_evidence
from converters.explanation.occlusion import agreement_with, occlusion_map, spearman
from models.manifest import OutputPort
from models.package import load_package
from runtime.cli.main import main
from runtime.inference.engine import open_engine
from runtime.inference.golden_check import prepared_cases
from tests.converters.classifiers import (
    bright_spot_classifier,
    classifier,
    classifier_package,
    excited_linear_head,
    flattened_head,
    hidden_layer_head,
    linear_head,
    mixing_head,
    shaped_by_the_image_head,
    two_class_head,
)
from tests.support.packages import COLUMNS, ROWS, build_package

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("nncf", reason="extra [convert] is not installed")

SCORE = OutputPort(tensor="score", score="suspicion", suspicion=True)


def explain(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    """Exit code and last line."""
    code = main(["explain", "--threads", "1", *[str(word) for word in words]])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def answers(graph: object, image: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name, in FP32."""
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled({"any": image})
    return {name: results[port].copy() for port in compiled.outputs for name in port.names}


@pytest.fixture
def image() -> np.ndarray:
    """A model input."""
    return np.random.default_rng(4).random((1, 1, ROWS, COLUMNS), np.float32)


@pytest.mark.parametrize("head", [linear_head, excited_linear_head])
def test_a_linear_head_gets_the_map_of_each_cells_own_score(head: Any, image: np.ndarray) -> None:
    """The mean of the cells' logits is the image's logit, to rounding; the score is untouched."""
    graph = classifier(head)
    before = answers(graph, image)["score"]
    added = add_evidence(graph, SCORE)
    assert added.method == "class activation map"
    after = answers(graph, image)
    assert np.array_equal(after["score"], before)
    cells = after["evidence"].astype(np.float64)
    assert cells.shape == (added.port.rows, added.port.columns) == (ROWS // 4, COLUMNS // 4)
    logits = np.log(cells / (1 - cells))
    expected = np.log(before.item() / (1 - before.item()))
    assert logits.mean() == pytest.approx(expected, abs=1e-3)
    assert logits.std() > 0.01


def test_of_two_classes_the_suspicions_is_mapped(image: np.ndarray) -> None:
    """A 1 x 1 convolution behind an average pooling is a linear head too; softmax cell by cell."""
    graph = classifier(two_class_head)
    plain = answers(graph, image)["score"].ravel()
    port = SCORE.model_copy(update={"activation": "softmax", "index": 1})
    added = add_evidence(graph, port)
    assert added.method == "class activation map"
    cells = answers(graph, image)["evidence"].astype(np.float64)
    margin = np.log(cells / (1 - cells)).mean()
    assert margin == pytest.approx(plain[1] - plain[0], abs=1e-3)


def test_a_hidden_layer_is_asked_about_each_cell_alone(image: np.ndarray) -> None:
    """Recipro-CAM by its definition: the head on a map that is zero but for one cell."""
    graph = classifier(hidden_layer_head)
    head = find_head(graph, "score")
    assert head.pooling is not None
    assert not head.linear
    features = graph.clone()
    inner = next(o for o in features.get_ordered_ops() if o.get_friendly_name() == head.features)
    inner.output(0).set_names({"map"})
    features.add_outputs(inner.output(0))
    values = answers(features, image)["map"]
    rest = openvino.Model([features.get_results()[0]], [_parameter_at(inner, values.shape)], "rest")
    compiled = openvino.Core().compile_model(rest, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = np.zeros(values.shape[2:])
    for row, column in np.ndindex(expected.shape):
        alone = np.zeros_like(values)
        alone[:, :, row, column] = values[:, :, row, column]
        expected[row, column] = compiled(alone)[0].item()
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    assert add_evidence(graph, SCORE).method == "Recipro-CAM"
    assert np.abs(answers(graph, image)["evidence"] - expected).max() < 1e-3


def _parameter_at(operation: Any, shape: tuple[int, ...]) -> Any:
    """A parameter instead of the operation, for all that use it."""
    parameter = openvino.opset13.parameter(list(shape), np.float32)
    for target in operation.output(0).get_target_inputs():
        target.replace_source_output(parameter.output(0))
    return parameter


def test_a_head_that_asks_for_an_earlier_shape_is_asked_all_the_same(image: np.ndarray) -> None:
    """Shapes are static: what lies before the map need not be there to know its own."""
    graph = classifier(shaped_by_the_image_head)
    before = answers(graph, image)["score"]
    assert add_evidence(graph, SCORE).method == "Recipro-CAM"
    after = answers(graph, image)
    assert np.array_equal(after["score"], before)
    assert after["evidence"].std() > 0.05


def test_a_head_that_mixes_what_it_is_given_is_refused() -> None:
    """Cells asked together would not be what they are alone; the operation is named."""
    with pytest.raises(BenchFaultError, match="cannot be asked about several cells"):
        add_evidence(classifier(mixing_head), SCORE)


def test_without_a_convolution_there_is_no_map() -> None:
    """A mean of the image has none."""
    from tests.support.packages import graph_of

    with pytest.raises(BenchFaultError, match="no convolution's map"):
        add_evidence(graph_of("view", "brightness"), SCORE)


@pytest.mark.parametrize(
    ("head", "method"),
    [(linear_head, "class activation map"), (flattened_head, "Recipro-CAM")],
)
def test_every_precision_of_a_package_keeps_its_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: Any, method: str
) -> None:
    """FP16 and INT8: golden scores to 1e-6, cost told, and the package opens as a unit opens it."""
    before = load_package(
        classifier_package(tmp_path, head, precisions=("fp16", "int8")), allow_unsigned=True
    )
    _, told = explain(capsys, before.folder, "-o", tmp_path / "out")
    assert told["method"] == method
    assert [one["precision"] for one in told["precisions"]] == ["fp16", "int8"]
    for one in told["precisions"]:
        assert one["largest_score_difference"] <= 1e-6
        assert one["time_ratio"] > 0
        assert -1 <= one["rank_correlation"] <= 1
    after = load_package(tmp_path / "out", allow_unsigned=True)
    assert after.manifest.label == "test-package-1.0.0+evidence"
    assert after.manifest.evidence is not None
    for name in ("fp16", "int8"):
        old, new = (open_engine(p, name, ("CPU",), None, threads=1) for p in (before, after))
        assert new.execution.executed_precision == old.execution.executed_precision
        for case in prepared_cases(before, name):
            prediction = new.infer(case.tensors)
            assert prediction.scores == pytest.approx(old.infer(case.tensors).scores, abs=1e-6)
            assert prediction.evidence is not None
            assert prediction.evidence.std() > 0
    assert "## Evidence map" in (after.folder / "CARD.md").read_text()
    assert "<h2>Evidence map</h2>" in (after.folder / "report.html").read_text()


def test_a_map_that_agrees_with_occlusion_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0: what the network answers to is what the map shows, in every golden case."""
    made = classifier_package(tmp_path, linear_head, graph=bright_spot_classifier())
    code, told = explain(capsys, made, "-o", tmp_path / "out")
    (one,) = told["precisions"]
    assert one["rank_correlation"] > 0.8
    assert one["pointing"] >= 2
    assert (code, told["verdict"]) == (0, "pass")


def test_a_map_that_occlusion_contradicts_is_called_weak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random weights: exit code 1, the package is there, and its card says not to show the map."""
    made = classifier_package(tmp_path, hidden_layer_head)
    assert main(["explain", str(made), "-o", str(tmp_path / "out"), "--threads", "1"]) == 1
    assert "fp16: agrees too little with occlusion" in capsys.readouterr().out
    assert "do not show this map" in (tmp_path / "out" / "CARD.md").read_text()
    load_package(tmp_path / "out", allow_unsigned=True)


def test_the_opposite_of_a_map_does_not_agree() -> None:
    """The check can fail: correlation turns its sign, and it points elsewhere."""
    image = np.zeros((1, 1, 32, 24), np.float32)
    image[0, 0, 4:28, 2:20] = np.random.default_rng(0).random((24, 18)) * 0.2
    image[0, 0, 8:12, 4:8] = 1.0
    occlusion = occlusion_map(lambda given: float(given.mean()), image, 8, 6)
    truth = image[0, 0]
    good, bad = agreement_with(occlusion, truth), agreement_with(occlusion, 1 - truth)
    assert good.rank_correlation > 0.9
    assert good.points_alike
    assert bad.rank_correlation < -0.9
    assert not bad.points_alike
    assert not occlusion.counted[0].any()
    assert spearman(np.array([1, 1, 2]), np.array([3, 3, 3])) == 0.0


def test_the_old_signature_goes_and_a_key_makes_a_new_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was signed is not what is there now."""
    key = tmp_path / "key.pem"
    assert main(["keygen", str(key)]) == 0
    public = bytes.fromhex(capsys.readouterr().out.strip())
    signed = classifier_package(tmp_path, linear_head, signing_key=key)
    explain(capsys, signed, "-o", tmp_path / "unsigned", "--version", "2.0.0")
    assert load_package(tmp_path / "unsigned", allow_unsigned=True).manifest.version == "2.0.0"
    assert not (tmp_path / "unsigned" / "manifest.sig").exists()
    explain(capsys, signed, "-o", tmp_path / "signed", "--sign", key)
    assert load_package(tmp_path / "signed", trusted_keys=(public,)).signed


@pytest.mark.parametrize(
    ("options", "telling"),
    [
        ({"scope": "breast"}, "judges a whole breast"),
        ({"evidence": True}, "an evidence map of its own, 'evidence'"),
    ],
)
def test_packages_that_get_no_map_are_told_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], telling: str
) -> None:
    """Exit code 2, nothing written."""
    made = build_package(tmp_path / "in", **options)
    assert main(["explain", str(made), "-o", str(tmp_path / "out")]) == 2
    assert telling in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_version_that_is_none_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told before a package that nobody can load is written."""
    made = classifier_package(tmp_path, linear_head)
    words = ["explain", made, "-o", tmp_path / "out", "--version", "newest"]
    assert main([str(word) for word in words]) == 2
    assert "--version 'newest': not like 1.2.3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_torn_package_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a unit would refuse it; nothing is written."""
    made = shutil.copytree(build_package(tmp_path / "in"), tmp_path / "torn")
    (made / "fp32.bin").write_bytes(b"x")
    assert main(["explain", str(made), "-o", str(tmp_path / "out")]) == 2
    assert "fp32.bin" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
