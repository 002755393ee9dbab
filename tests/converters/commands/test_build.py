"""`mammoedge build`: resumed where it stopped, a verdict on one screen, nothing half written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from converters.commands.stage_cache import StageCache
from converters.errors import BenchFaultError
from converters.evaluation.score_cache import Answer, ScoreCache
from converters.importing.imported_model import import_model
from converters.importing.recipe import SHIPPED, read_recipe
from converters.importing.source_files import SourceFiles
from converters.importing.source_kind import SourceKind
from models.package import load_package
from runtime.cli.main import main
from tests.conftest import ROOT, skip_or_fail
from tests.converters.conftest import save_onnx
from tests.support.waiting import CHILD_S

if TYPE_CHECKING:
    from tests.converters.conftest import Bench


MADE = 1
"""Exit code of a build that made a package which is not proved."""


def build(bench: Bench, out: Path, *more: object) -> list[str]:
    """The command line; nothing is measured, which takes the time that measuring takes."""
    words = ["build", bench.onnx, "--recipe", bench.recipe, "--calibration", bench.images]
    return [str(word) for word in [*words, "-o", out, "--without-benchmark", *more]]


def test_one_command_makes_a_package_and_ends_in_a_verdict(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All seven steps: precisions, map, latencies and what was not proved, on one screen."""
    words = [word for word in build(bench, tmp_path / "out") if word != "--without-benchmark"]
    assert main([*words, "--runs", "2", "--target-ms", "100000"]) == MADE
    printed = capsys.readouterr()
    screen = printed.out.splitlines()
    assert len(screen) <= 24
    assert screen[-1] == "verdict: not proved"
    assert "target      100000 ms: met by nothing proved" in screen
    for head in ("fp16", "int8", "evidence", "latency     fp16", "latency     int8", "target"):
        assert any(line.startswith(head) for line in screen), head
    steps = [line for line in printed.err.splitlines() if line.startswith("[")]
    assert [step.split("] ")[1] for step in steps] == [
        "convert",
        "calibrate",
        "quantize",
        "verify",
        "explain",
        "benchmark",
        "package",
    ]
    package = load_package(tmp_path / "out", allow_unsigned=True)
    assert "report.html" in {file.path for file in package.manifest.files}
    assert "<h2>Latency</h2>" in (package.folder / "report.html").read_text()
    assert package.manifest.advice == {}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_one_command_makes_a_signed_zip_with_its_report_beside(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A unit that trusts the key takes it; built again, it is replaced; another file is not."""
    out, key = tmp_path / "tiny-1.0.0.zip", tmp_path / "key.pem"
    assert main(["keygen", str(key)]) == 0
    public = capsys.readouterr().out.split()[-1]
    words = build(bench, out, "--sign", key, "--without-explain")
    assert main(words) == MADE
    screen = capsys.readouterr().out
    assert f"tiny-1.0.0  {out}" in screen
    assert f"report      {tmp_path / 'tiny-1.0.0.report.html'}" in screen
    package = load_package(out, trusted_keys=(bytes.fromhex(public),), store=tmp_path / "store")
    inside = (package.folder / "report.html").read_text()
    assert (tmp_path / "tiny-1.0.0.report.html").read_text() == inside
    assert not list(tmp_path.glob(".*"))
    assert main(words) == MADE
    out.write_bytes(b"mine")
    assert main(words) == 2
    assert "tiny-1.0.0.zip: is there already and is no package" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"


def test_an_interrupted_build_goes_on_where_it_stopped(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signing key was missing; with it, neither calibration nor INT8 is done again."""
    assert main(build(bench, tmp_path / "out", "--sign", tmp_path / "key.pem")) == 2
    assert main(["keygen", str(tmp_path / "key.pem")]) == 0
    capsys.readouterr()
    assert main(build(bench, tmp_path / "out", "--sign", tmp_path / "key.pem")) == MADE
    said = capsys.readouterr().err
    assert "calibration images were prepared before" in said
    assert "the INT8 graph was made before" in said
    assert "the package was made and proved before" in said
    assert "the evidence map was tried before" in said


def test_new_weights_under_the_same_graph_make_everything_anew(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build that stopped was of other external data: nothing of it is used."""
    source = tmp_path / "in" / "model.onnx"
    source.parent.mkdir()
    words = build(bench, tmp_path / "out", "--without-explain", "--sign", tmp_path / "key.pem")
    words[words.index(str(bench.onnx))] = str(source)
    hashes = []
    for seed in (1, 99):
        save_onnx(source, seed=seed, beside="model.onnx.data")
        assert main(words) == 2  # there is no key yet
        hashes.append(SourceFiles.of(source, SourceKind.ONNX).sha256())
    said = capsys.readouterr().err
    assert "was made before" not in said
    assert "prepared before" not in said
    assert main(["keygen", str(tmp_path / "key.pem")]) == 0
    assert main(words) == MADE
    manifest = load_package(tmp_path / "out", allow_unsigned=True).manifest
    assert hashes[0] != hashes[1]
    assert manifest.source.sha256 == hashes[1]
    assert {p.precision: p.largest_score_difference < 0.05 for p in manifest.parity} == {
        "fp16": True,
        "int8": True,
    }


def test_a_source_that_changes_in_the_middle_is_told(bench: Bench, tmp_path: Path) -> None:
    """Its files are looked at again after quantising and after packaging."""
    source = save_onnx(tmp_path / "model.onnx", beside="weights.bin")
    model = import_model(source, read_recipe(bench.recipe))
    model.require_unchanged()
    save_onnx(source, seed=99, beside="weights.bin")
    with pytest.raises(BenchFaultError, match=r"model\.onnx: changed while it was packaged"):
        model.require_unchanged()


def test_a_folder_that_is_no_package_is_refused_before_any_work(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after half an hour of calibration; what lies in it stays."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert main(build(bench, tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert "out: is there already and is no package" in said
    assert "[1]" not in said
    assert [path.name for path in tmp_path.rglob("*.*")] == ["thesis.txt"]


def test_images_without_labels_are_told_what_they_need(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders become labels only where that is asked for."""
    assert main(build(bench, tmp_path / "out", "--images", bench.images)) == 2
    assert "--images: needs --labels CSV or --labels-from-folders" in capsys.readouterr().err


def test_another_recipe_is_not_resumed(bench: Bench, tmp_path: Path) -> None:
    """A stage that was made from something else is made again."""
    work = StageCache(tmp_path / "work")
    made = []

    def make(folder: Path) -> dict[str, object]:
        made.append(folder)
        return {"n": len(made)}

    assert work.once("a", "key", make).record == {"n": 1}
    assert work.once("a", "key", make).resumed
    assert work.once("a", "other", make).record == {"n": 2}
    (tmp_path / "work" / "a" / "done.json").write_text('{"key": "other", "rec')
    assert work.once("a", "other", make).record == {"n": 3}


def test_scores_of_an_interrupted_verification_are_kept(tmp_path: Path) -> None:
    """Line by line; one that was cut off is asked again, and swallows none after it."""
    file = tmp_path / "cases.jsonl"
    ScoreCache(file).remember("one", Answer(scores={"source": 0.5}))
    with file.open("a") as opened:
        opened.write('\n["two", {"sour')
    ScoreCache(file).remember("three", Answer(scores={}, reason="no_breast"))
    again = ScoreCache(file)
    assert len(again) == 2
    assert again.recall("two") is None
    assert again.recall("three") == Answer(scores={}, reason="no_breast")


def test_ten_corrupt_of_300_are_listed_and_290_used(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The build goes on without them."""
    images = tmp_path / "images"
    images.mkdir()
    rows = ["file,laterality,view,pixel_spacing_mm"]
    for number in range(300):
        name = f"{number:03d}.png"
        content = (bench.images / f"{number % 12:02d}.png").read_bytes()
        (images / name).write_bytes(content[:200] if number % 30 == 7 else content)
        rows.append(f"{name},L,CC,0.25")
    (images / "labels.csv").write_text("\n".join(rows) + "\n")
    words = ["build", bench.onnx, "--recipe", bench.recipe, "--calibration", images]
    words += ["-o", tmp_path / "out", "--json", "--without-benchmark", "--without-explain"]
    assert main([str(word) for word in words]) == MADE
    printed = capsys.readouterr()
    summary = json.loads(printed.out.splitlines()[-1])
    assert (summary["used"], summary["not_used"]) == (290, 10)
    assert printed.err.count("not used: ") == 10
    assert "not used: 007.png (undecodable)" in printed.err


def test_two_suspicion_outputs_are_refused_before_anything_is_read(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which one would the flag rest on?"""
    recipe = tmp_path / "two.toml"
    one = '{ tensor = "logit", score = "suspicion", activation = "sigmoid", suspicion = true }'
    assert one in bench.recipe.read_text()
    other = one.replace('score = "suspicion"', 'score = "second"')
    recipe.write_text(bench.recipe.read_text().replace(one, f"{one}, {other}"))
    words = build(bench, tmp_path / "out")
    words[words.index("--recipe") + 1] = str(recipe)
    assert main(words) == 2
    told = "two.toml: outputs: exactly one (or one for each laterality) is the suspicion"
    said = capsys.readouterr().err
    assert told in said
    assert "suspicion, second" in said


def test_a_full_disk_leaves_no_half_package(bench: Bench, tmp_path: Path) -> None:
    """A file system of 512 KiB: a message that names the file, exit code 2, nothing in place."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        skip_or_fail("a small file system needs root and mount")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", small],
        check=False,
        capture_output=True,
        timeout=CHILD_S,
    )
    if mounted.returncode:
        skip_or_fail(f"mount: {mounted.stderr.decode()[:100]}")
    try:
        words = [sys.executable, "-m", "runtime.cli.main", *build(bench, small / "out")]
        ended = subprocess.run(
            words, cwd=ROOT, check=False, capture_output=True, text=True, timeout=CHILD_S
        )
        assert ended.returncode == 2, ended.stderr
        assert "No space left on device" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not (small / "out").exists()
    finally:
        subprocess.run(["umount", small], check=True, timeout=CHILD_S)


def test_a_package_of_another_role_is_made_and_its_kind_is_not_proved(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labelled images are not asked; screen, card and report say so, and no point is judged."""
    recipe = tmp_path / "quality.toml"
    text = bench.recipe.read_text().replace('"tiny"', '"tiny"\nrole = "quality"')
    text = text.replace(", suspicion = true", "").replace('"suspicion"', '"positioning"')
    recipe.write_text(text.partition("[[operating_points]]")[0])
    words = ["build", bench.onnx, "--recipe", recipe, "--calibration", bench.images]
    words += ["--images", bench.images, "--labels", bench.images / "labels.csv"]
    words += ["-o", tmp_path / "out", "--without-benchmark"]
    assert main([str(word) for word in words]) == MADE
    screen = capsys.readouterr().out.splitlines()
    assert screen[-1] == "verdict: not proved"
    told = "no proof yet for packages of the role quality"
    package = load_package(tmp_path / "out", allow_unsigned=True)
    assert any(told in line for line in screen)
    assert told in (package.folder / "CARD.md").read_text()
    report = (package.folder / "report.html").read_text()
    assert told in report
    assert "--expected" not in report
    assert package.manifest.role == "quality"
    assert package.manifest.triage is None
    assert all(part.verdict is None and not part.points for part in package.manifest.parity)
    assert not any("sensitivity" in line for line in screen)


@pytest.mark.parametrize(("name", "role"), [("monai_density", "density"), ("mirai", "risk")])
def test_recipes_of_density_and_risk_flag_nothing(name: str, role: str) -> None:
    """Both ended in `priority` before."""
    recipe = read_recipe(Path(name))
    assert recipe.role == role
    assert not any(output.suspicion for output in recipe.outputs)
    assert recipe.operating_points == ()


def test_a_recipe_that_flags_by_density_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    """With the role that it needs."""
    recipe = tmp_path / "old.toml"
    text = (SHIPPED / "monai_density.toml").read_text().replace('role = "density"\n', "")
    text = text.replace('"density_d",', '"density_d", suspicion = true,')
    recipe.write_text(text + '[[operating_points]]\nname = "balanced"\nthreshold = 0.5\n')
    with pytest.raises(BenchFaultError, match=r'old.toml: role: .*role = "density"'):
        read_recipe(recipe)
