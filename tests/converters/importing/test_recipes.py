"""The recipes of published models: each as its own code prepares, each to a package and back."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator

import converters
from converters.importing.imported_model import import_model
from converters.importing.recipe import PackageRecipe, read_recipe
from converters.packaging.assembly import require_faithful
from converters.packaging.golden_sources import phantom_cases
from converters.packaging.phantom import Phantom
from models.golden import GoldenFacts
from models.package import load_package
from runtime.breast_gate.breast import find_breast
from runtime.cli.main import main
from runtime.inference.engine import open_engine
from runtime.inference.golden_check import golden_input, golden_mammogram
from runtime.preprocessing.preparation import prepare
from tests.conftest import ROOT
from tests.converters import conventions
from tests.converters.conventions import Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.converters.conftest import Bench

onnx = pytest.importorskip("onnx", reason="extra [convert] is not installed")

FOLDER = Path(converters.__file__).parent / "recipes"
CONVENTIONS: dict[tuple[str, str], Callable[[Seen], np.ndarray]] = {
    ("nyu", "cc"): conventions.nyu(2677, 1942),
    ("nyu", "mlo"): conventions.nyu(2974, 1748),
    ("gmic", "view"): conventions.nyu(2944, 1920),
    ("shen", "view"): conventions.shen,
    ("mirai", "cc"): conventions.mirai,
    ("mirai", "mlo"): conventions.mirai,
    ("mammo_clip", "view"): conventions.mammo_clip,
    ("rsna2022_first", "view"): conventions.rsna2022_first,
    ("monai_density", "view"): conventions.monai_density,
    ("petrini_two_view", "cc"): conventions.petrini,
    ("petrini_two_view", "mlo"): conventions.petrini,
}
NAMES = sorted({name for name, _ in CONVENTIONS})


def test_every_shipped_recipe_is_tested_here() -> None:
    """A recipe without a transcription is a claim."""
    assert {path.stem for path in FOLDER.glob("*.toml")} == {*NAMES, "reference"}


def test_the_schema_for_editors_takes_what_ships_and_refuses_a_slip(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every shipped recipe as it is written; not one with a key, a step or a mode that is none."""
    assert main(["manifest-schema", "--recipe"]) == 0
    schema = Draft202012Validator(json.loads(capsys.readouterr().out))
    for path in FOLDER.glob("*.toml"):
        assert not list(schema.iter_errors(tomllib.loads(path.read_text()))), path.name
    shen = (FOLDER / "shen.toml").read_text()
    for right, slip in (("licence", "license"), ('"squeeze"', '"squash"'), ('"scale"', '"sale"')):
        assert list(schema.iter_errors(tomllib.loads(shen.replace(right, slip, 1)))), slip


