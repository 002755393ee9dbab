"""`mammoedge package`: from an ONNX file to a package that a unit accepts, or nothing at all."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.errors import BenchFaultError
from converters.packaging.package_writer import staged
from models.descriptor_reference import Descriptor
from models.package import load_package
from runtime.cli.main import main
from runtime.inference.engine import open_engine

if TYPE_CHECKING:
    from pathlib import Path

    from models.package import Package
    from tests.converters.conftest import Bench


def order(bench: Bench, out: Path, **replaced: object) -> list[str]:
    """The command line, with some of its options replaced."""
    options = {"--recipe": bench.recipe, "--calibration": bench.images, "-o": out} | {
        f"--{name.replace('_', '-')}": value for name, value in replaced.items()
    }
    words = [str(word) for option in options.items() for word in option]
    return ["package", str(bench.onnx), *words]


@pytest.fixture(scope="module")
def package(bench: Bench) -> Package:
    """The package of the bench, made once."""
    out = bench.folder / "tiny-1.0.0"
    assert main(order(bench, out)) == 0
    return load_package(out, allow_unsigned=True)


def test_a_package_opens_and_proves_itself_in_both_precisions(package: Package) -> None:
    """Its golden cases hold on this machine, through the runtime's preparation."""
    for precision, executed in (("fp16", "f32"), ("int8", "int8")):
        engine = open_engine(package, precision, ("CPU",), None, threads=1)
        assert engine.execution.executed_precision == executed


def test_bf16_is_a_precision_too(bench: Bench, tmp_path: Path) -> None:
    """It is asked for by name; a processor without it executes FP32, within the same tolerance."""
    recipe = tmp_path / "bf16.toml"
    recipe.write_text(bench.recipe.read_text().replace('["fp16", "int8"]', '["fp16", "bf16"]'))
    assert main(order(bench, tmp_path / "out", recipe=recipe)) == 0
    made = load_package(tmp_path / "out", allow_unsigned=True)
    assert made.manifest.precisions["bf16"].inference_precision == "bf16"
    engine = open_engine(made, "bf16", ("CPU",), None, threads=1)
    assert engine.execution.executed_precision in {"bf16", "f32"}
    parity = {p.precision: p.largest_score_difference for p in made.manifest.parity}
    assert parity["bf16"] < 0.03


def test_the_linear_tail_lives_in_the_graph(package: Package) -> None:
    """The manifest says from where, and the port takes a plain image."""
    assert package.manifest.preparation.folded_from == 4
    assert package.manifest.inputs[0].shape == (64, 48)


def test_calibration_images_become_histogram_and_parity(package: Package) -> None:
    """Twelve images, and how far each precision is from FP32 on them."""
    assert package.score_histogram().images == 12
    parity = {p.precision: p for p in package.manifest.parity}
    assert parity["fp16"].largest_score_difference < 1e-3
    assert 0 < parity["int8"].largest_score_difference < 0.05
    assert parity["int8"].images == 12


def test_the_reference_says_what_the_calibration_images_looked_like(package: Package) -> None:
    """For a unit's drift, from its first day; a PNG has no maker, so none is compared."""
    looks = package.score_histogram().descriptors
    assert looks is not None
    assert looks.images == 12
    assert looks.bins[Descriptor.PIXEL_SPACING].labels == ("0.250",)
    assert sum(looks.bins[Descriptor.BRIGHTNESS].counts) == 12
    assert Descriptor.MANUFACTURER not in looks.bins


def test_golden_cases_hold_no_patient(package: Package) -> None:
    """They are phantoms with lesion and without, left and right, small enough to ship."""
    cases = list(package.golden_cases())
    assert [case.name for case in cases] == ["left-clear", "left-lesion", "right-lesion"]
    assert {image.facts.laterality for case in cases for image in case.images} == {"L", "R"}
    assert sum(f.size_bytes for f in package.manifest.files if "golden" in f.path) < 1_000_000


def test_the_card_names_use_licence_and_thresholds(package: Package) -> None:
    """An engineer finds it in the folder."""
    card = (package.folder / "CARD.md").read_text()
    assert "Tests." in card
    assert "Apache-2.0" in card
    assert "| balanced | 0.500 |" in card


