"""ONNX in: static shapes, the linear tail folded and proven equal, everything else refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.errors import BenchFaultError
from converters.importing.folding import linear_tail_start, numpy_tail
from converters.importing.imported_model import import_model
from converters.importing.recipe import PackageRecipe
from models.manifest import Recipe
from tests.support.packages import recipe_of

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx", reason="extra [convert] is not installed")

RESIZE = {"step": "resize", "mode": "squeeze", "height": 8, "width": 6}
FIXED = {
    "step": "normalise",
    "mode": "fixed",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.2, 0.3, 0.4],
}


def save_network(path: Path, *, shape: list[int | str], operation: str = "Relu") -> Path:
    """One operation and a mean over everything but the batch, as ONNX."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node(operation, ["view"], ["inner"], name="the_one"),
        helper.make_node("ReduceMean", ["inner"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("view", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def recipe_with(*tail: dict[str, object], shape: tuple[int, ...]) -> PackageRecipe:
    """A view recipe that ends in `tail`."""
    steps = [{"step": "window", "mode": "voi_lut"}, RESIZE, *tail]
    content = recipe_of().model_dump(mode="json") | {
        "preparation": steps,
        "inputs": [{"tensor": "view", "shape": shape}],
    }
    return PackageRecipe.model_validate(content)


@pytest.mark.parametrize(
    ("tail", "shape"),
    [
        ([{"step": "scale", "mode": "divide", "by": 255}, FIXED], (1, 3, 8, 6)),
        ([{"step": "scale", "mode": "affine", "factor": 2.0, "offset": -1.0}], (1, 3, 8, 6)),
        ([FIXED], (1, 8, 6, 3)),
    ],
)
def test_a_linear_tail_is_folded_and_gives_the_same(
    tmp_path: Path, tail: list[dict[str, object]], shape: tuple[int, ...]
) -> None:
    """What plain NumPy and the source graph give, the folded graph gives from the plain image."""
    import openvino

    layout = "NCHW" if shape[1] == 3 else "NHWC"
    channels = {"step": "channels", "count": 3, "layout": layout}
    recipe = recipe_with(*tail, channels, shape=shape)
    source = save_network(tmp_path / "a.onnx", shape=list(shape))
    model = import_model(source, recipe)
    (port,) = model.inputs
    assert port.shape == (8, 6)
    assert port.preparation is not None
    assert port.preparation.folded_from == 2
    plain = np.random.default_rng(1).random((8, 6), np.float32)
    whole = numpy_tail(plain, Recipe(steps=recipe.preparation).steps[2:])
    assert whole.shape == shape
    expected = np.maximum(whole, 0).mean()
    folded = openvino.Core().compile_model(model.graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert folded({"view": plain})["score"].item() == pytest.approx(expected, abs=1e-5)
    assert model.largest_fold_difference <= 1e-4


@pytest.mark.parametrize(
    ("tail", "start"),
    [
        ([{"step": "channels", "count": 1}], 3),
        ([{"step": "channels", "count": 3}], 2),
        ([{"step": "normalise", "mode": "per_image"}, {"step": "channels", "count": 3}], 3),
        ([{"step": "scale", "mode": "minmax"}, FIXED, {"step": "channels", "count": 3}], 3),
        ([{"step": "scale", "mode": "divide", "by": "image_max"}, {"step": "channels"}], 4),
        (
            [
                {"step": "scale", "mode": "affine", "factor": 2.0, "clip_high": 255.0},
                {"step": "channels", "count": 3},
            ],
            3,
        ),
    ],
)
def test_only_what_is_linear_is_folded(tail: list[dict[str, object]], start: int) -> None:
    """Steps that look at the image, or clip, stay with the runtime."""
    recipe = recipe_with(*tail, shape=(1, 3, 8, 6))
    assert linear_tail_start(recipe.preparation) == start


def test_a_dynamic_source_becomes_static(tmp_path: Path) -> None:
    """An NPU takes static shapes only: the recipe's are set."""
    source = save_network(tmp_path / "a.onnx", shape=["n", 1, "h", "w"])
    model = import_model(source, recipe_with({"step": "channels"}, shape=(1, 1, 8, 6)))
    assert list(model.graph.inputs[0].shape) == [1, 1, 8, 6]


def test_a_recipe_that_does_not_fit_the_source_is_refused(tmp_path: Path) -> None:
    """Tensors that are not there, and shapes that it cannot take, are named."""
    source = save_network(tmp_path / "a.onnx", shape=[1, 3, 8, 6])
    recipe = recipe_with({"step": "channels"}, shape=(1, 1, 8, 6))
    wrong = recipe.model_copy(
        update={"inputs": (recipe.inputs[0].model_copy(update={"tensor": "image"}),)}
    )
    with pytest.raises(BenchFaultError, match="'image' of the recipe is none of view"):
        import_model(source, wrong)


def test_a_pickled_checkpoint_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """It would execute code; the message shows how to export it."""
    source = tmp_path / "model.pth"
    source.write_bytes(b"\x80\x02")
    with pytest.raises(BenchFaultError, match=r"torch\.onnx\.export"):
        import_model(source, recipe_of())


@pytest.mark.parametrize("content", [b"", b"not onnx at all", None])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Empty, something else, or cut off."""
    source = save_network(tmp_path / "a.onnx", shape=[1, 1, 8, 6])
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(BenchFaultError, match=r"a\.onnx"):
        import_model(source, recipe_of())


def test_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    """An ONNX file may name the file that its weights are in; only one beside it is read."""
    from onnx import TensorProto, helper

    source = save_network(tmp_path / "a.onnx", shape=[1, 1, 8, 6])
    model = onnx.load(str(source))
    tensor = helper.make_tensor("weights", TensorProto.FLOAT, [1], [1.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    model.graph.initializer.append(tensor)
    source.write_bytes(model.SerializeToString())
    with pytest.raises(BenchFaultError, match="outside its folder"):
        import_model(source, recipe_of())


def save_nodes(path: Path, nodes: list[object], *, opset: int = 17, output: str = "score") -> Path:
    """A graph of one view as ONNX; a second domain is known by name only."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        nodes,
        "nodes",
        [helper.make_tensor_value_info("view", TensorProto.FLOAT, [1, 1, 8, 6])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.acme", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_every_unknown_operation_is_named_with_its_node(tmp_path: Path) -> None:
    """Not only the first one; of a node without a name its output."""
    from onnx import helper

    nodes = [
        helper.make_node("Frobnicate", ["view"], ["a"], name="the_one"),
        helper.make_node("Relu", ["a"], ["b"], name="known"),
        helper.make_node("Weird", ["b"], ["c"], domain="com.acme"),
        helper.make_node("Frobnicate", ["c"], ["d"], name="the_other"),
        helper.make_node("ReduceMean", ["d"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]
    source = save_nodes(tmp_path / "a.onnx", nodes)
    with pytest.raises(BenchFaultError) as refused:
        import_model(source, recipe_with({"step": "channels"}, shape=(1, 1, 8, 6)))
    told = refused.value.faults
    for node, kind in (("the_one", "Frobnicate"), ("c", "com.acme.Weird"), ("the_other", "Frob")):
        assert any(f"a.onnx: node {node!r}: operation {kind}" in line for line in told)
    assert not any("'known'" in line for line in told)


@pytest.mark.parametrize("opset", [3, 99])
def test_a_wrong_opset_is_refused_with_the_range_that_is_read(tmp_path: Path, opset: int) -> None:
    """OpenVINO would read it all the same, ONNX Runtime would not run it."""
    from onnx import helper

    nodes = [helper.make_node("ReduceMean", ["view"], ["score"], axes=[1, 2, 3], keepdims=0)]
    source = save_nodes(tmp_path / "a.onnx", nodes, opset=opset)
    with pytest.raises(BenchFaultError, match=rf"a\.onnx: opset {opset}, and 7 to \d+ are read"):
        import_model(source, recipe_with({"step": "channels"}, shape=(1, 1, 8, 6)))


def test_a_shape_that_depends_on_the_image_is_refused(tmp_path: Path) -> None:
    """The number of bright pixels is known only at run time: no recipe can fix it."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("NonZero", ["view"], ["places"]),
        helper.make_node("Cast", ["places"], ["score"], to=TensorProto.FLOAT),
    ]
    source = save_nodes(tmp_path / "a.onnx", nodes)
    with pytest.raises(BenchFaultError, match=r"a\.onnx: 'score' stays dynamic"):
        import_model(source, recipe_with({"step": "channels"}, shape=(1, 1, 8, 6)))


def test_a_shape_that_the_network_cannot_take_is_refused(tmp_path: Path) -> None:
    """A recipe of three channels for a kernel of one."""
    source = save_network(tmp_path / "a.onnx", shape=[1, 1, 8, 6])
    model = onnx.load(str(source))
    kernel = onnx.numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "kernel")
    model.graph.initializer.append(kernel)
    model.graph.node[0].CopyFrom(
        onnx.helper.make_node("Conv", ["view", "kernel"], ["inner"], name="the_one")
    )
    onnx.save(model, str(source))
    recipe = recipe_with({"step": "channels", "count": 3}, shape=(1, 3, 8, 6))
    with pytest.raises(BenchFaultError, match=r"a\.onnx: does not take the recipe's shapes"):
        import_model(source, recipe)


def test_patches_that_the_graph_cuts_stay_static_and_exact(tmp_path: Path) -> None:
    """As `recipes/gmic.toml` says: TopK for the place, Gather of constant size for the patch."""
    from onnx import TensorProto, helper, numpy_helper

    figures = {"six": [6], "one": [1], "flat": [-1], "rows": [0, 1, 2, 3], "axis": [0]}
    constants = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in figures.items()]
    nodes = [
        helper.make_node("Reshape", ["view", "flat"], ["cells"]),
        helper.make_node("TopK", ["cells", "one"], ["top", "place"], axis=0),
        helper.make_node("Div", ["place", "six"], ["row"]),
        helper.make_node("Clip", ["row", "", "limit"], ["start"]),
        helper.make_node("Add", ["start", "rows"], ["cut"]),
        helper.make_node("Gather", ["view", "cut"], ["patch"], axis=2),
        helper.make_node("ReduceMean", ["patch"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]
    constants.append(numpy_helper.from_array(np.array(4, np.int64), "limit"))
    graph = helper.make_graph(
        nodes,
        "patches",
        [helper.make_tensor_value_info("view", TensorProto.FLOAT, [1, 1, 8, 6])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, None)],
        constants,
    )
    source = tmp_path / "a.onnx"
    opsets = [helper.make_opsetid("", 17)]
    source.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    model = import_model(source, recipe_with({"step": "channels"}, shape=(1, 1, 8, 6)))
    assert all(
        output.get_partial_shape().is_static
        for operation in model.graph.get_ordered_ops()
        for output in operation.outputs()
    )
    import openvino

    compiled = openvino.Core().compile_model(
        model.graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for row in (0, 3, 7):
        image = np.random.default_rng(row).random((1, 1, 8, 6), np.float32)
        image[0, 0, row, 2] = 2.0
        expected = image[:, :, min(row, 4) : min(row, 4) + 4].mean()
        assert compiled({"view": image})["score"].item() == pytest.approx(expected, abs=1e-6)
        assert model.run_source({"view": image})["score"].item() == pytest.approx(expected)
