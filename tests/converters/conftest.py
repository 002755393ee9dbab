"""A tiny ONNX model, its recipe and a few pictures: a bench in a temporary folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import pytest

from converters.packaging.phantom import Phantom

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = """
name = "tiny"
version = "1.0.0"
licence = "Apache-2.0"
intended_use = "Tests."
scope = "view"
exam_rule = "max_view"
precisions = ["fp16", "int8"]
default_precision = "fp16"
preparation = [
    { step = "window", mode = "voi_lut", to = 1.0 },
    { step = "monochrome1" },
    { step = "crop", mode = "breast_box", margin_mm = 2.0 },
    { step = "resize", mode = "spacing_mm", height = 64, width = 48, spacing_mm = 2.0 },
    { step = "normalise", mode = "fixed", mean = [0.1, 0.2, 0.3], std = [0.5, 0.6, 0.7] },
    { step = "channels", count = 3 },
]
inputs = [{ tensor = "view", shape = [1, 3, 64, 48] }]
outputs = [{ tensor = "logit", score = "suspicion", activation = "sigmoid", suspicion = true }]
[accepts]
minimum_rows = 64
minimum_columns = 64
[[operating_points]]
name = "balanced"
threshold = 0.5
"""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where everything is."""

    folder: Path
    onnx: Path
    recipe: Path
    images: Path


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Twelve phantoms as PNG with labels.csv, one torn PNG, a convolution as ONNX, a recipe."""
    pytest.importorskip("onnx", reason="extra [convert] is not installed")
    pytest.importorskip("nncf", reason="extra [convert] is not installed")
    folder = tmp_path_factory.mktemp("bench")
    images = folder / "views"
    images.mkdir()
    rows = ["file,patient,laterality,view,label,pixel_spacing_mm,note"]
    for number in range(12):
        lesion = number % 3 == 0
        phantom = Phantom(seed=number, lesion=lesion, laterality="LR"[number % 2], bits_stored=16)
        name = f"{number:02d}.png"
        assert cv2.imwrite(str(images / name), phantom.pixels())
        label = "malignant" if lesion else "normal"
        view = ("CC", "MLO")[number % 2]
        rows.append(f"{name},p{number},{phantom.laterality},{view},{label},0.25,")
    (images / "labels.csv").write_text("\n".join(rows) + "\n")
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE)
    return Bench(folder=folder, onnx=save_onnx(folder / "tiny.onnx"), recipe=recipe, images=images)


def save_onnx(path: Path, *, seed: int = 2, beside: str = "") -> Path:
    """A convolution, ReLU, mean and product with fixed random weights, in a file `beside` or in."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(seed)
    kernel = generator.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32)
    head = generator.normal(0, 0.5, (8, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["view", "kernel"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ReduceMean", ["b"], ["c"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["c", "head"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("view", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(head, "head")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if beside:
        path.with_name(beside).unlink(missing_ok=True)  # onnx.save appends
        onnx.save(model, str(path), save_as_external_data=True, location=beside, size_threshold=0)
    else:
        onnx.save(model, str(path))
    return path