def test_a_torn_image_is_listed_and_the_rest_is_used(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of thirteen cannot be decoded."""
    images = shutil.copytree(bench.images, tmp_path / "images")
    (images / "torn.png").write_bytes((images / "00.png").read_bytes()[:100])
    assert main([*order(bench, tmp_path / "out", calibration=images), "--json"]) == 0
    printed = capsys.readouterr()
    assert "not used: torn.png (undecodable)" in printed.err
    summary = json.loads(printed.out.splitlines()[-1])
    assert (summary["used"], summary["not_used"]) == (12, 1)


def test_a_signed_package_is_accepted_by_a_unit_that_trusts_the_key(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keygen prints the public key as unit.toml takes it."""
    assert main(["keygen", str(tmp_path / "key.pem")]) == 0
    public = bytes.fromhex(capsys.readouterr().out.strip())
    assert main(order(bench, tmp_path / "out", sign=tmp_path / "key.pem")) == 0
    assert load_package(tmp_path / "out", trusted_keys=(public,)).signed


@pytest.mark.parametrize(
    ("fault", "telling"),
    [
        ("surprise = 1\n", "bad.toml: surprise: Extra inputs are not permitted"),
        ('name = "twice"\n', "bad.toml: Cannot overwrite a value"),
    ],
)
def test_a_faulty_recipe_is_named_with_its_field(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, telling: str
) -> None:
    """Exit code 2, and no package."""
    recipe = tmp_path / "bad.toml"
    recipe.write_text(fault + bench.recipe.read_text())
    assert main(order(bench, tmp_path / "out", recipe=recipe)) == 2
    assert telling in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_step_is_named(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the recipe's file, its place and its word."""
    recipe = tmp_path / "bad.toml"
    recipe.write_text(bench.recipe.read_text().replace('"monochrome1"', '"sharpen"'))
    assert main(order(bench, tmp_path / "out", recipe=recipe)) == 2
    said = capsys.readouterr().err
    assert "bad.toml: preparation.1" in said
    assert "sharpen" in said


def test_a_calibration_folder_without_one_usable_image_is_refused(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first reasons are told; nothing is written."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"no picture")
    assert main(order(bench, tmp_path / "out", calibration=images)) == 2
    assert "a.png: undecodable" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_a_folder_that_is_no_package_is_never_replaced(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped -o does not cost anybody his files."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years")
    assert main(order(bench, tmp_path / "thesis")) == 2
    assert "is no package" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years"


def test_a_failure_half_way_leaves_the_package_before(tmp_path: Path, package: Package) -> None:
    """The folder changes its content in one step, or not at all."""
    out = shutil.copytree(package.folder, tmp_path / "out")

    def fail_half_way() -> None:
        with staged(out) as folder:
            (folder / "manifest.json").write_text("{}")
            raise BenchFaultError(["the disk is full"])

    with pytest.raises(BenchFaultError):
        fail_half_way()
    assert load_package(out, allow_unsigned=True).sha256 == package.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_inspect_prints_the_manifest(package: Package, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON it is the manifest; as text it says what a field engineer asks."""
    assert main(["inspect", str(package.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny"
    assert main(["inspect", str(package.folder)]) == 0
    shown = capsys.readouterr().out
    assert "step       normalise fixed (in the graph)" in shown
    assert "step       resize spacing_mm\n" in shown


def test_inspect_refuses_what_a_unit_refuses(
    package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the fault."""
    broken = shutil.copytree(package.folder, tmp_path / "broken")
    (broken / "CARD.md").write_text("other")
    assert main(["inspect", str(broken)]) == 2
    assert "CARD.md" in capsys.readouterr().err


def test_manifest_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the fields that a manifest must have."""
    assert main(["manifest-schema"]) == 0
    assert {"name", "scope", "preparation"} <= set(json.loads(capsys.readouterr().out)["required"])


def test_the_source_score_survives_packaging(bench: Bench, package: Package) -> None:
    """ONNX Runtime on the recipe word for word, against the unit's way, on every golden image."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from converters.packaging.preparation_reference import prepare_by_reference
    from runtime.inference.golden_check import golden_input, golden_mammogram

    session = onnxruntime.InferenceSession(bench.onnx, providers=["CPUExecutionProvider"])
    engine = open_engine(package, "fp16", ("CPU",), None, threads=1)
    for case in package.golden_cases():
        (image,) = case.images
        recipe = package.manifest.preparation
        whole = prepare_by_reference(golden_mammogram(image.facts, image.pixels), recipe)
        (logit,) = session.run(["logit"], {"view": whole})
        expected = 1 / (1 + np.exp(-logit.item()))
        tensor = golden_input(package.manifest, image.facts, image.pixels)
        given = engine.infer({"view": tensor}).scores["suspicion"]
        assert given == pytest.approx(expected, abs=1e-3)