def test_the_recipe_to_start_from_fits_a_usual_model(bench: Bench, tmp_path: Path) -> None:
    """As docs/bench/recipes.md prints it; only the input of our ONNX file is called otherwise."""
    page = (ROOT / "docs" / "bench" / "recipes.md").read_text()
    (printed,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert printed.count('"input"') == 1
    (tmp_path / "own.toml").write_text(printed.replace('"input"', '"view"'))
    recipe = read_recipe(tmp_path / "own.toml")
    require_faithful(import_model(bench.onnx, recipe), recipe, phantom_cases(recipe))


@pytest.mark.parametrize(
    ("rows", "columns", "laterality", "monochrome1"),
    [(1100, 800, "L", False), (1100, 800, "R", True), (2600, 2000, "R", False)],
)
@pytest.mark.parametrize(("name", "port_name"), sorted(CONVENTIONS))
def test_preparation_is_the_papers_to_1e_5(
    name: str, port_name: str, *, monochrome1: bool, laterality: str, rows: int, columns: int
) -> None:
    """All steps of the recipe by the runtime, against the literal transcription."""
    recipe = read_recipe(FOLDER / f"{name}.toml")
    port = next(port for port in recipe.inputs if port.tensor.endswith(port_name))
    # Of one input for all views the left breast is seen from the side.
    view = "MLO" if port_name == "mlo" or (port_name, laterality) == ("view", "L") else "CC"
    pixels = Phantom(rows=rows, columns=columns, laterality=laterality, seed=3).pixels()
    if monochrome1:
        pixels = (4095 - pixels).astype(np.uint16)
    facts = GoldenFacts(
        slot=port.view,
        tensor=port.tensor,
        laterality=laterality,
        view=view,
        monochrome1=monochrome1,
        window_center=2048.0,
        window_width=3600.0,
        pixel_spacing_mm=(0.1, 0.1),
    )
    breast = find_breast(pixels, monochrome1=monochrome1, bits_stored=12)
    assert breast is not None
    box = breast.box
    seen = Seen(
        stored=pixels.astype(np.float64),
        bits=12,
        monochrome1=monochrome1,
        center=2048.0,
        width=3600.0,
        laterality=laterality,
        view=view,
        box=(box.top, box.left, box.bottom, box.right),
    )
    expected = CONVENTIONS[name, port_name](seen)
    given = prepare(golden_mammogram(facts, pixels), recipe.steps_for(port)).tensor
    assert given.shape == expected.shape == port.shape
    # 1e-5 of the value range: float32 itself has 6e-8 of it.
    span = max(1.0, float(np.abs(expected).max()))
    assert np.abs(given - expected).max() <= 1e-5 * span


def save_network(path: Path, recipe: PackageRecipe) -> Path:
    """Random weights; inputs and outputs as the recipe has them."""
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(4)
    nodes, weights, features = [], [], []
    for port in recipe.inputs:
        x = port.tensor
        channels = port.shape[1]
        if port.shape[-1] == 3:
            channels = 3
            nodes.append(helper.make_node("Transpose", [x], [f"{x}_t"], perm=[0, 3, 1, 2]))
            x = f"{x}_t"
        kernel = draw.normal(0, 0.2, (4, channels, 8, 8)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{port.tensor}_w"))
        nodes += [
            helper.make_node("Conv", [x, f"{port.tensor}_w"], [f"{port.tensor}_a"], strides=[8, 8]),
            helper.make_node("Relu", [f"{port.tensor}_a"], [f"{port.tensor}_b"]),
            helper.make_node(
                "ReduceMean", [f"{port.tensor}_b"], [f"{port.tensor}_m"], axes=[2, 3], keepdims=0
            ),
        ]
        features.append(f"{port.tensor}_m")
    nodes.append(helper.make_node("Concat", features, ["all"], axis=1))
    outputs = []
    for tensor in dict.fromkeys(port.tensor for port in recipe.outputs):
        ports = [port for port in recipe.outputs if port.tensor == tensor]
        size = max(port.index for port in ports) + 1
        head = draw.normal(0, 0.05, (4 * len(recipe.inputs), size)).astype(np.float32)
        weights.append(numpy_helper.from_array(head, f"{tensor}_h"))
        last = tensor if ports[0].activation != "none" else f"{tensor}_z"
        nodes.append(helper.make_node("MatMul", ["all", f"{tensor}_h"], [last]))
        if last != tensor:
            nodes.append(helper.make_node("Sigmoid", [last], [tensor]))
        outputs.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [1, size]))
    if recipe.evidence is not None:
        at = recipe.evidence
        size = numpy_helper.from_array(np.array([1, 4, at.rows, at.columns], np.int64), "size")
        weights.append(size)
        nodes += [
            helper.make_node(
                "Resize", [f"{recipe.inputs[0].tensor}_b", "", "", "size"], ["cells"], mode="linear"
            ),
            helper.make_node("ReduceMean", ["cells"], [at.tensor], axes=[1], keepdims=1),
        ]
        shape = [1, 1, at.rows, at.columns]
        outputs.append(helper.make_tensor_value_info(at.tensor, TensorProto.FLOAT, shape))
    inputs = [
        helper.make_tensor_value_info(port.tensor, TensorProto.FLOAT, list(port.shape))
        for port in recipe.inputs
    ]
    graph = helper.make_graph(nodes, "random", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_its_shape_goes_all_the_way(name: str, tmp_path: Path) -> None:
    """ONNX, recipe and images in; a package that proves itself in FP16 and INT8 out."""
    pytest.importorskip("nncf", reason="extra [convert] is not installed")
    recipe = read_recipe(FOLDER / f"{name}.toml")
    images = tmp_path / "images"
    images.mkdir()
    rows = ["file,laterality,view,pixel_spacing_mm"]
    for number in range(4):
        side = "LR"[number % 2]
        pixels = Phantom(
            rows=900, columns=640, seed=number, laterality=side, bits_stored=16
        ).pixels()
        assert cv2.imwrite(str(images / f"{number}.png"), pixels)
        rows.append(f"{number}.png,{side},{('CC', 'MLO')[number // 2]},0.25")
    (images / "labels.csv").write_text("\n".join(rows) + "\n")
    source = save_network(tmp_path / "random.onnx", recipe)
    words = ["build", source, "--recipe", FOLDER / f"{name}.toml", "--calibration", images]
    words += ["-o", tmp_path / "out", "--without-benchmark", "--without-explain"]
    assert main([str(word) for word in words]) == 1  # made; no labelled image proves it
    package = load_package(tmp_path / "out", allow_unsigned=True)
    for precision in ("fp16", "int8"):
        engine = open_engine(package, precision, ("CPU",), None, threads=1)
        case = next(package.golden_cases())
        tensors = {
            image.facts.tensor: golden_input(package.manifest, image.facts, image.pixels)
            for image in case.images
        }
        prediction = engine.infer(tensors)
        assert set(prediction.scores) == {port.score for port in recipe.outputs}
        assert (prediction.evidence is not None) == (recipe.evidence is not None)
