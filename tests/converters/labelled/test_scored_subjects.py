"""Packages that judge a breast or an exam: views gathered, judged together, and told by subject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from converters.importing.imported_model import ImportedModel
from converters.labelled.labels import Labels
from converters.labelled.reading_options import EvaluationOptions
from converters.labelled.scored_subjects import subjects_of
from converters.packaging.phantom import Phantom
from converters.quantization.accuracy_aware import labelled_tensors
from converters.quantization.calibration import read_calibration
from converters.quantization.tensor_store import TensorStore
from models.package import load_package
from runtime.cli.main import main
from tests.support.exams import BRIGHT, DARK, write_exam
from tests.support.packages import (
    COLUMNS,
    ROWS,
    build_package,
    graph_of,
    openvino_runner,
    recipe_of,
)

if TYPE_CHECKING:
    from models.manifest import Manifest

SIZE = {"rows": 160, "columns": 128}
EXAMS = 24

BREAST_RECIPE = f"""
name = "two-views"
version = "1.0.0"
licence = "Apache-2.0"
intended_use = "Tests."
scope = "breast"
exam_rule = "max_view"
precisions = ["fp32"]
default_precision = "fp32"
preparation = [
    {{ step = "window", mode = "voi_lut", to = 1.0 }},
    {{ step = "monochrome1" }},
    {{ step = "resize", mode = "squeeze", height = {ROWS}, width = {COLUMNS} }},
    {{ step = "normalise", mode = "fixed", mean = [0.5], std = [0.25] }},
    {{ step = "channels", count = 1 }},
]
inputs = [
    {{ tensor = "cc", view = "CC", shape = [1, 1, {ROWS}, {COLUMNS}] }},
    {{ tensor = "mlo", view = "MLO", shape = [1, 1, {ROWS}, {COLUMNS}] }},
]
outputs = [{{ tensor = "logit", score = "suspicion", activation = "sigmoid", suspicion = true }}]
accepts = {{ minimum_rows = 16, minimum_columns = 16 }}
[[operating_points]]
name = "balanced"
threshold = 0.5
"""


@pytest.fixture(scope="module")
def exams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 exams, every second one bright and labelled so by one view; one lacks its LMLO."""
    folder = tmp_path_factory.mktemp("exams")
    rows = ["file,label,density"]
    for seed in range(EXAMS):
        light = BRIGHT if seed % 2 else DARK
        files = write_exam(folder, seed, light=light - seed / 200, **SIZE).files
        for view, path in files.items():
            label = "malignant" if seed % 2 and view == "LCC" else "normal"
            rows.append(f"{path.name},{label},{'AB'[seed // 12]}")
    missing = folder / f"exam{EXAMS - 1}-LMLO.dcm"
    missing.unlink()
    kept = [row for row in rows if not row.startswith(missing.name)]
    (folder / "labels.csv").write_text("\n".join(kept) + "\n")
    return folder


