"""`mammoedge verify` and the proof of a package: source, IR and INT8 on the same labelled files."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import onnxruntime
import pytest

from converters.labelled.image_reading import SideNotes, read_image
from models.manifest import Recipe
from models.package import load_package
from runtime.cli.main import main
from runtime.preprocessing.preparation import prepare
from tests.converters.conftest import save_onnx
from tests.support.synthetic import mammogram_dataset, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.converters.conftest import Bench

IMAGES = 24
MADE = 1
"""Exit code of a build that made a package which is not proved."""


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 DICOM views, a third of them labelled malignant, one file that is none."""
    folder = tmp_path_factory.mktemp("dicom")
    rows = ["file,label"]
    for number in range(IMAGES):
        ds = mammogram_dataset(
            rows=320, columns=256, laterality="LR"[number % 2], seed=number, pixel_spacing_mm=0.3
        )
        write(ds, folder / f"{number:02d}.dcm")
        rows.append(f"{number:02d}.dcm,{'malignant' if number % 2 == 0 else 'normal'}")
    (folder / "torn.dcm").write_bytes(b"DICM")
    rows.append("torn.dcm,normal")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def recipe(bench: Bench) -> Path:
    """The bench's recipe with FP32 beside the others."""
    path = bench.folder / "proved.toml"
    path.write_text(bench.recipe.read_text().replace('["fp16", "int8"]', '["fp32", "int8"]'))
    path.write_text(path.read_text().replace('precision = "fp16"', 'precision = "fp32"'))
    return path


def build(bench: Bench, recipe: Path, views: Path, out: Path, *more: object) -> list[str]:
    """The command line of a build with proof."""
    words = ["build", bench.onnx, "--recipe", recipe, "--calibration", bench.images, "--images"]
    words += [views, "--labels", views / "labels.csv", "-o", out, *more]
    words += ["--without-benchmark", "--without-explain"]
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def package(bench: Bench, recipe: Path, views: Path) -> Path:
    """Made with a generous margin: random weights on noise tell nothing apart."""
    out = bench.folder / "proved-1.0.0"
    assert main(build(bench, recipe, views, out, "--accept-loss", "0.9")) == MADE
    return out


