"""What is wrong with a source or a recipe is told in one sentence, before anything is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.errors import BenchFaultError
from converters.importing.imported_model import import_model
from converters.importing.recipe import read_recipe
from converters.packaging.assembly import require_faithful
from converters.packaging.golden_sources import phantom_cases
from tests.converters.conftest import RECIPE

if TYPE_CHECKING:
    from pathlib import Path

    from converters.importing.recipe import PackageRecipe

onnx = pytest.importorskip("onnx", reason="extra [convert] is not installed")

SHAPE = (1, 3, 64, 48)
LOGIT = '{ tensor = "logit", score = "suspicion", activation = "sigmoid", suspicion = true }'


def save(
    path: Path,
    *,
    shape: tuple[int, ...] = SHAPE,
    element_type: str = "FLOAT",
    ending: str = "",
    extra: str = "",
    weight: float = 0.5,
    outputs: int = 1,
) -> Path:
    """A 1 x 1 convolution and a mean, with what is asked for at either end."""
    from onnx import TensorProto, helper, numpy_helper

    kind = getattr(TensorProto, element_type)
    kernel = np.full((outputs, 3, 1, 1), weight, np.float16 if kind == TensorProto.FLOAT16 else "f")
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["map"]),
        helper.make_node("ReduceMean", ["map"], ["mean"], axes=[2, 3], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("view", kind, shape)]
    nodes.insert(0, helper.make_node(*_first(kind)))
    last = "mean"
    if extra:
        inputs.append(helper.make_tensor_value_info(extra, TensorProto.FLOAT, [1, 1]))
        nodes.append(helper.make_node("Add", [last, extra], ["sum"]))
        last = "sum"
    nodes.append(helper.make_node(ending or "Identity", [last], ["logit"]))
    out = TensorProto.FLOAT if kind == TensorProto.UINT8 else kind
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info("logit", out, [shape[0], outputs])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def _first(kind: int) -> tuple[str, list[str], list[str]]:
    return ("Cast" if kind == onnx.TensorProto.UINT8 else "Identity"), ["view"], ["x"]


def recipe(folder: Path, *changes: tuple[str, str]) -> PackageRecipe:
    """The bench's, changed."""
    text = RECIPE
    for words, instead in changes:
        assert words in text
        text = text.replace(words, instead)
    path = folder / "changed.toml"
    path.write_text(text)
    return read_recipe(path)


@pytest.mark.parametrize(
    ("source", "telling"),
    [
        ({"extra": "age"}, "input 'age' is not fed: the recipe feeds view"),
        ({"element_type": "FLOAT16"}, "input 'view' takes f16, and a unit gives f32"),
        ({"shape": (2, 3, 64, 48)}, "with a batch of 1 or a dynamic one"),
        ({"shape": (1, 3, 32, 24)}, "is [1, 3, 32, 24], and the recipe gives [1, 3, 64, 48]"),
        ({"shape": (1, 64, 48, 3)}, 'channels come last, layout = "NHWC"'),
        ({"weight": np.nan}, "weights 'kernel': 3 of 3 values are NaN"),
        ({"weight": np.inf}, "weights 'kernel': 3 of 3 values are infinite"),
        ({"ending": "Sigmoid"}, "output 'logit' is a sigmoid in the graph already"),
    ],
)
def test_a_source_that_does_not_fit_is_told_in_one_sentence(
    tmp_path: Path, source: dict[str, object], telling: str
) -> None:
    """With the port or tensor, and what to do."""
    path = tmp_path / "a.onnx"
    if source.get("shape") == (1, 64, 48, 3):
        save_channels_last(path)
    else:
        save(path, **source)  # type: ignore[arg-type] - of `save`
    with pytest.raises(BenchFaultError) as refused:
        import_model(path, recipe(tmp_path))
    (fault,) = refused.value.faults
    assert fault.startswith("a.onnx: ")
    assert telling in fault


def test_a_source_of_bytes_is_told(tmp_path: Path) -> None:
    """A unit's tensors are floating-point numbers."""
    path = save(tmp_path / "a.onnx", element_type="UINT8")
    model = onnx.load(str(path))
    model.graph.node[0].attribute.add(name="to", type=2, i=onnx.TensorProto.FLOAT)
    onnx.save(model, str(path))
    with pytest.raises(BenchFaultError, match="input 'view' takes u8, and a unit gives f32"):
        import_model(path, recipe(tmp_path))


def save_channels_last(path: Path) -> None:
    """A mean over rows and columns."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("ReduceMean", ["view"], ["logit"], axes=[1, 2, 3], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("view", TensorProto.FLOAT, [1, 64, 48, 3])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))


@pytest.mark.parametrize(
    ("instead", "telling"),
    [
        ('index = 1, activation = "softmax"', "there is no index 1"),
        ('activation = "softmax"', "whose softmax is always 1"),
    ],
)
def test_an_output_that_cannot_be_a_score_is_told(
    tmp_path: Path, instead: str, telling: str
) -> None:
    """An element that is not there; a softmax over one logit."""
    changed = recipe(tmp_path, ('activation = "sigmoid"', instead))
    with pytest.raises(BenchFaultError, match=telling):
        import_model(save(tmp_path / "a.onnx"), changed)


def test_a_forgotten_activation_is_told_before_anything_is_calibrated(tmp_path: Path) -> None:
    """Logits of phantoms are no probabilities."""
    changed = recipe(tmp_path, ('activation = "sigmoid", ', ""))
    model = import_model(save(tmp_path / "a.onnx", weight=-9.0), changed)
    with pytest.raises(BenchFaultError, match='does the recipe lack activation = "sigmoid"'):
        require_faithful(model, changed, phantom_cases(changed))


@pytest.mark.parametrize(
    ("words", "instead", "telling"),
    [
        ("shape = [1, 3, 64, 48]", "shape = [1, 3, 48, 64]", "inputs.0.shape: [1, 3, 48, 64], but"),
        ("count = 3", "count = 1", "preparation.4.mean: 3 figures, for 1 channel (line 15)"),
        ('default_precision = "fp16"', 'default_precision = "bf16"', "bf16 is none of"),
        ("height = 64", "heigth = 64", "heigth: Extra inputs are not permitted (line 14)"),
        ('"max_view"', '"mean"', "exam_rule: Input should be"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_told_with_its_line(
    tmp_path: Path, words: str, instead: str, telling: str
) -> None:
    """File, key and line."""
    with pytest.raises(BenchFaultError) as refused:
        recipe(tmp_path, (words, instead))
    told = next(fault for fault in refused.value.faults if telling in fault)
    assert told.startswith("changed.toml: ")
    assert "(line " in told


def test_outputs_of_any_scale_are_taken(tmp_path: Path) -> None:
    """The fold is held to the output's own extent: 1e-4 of a thousand is 0.1."""
    model = import_model(save(tmp_path / "a.onnx", weight=3e4), recipe(tmp_path))
    assert model.largest_fold_difference < 1e-4