def manifest_of(folder: Path, scope: str) -> Manifest:
    """Of a brightness package of that scope."""
    return load_package(
        build_package(folder, scope=scope, score="brightness"), allow_unsigned=True
    ).manifest


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a command printed for machines."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_an_exam_is_evaluated_as_one(
    exams: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """24 scores for 95 files; positive by one view; the exam without a view is not assessed."""
    package = build_package(tmp_path, scope="exam", score="brightness")
    words = ["evaluate", package, "--images", exams, "--labels", exams / "labels.csv", "--json"]
    assert main([str(word) for word in [*words, "--threads", "1"]]) == 1
    told = last_line(capsys)
    assert (told["n"], told["positives"]) == (EXAMS, EXAMS // 2)
    assert told["not_assessed_by_reason"] == {"view_not_received": 1}
    assert told["auc_assessed"] == 1.0
    assert told["auc"] < 1.0
    assert {group: part["n"] for group, part in told["by"].items()} == {
        "density=A": 12,
        "density=B": 12,
    }


def test_a_breast_package_is_verified_against_its_source(
    exams: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime on both views against the IR: 48 breasts, FP32 to 1e-4."""
    pytest.importorskip("nncf", reason="extra [convert] is not installed")
    source, recipe = save_two_view_onnx(tmp_path / "two.onnx"), tmp_path / "two.toml"
    recipe.write_text(BREAST_RECIPE)
    labelled = ["--images", exams, "--labels", exams / "labels.csv", "--accept-loss", "0.9"]
    words = ["build", source, "--recipe", recipe, "--calibration", exams, "--limit", "8"]
    words += [*labelled, "-o", tmp_path / "out", "--without-benchmark"]
    assert main([str(word) for word in words]) == 1
    printed = capsys.readouterr().out
    assert "evidence    none: it judges a whole breast" in printed
    words = ["verify", tmp_path / "out", "--source", source, *labelled, "--threads", "1"]
    assert main([str(word) for word in words]) == 1
    out = capsys.readouterr().out
    assert "breasts        48, 47 assessed" in out
    told = json.loads(out.splitlines()[-1])
    assert told["not_assessed_by_reason"] == {"view_not_received": 1}
    assert told["precisions"]["fp32"]["largest_score_difference"] <= 1e-4
    assert told["precisions"]["fp32"]["positives"] == EXAMS // 2 - 1


def test_the_csv_may_say_which_views_are_an_exam(exams: Path, tmp_path: Path) -> None:
    """Its column goes before the files' own study: archives give each image another."""
    table = tmp_path / "labels.csv"
    views = [(f"exam{seed}-{view}.dcm", view) for seed, view in ((0, "RCC"), (1, "RMLO"))]
    rows = [f"{name},malignant,one" for name, _ in views]
    table.write_text("\n".join(["file,label,exam", *rows]) + "\n")
    manifest = manifest_of(tmp_path, "breast")
    labels = Labels.from_csv(exams, table)
    (subject,) = subjects_of(manifest, labels, EvaluationOptions())
    assert subject.missing == ()
    table.write_text("\n".join(["file,label", *(f"{name},malignant" for name, _ in views)]) + "\n")
    apart = list(subjects_of(manifest, Labels.from_csv(exams, table), EvaluationOptions()))
    assert sorted(subject.missing for subject in apart) == [("CC",), ("MLO",)]


def test_of_two_images_of_a_view_the_higher_score_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in an exam on the unit: a retake does not lower what a first image raised."""
    folder = tmp_path / "exams"
    for number, light in enumerate((BRIGHT, DARK)):
        times = {"acquired_at": f"2026010203{number:02d}00"}
        views = ("RCC", "RMLO") if number == 0 else ("RCC",)
        part = write_exam(folder / str(number), 3, views=views, light=light, **SIZE, **times)
        assert part.files
    table = folder / "labels.csv"
    table.write_text("file,label\n0/exam3-RCC.dcm,malignant\n0/exam3-RMLO.dcm,malignant\n")
    package = build_package(tmp_path, scope="breast", score="brightness", threshold=0.001)
    single = scored(package, folder, table, capsys)
    with table.open("a") as opened:
        opened.write("1/exam3-RCC.dcm,malignant\n")
    assert scored(package, folder, table, capsys) == pytest.approx(single)
    table.write_text("file,label\n1/exam3-RCC.dcm,malignant\n0/exam3-RMLO.dcm,malignant\n")
    assert scored(package, folder, table, capsys) < single


def test_a_newest_image_that_cannot_be_judged_leaves_the_score_of_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A black retake, asked last, is refused; the pair before it was judged."""
    folder = tmp_path / "exams"
    write_exam(folder / "0", 3, views=("RCC", "RMLO"), acquired_at="20260102030000", **SIZE)
    table = folder / "labels.csv"
    table.write_text("file,label\n0/exam3-RCC.dcm,malignant\n0/exam3-RMLO.dcm,malignant\n")
    package = build_package(tmp_path, scope="breast", score="brightness", threshold=0.001)
    single = scored(package, folder, table, capsys)
    retake = {"views": ("RCC",), "light": 0.0, "acquired_at": "20260102030100"}
    write_exam(folder / "1", 3, **retake, **SIZE)
    with table.open("a") as opened:
        opened.write("1/exam3-RCC.dcm,malignant\n")
    assert scored(package, folder, table, capsys) == pytest.approx(single)


def scored(package: Path, images: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> float:
    """The one subject's score."""
    from converters.evaluation.inference_on_labelled import LabelledInference
    from runtime.inference.engine import open_engine

    loaded = load_package(package, allow_unsigned=True)
    engine = open_engine(loaded, "fp32", ("CPU",), None, threads=1)
    options = EvaluationOptions()
    (subject,) = subjects_of(loaded.manifest, Labels.from_csv(images, table), options)
    answer = LabelledInference(loaded.manifest, {"fp32": engine}, options).answer(subject)
    assert answer.reason == ""
    return answer.scores["fp32"]


def test_an_unsuitable_view_leaves_the_breast_unjudged_for_its_own_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not for that of its companion."""
    folder = tmp_path / "exams"
    write_exam(folder, 1, views=("RCC", "LCC", "LMLO"), light=BRIGHT, **SIZE)
    write_exam(folder, 1, views=("RMLO",), implant=True, **SIZE)
    names = sorted(path.name for path in folder.glob("*.dcm"))
    rows = [f"{name},{'malignant' if '-L' in name else 'normal'}" for name in names]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    package = build_package(tmp_path, scope="breast", score="brightness")
    words = ["evaluate", package, "--images", folder, "--labels", folder / "labels.csv", "--json"]
    assert main([str(word) for word in words]) == 0
    told = last_line(capsys)
    assert (told["n"], told["not_assessed_by_reason"]) == (2, {"implant": 1})


def test_accuracy_aware_quantisation_sees_whole_breasts(exams: Path, tmp_path: Path) -> None:
    """Both views of each, prepared; the breast that lacks one is left out."""
    recipe = recipe_of(scope="breast")
    graph = graph_of("breast", "brightness")
    model = ImportedModel(
        graph=graph,
        run_source=openvino_runner(graph),
        inputs=recipe.inputs,
        source=Path("test.onnx"),
        source_sha256="0" * 64,
        framework="onnx",
        largest_fold_difference=0.0,
    )
    labels = Labels.from_csv(exams, exams / "labels.csv")
    store = TensorStore(tmp_path)
    found = labelled_tensors(model, recipe, labels, EvaluationOptions(), store)
    assert len(found) == 2 * EXAMS - 1
    assert sum(positive for _, positive in found) == EXAMS // 2 - 1
    assert set(found[0][0]) == {"cc", "mlo"}


def test_calibration_fills_each_input_with_its_own_view(exams: Path, tmp_path: Path) -> None:
    """As many sets as the rarer view allows; a picture without a view goes where fewest are."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("exam0-LCC", "exam0-RCC", "exam2-RCC", "exam1-LMLO"):
        (folder / f"{name}.dcm").symlink_to(exams / f"{name}.dcm")
    phantom = Phantom(bits_stored=16, pixel_spacing_mm=0.2)
    assert cv2.imwrite(str(folder / "unknown.png"), phantom.pixels())
    recipe = recipe_of(scope="breast")
    (tmp_path / "prepared").mkdir()
    seen: list[int] = []
    found = read_calibration(
        [folder],
        recipe,
        recipe.inputs,
        limit=300,
        pixel_spacing_mm=0.2,
        scratch=tmp_path / "prepared",
        progress=seen.append,
    )
    assert found.refused == ()
    assert len(found.tensors) == 2
    assert seen == list(range(1, len(seen) + 1))
    dark, bright = (found.tensors[0][name].mean() for name in ("cc", "mlo"))
    assert bright > 1.5 * dark


def test_pieces_of_views_are_no_exam(
    exams: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--regions` with a package of several views is refused."""
    package = build_package(tmp_path, scope="exam", score="brightness")
    words = ["evaluate", package, "--images", exams, "--labels", exams / "labels.csv", "--regions"]
    assert main([str(word) for word in words]) == 2
    assert "judges a whole exam, not pieces of views" in capsys.readouterr().err


def save_two_view_onnx(path: Path) -> Path:
    """A convolution of both views, a mean, a product."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(2)
    kernel = draw.normal(0, 0.3, (8, 2, 3, 3)).astype(np.float32)
    head = draw.normal(0, 0.5, (8, 1)).astype(np.float32)
    shape = [1, 1, ROWS, COLUMNS]
    nodes = [
        helper.make_node("Concat", ["cc", "mlo"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "kernel"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ReduceMean", ["b"], ["c"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["c", "head"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two-views",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("cc", "mlo")],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(head, "head")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path