def verify(
    capsys: pytest.CaptureFixture[str], package: Path, source: Path, views: Path, *more: str
) -> tuple[int, dict[str, Any]]:
    """Exit code and last line."""
    words = ["verify", package, "--source", source, "--images", views]
    words += ["--labels", views / "labels.csv", "--threads", "1", *more]
    code = main([str(word) for word in words])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_ir_gives_what_onnx_runtime_gives_from_the_dicom_file(
    bench: Bench, package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FP32 to 1e-4 on every image; INT8 near; what is no image is counted with its reason."""
    code, line = verify(capsys, package, bench.onnx, views, "--accept-loss", "0.9", "--json")
    assert code == 1
    assert line["verdict"] == "not proved"
    assert "12 positives and 12 others" in " ".join(line["precisions"]["int8"]["because"])
    assert (line["n"], line["not_assessed_by_reason"]) == (IMAGES + 1, {"unreadable": 1})
    assert line["precisions"]["fp32"]["largest_score_difference"] <= 1e-4
    assert 0 < line["precisions"]["int8"]["largest_score_difference"] < 0.05
    assert line["precisions"]["int8"]["auc_difference_ci95"][0] <= 0


def test_the_source_score_is_onnx_runtimes_own(
    bench: Bench, package: Path, views: Path, tmp_path: Path
) -> None:
    """All of the recipe by hand into ONNX Runtime, against what the report's source column says."""
    from converters.evaluation.verification import verify as ask
    from converters.importing.source_reading import onnx_runner
    from converters.labelled.labels import Labels
    from converters.labelled.reading_options import EvaluationOptions
    from converters.labelled.scored_subjects import subjects_of

    manifest = load_package(package, allow_unsigned=True).manifest
    options = EvaluationOptions()
    subjects = subjects_of(manifest, Labels.from_csv(views, views / "labels.csv"), options)
    found = ask(manifest, onnx_runner(bench.onnx), {}, subjects, options)
    case = next(case for case in found.cases if case.paths[0].name == "03.dcm")
    mammogram = read_image(views / "03.dcm", SideNotes())
    whole = prepare(mammogram, Recipe(steps=manifest.preparation.steps)).tensor
    session = onnxruntime.InferenceSession(bench.onnx, providers=["CPUExecutionProvider"])
    (logit,) = session.run(["logit"], {"view": whole})
    import numpy as np

    assert case.scores["source"] == pytest.approx(1 / (1 + np.exp(-logit.item())), abs=1e-5)


def test_a_margin_that_is_missed_fails_by_exit_code(
    bench: Bench, package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """INT8 on noise changes ranks: with no margin at all it is not non-inferior."""
    code, line = verify(capsys, package, bench.onnx, views, "--margin", "0")
    assert code == 1
    assert line["precisions"]["int8"]["non_inferior"] is False
    assert line["precisions"]["fp32"]["flips"] == {"balanced": 0}


def test_another_source_is_refused(
    package: Path, views: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its hash: a comparison with another model would say nothing."""
    other = save_onnx(tmp_path / "other.onnx", seed=9)
    words = ["verify", package, "--source", other, "--images", views]
    assert main([str(w) for w in [*words, "--labels", views / "labels.csv"]]) == 2
    assert "other.onnx: tiny-1.0.0 was not made from it" in capsys.readouterr().err


def test_below_its_margin_nothing_is_proved_and_nothing_advised(
    bench: Bench, recipe: Path, views: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the figure that would have to be accepted."""
    assert main(build(bench, recipe, views, tmp_path / "out", "--margin", "0")) == MADE
    said = capsys.readouterr().out
    assert "not proved  fp32: 12 positives and 12 others were assessed" in said
    assert said.splitlines()[-1] == "verdict: not proved"
    manifest = load_package(tmp_path / "out", allow_unsigned=True).manifest
    assert manifest.proved == ()
    assert "default_precision" not in manifest.advice
    assert manifest.default_precision == "fp32"


def test_the_accepted_loss_and_the_interval_stand_in_the_manifest(package: Path) -> None:
    """Whoever inspects the package sees what was given away."""
    parity = {p.precision: p for p in load_package(package, allow_unsigned=True).manifest.parity}
    assert parity["int8"].accepted_auc_loss == 0.9
    assert parity["int8"].auc_difference_ci95 is not None
    assert parity["int8"].images == IMAGES


def test_card_and_inspect_say_what_was_given_away(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The accepted loss is read by people too, not only by who asks for JSON."""
    assert main(["inspect", str(package)]) == 0
    shown = capsys.readouterr().out
    assert "a loss of up to 0.9 accepted" in shown
    assert "signature  none" in shown
    assert "a loss of up to 0.9 was accepted" in (package / "CARD.md").read_text()


def test_operating_points_say_what_the_labelled_images_gave(
    package: Path, views: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures, with intervals, as `evaluate` finds; in the manifest and in the card."""
    (point,) = load_package(package, allow_unsigned=True).manifest.operating_points
    assert point.measured_on == f"{IMAGES} labelled images ({views.name}), fp32"
    parity = {p.precision: p for p in load_package(package, allow_unsigned=True).manifest.parity}
    assert parity["int8"].points[0].name == point.name
    assert parity["fp32"].points[0].sensitivity == point.sensitivity
    words = ["evaluate", package, "--images", views, "--labels", views / "labels.csv"]
    assert main([str(word) for word in [*words, "--threads", "1", "--json"]]) == 1
    found = json.loads(capsys.readouterr().out)["operating_points"]["balanced"]
    for name in ("sensitivity", "specificity"):
        assert getattr(point, name) == pytest.approx(found[name], abs=1e-3)
        assert getattr(point, f"{name}_ci95") == pytest.approx(found[f"{name}_ci95"], abs=1e-3)
    assert point.measured_on in (package / "CARD.md").read_text()


def test_the_report_stands_alone_and_names_no_file(package: Path) -> None:
    """No link, no script, no file name; plots and the verdict are in it."""
    report = (package / "report.html").read_text()
    assert "http" not in report.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "<script" not in report
    assert ".dcm" not in report
    assert report.count("<svg") == 4
    assert "AUC" in report
    assert "accepted loss 0.9" in report
    # The diagonal of chance belongs to the ROC curve; a histogram has none.
    assert report.count('stroke="#eeeeee"') == 1


@pytest.fixture
def question(bench: Bench, package: Path, views: Path) -> list[object]:
    """The command line but for the labels."""
    return ["verify", package, "--source", bench.onnx, "--images", views, "--labels"]


@pytest.mark.parametrize(
    ("row", "telling"),
    [
        ("absent.dcm,malignant", "file 'absent.dcm' does not exist"),
        ("00.dcm,suspicious", "label 'suspicious' is none of"),
        ("../00.dcm,normal", "does not lie below the folder"),
    ],
)
def test_labels_that_do_not_fit_are_named_by_line(
    question: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    row: str,
    telling: str,
) -> None:
    """File, line and field; exit code 2."""
    table = tmp_path / "labels.csv"
    table.write_text(f"file,label\n{row}\n")
    assert main([str(word) for word in [*question, table]]) == 2
    said = capsys.readouterr().err
    assert "labels.csv, line 2" in said
    assert telling in said


def test_no_positive_label_is_refused_before_anything_is_converted(
    bench: Bench, recipe: Path, views: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There would be no AUC at the end of an hour."""
    images = shutil.copytree(views, tmp_path / "images")
    (images / "labels.csv").write_text("file,label\n00.dcm,normal\n01.dcm,benign\n")
    assert main(build(bench, recipe, images, tmp_path / "out")) == 2
    assert "no image is labelled malignant" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images"]
