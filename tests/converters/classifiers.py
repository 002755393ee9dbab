"""Small classifiers of every kind of head, with fixed random weights, and packages of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.packaging.assembly import package
from tests.support.packages import COLUMNS, ROWS, package_request, recipe_of

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNELS = 16


def classifier(head: Callable[[Any, np.random.Generator], Any], *, seed: int = 0) -> Any:
    """Three convolutions, the last with a shortcut, and `head`; output `score`."""
    import openvino
    from openvino import opset13

    draw = np.random.default_rng(seed)
    image = opset13.parameter([1, 1, ROWS, COLUMNS], np.float32, name="any")
    image.output(0).set_names({"any"})
    node = image
    for given, made in ((1, 8), (8, CHANNELS)):
        node = opset13.relu(_convolution(node, draw, made=made, given=given, size=3, stride=2))
    node = opset13.relu(
        opset13.add(node, _convolution(node, draw, made=CHANNELS, given=CHANNELS, size=3, stride=1))
    )
    score = head(node, draw)
    score.output(0).set_names({"score"})
    return openvino.Model([score], [image], "classifier")


def bright_spot_classifier() -> Any:
    """It answers to what is brighter than tissue: the one network here that knows what it sees."""
    import openvino
    from openvino import opset13

    image = opset13.parameter([1, 1, ROWS, COLUMNS], np.float32, name="any")
    image.output(0).set_names({"any"})
    box = np.full((1, 1, 4, 4), 1 / 16, np.float32)
    mean = opset13.convolution(image, box, [4, 4], [0, 0], [0, 0], [1, 1])
    bright = opset13.relu(opset13.add(mean, np.full((1, 1, 1, 1), -0.4, np.float32)))
    pooled = opset13.reduce_mean(bright, np.array([2, 3]), keep_dims=False)
    weight = np.array([[30.0]], np.float32)
    score = opset13.sigmoid(opset13.matmul(pooled, weight, transpose_a=False, transpose_b=False))
    score.output(0).set_names({"score"})
    return openvino.Model([score], [image], "spots")


def _convolution(
    node: Any, draw: np.random.Generator, *, made: int, given: int, size: int, stride: int
) -> Any:
    from openvino import opset13

    weights = draw.normal(0, 0.3, (made, given, size, size)).astype(np.float32)
    around = [size // 2, size // 2]
    return opset13.convolution(node, weights, [stride, stride], around, around, [1, 1])


def _dense(node: Any, draw: np.random.Generator, given: int, made: int) -> Any:
    from openvino import opset13

    weights = draw.normal(0, 1, (given, made)).astype(np.float32)
    product = opset13.matmul(node, weights, transpose_a=False, transpose_b=False)
    return opset13.add(product, draw.normal(0, 0.1, (1, made)).astype(np.float32))


def linear_head(node: Any, draw: np.random.Generator) -> Any:
    """Mean, product, sigmoid."""
    from openvino import opset13

    mean = opset13.reduce_mean(node, np.array([2, 3]), keep_dims=False)
    return opset13.sigmoid(_dense(mean, draw, CHANNELS, 1))


def excited_linear_head(node: Any, draw: np.random.Generator) -> Any:
    """A squeeze-and-excitation before it, as EfficientNets have."""
    from openvino import opset13

    mean = opset13.reduce_mean(node, np.array([2, 3]), keep_dims=False)
    mean = opset13.reshape(mean, np.array([1, CHANNELS, 1, 1]), special_zero=False)
    gate = opset13.sigmoid(
        _convolution(mean, draw, made=CHANNELS, given=CHANNELS, size=1, stride=1)
    )
    return linear_head(opset13.multiply(node, gate), draw)


def two_class_head(node: Any, draw: np.random.Generator) -> Any:
    """An average pooling, a 1 x 1 convolution, two logits."""
    from openvino import opset13

    size = [ROWS // 4, COLUMNS // 4]
    mean = opset13.avg_pool(node, size, [0, 0], [0, 0], size, exclude_pad=True)
    logits = _convolution(mean, draw, made=2, given=CHANNELS, size=1, stride=1)
    return opset13.reshape(logits, np.array([1, 2]), special_zero=False)


def hidden_layer_head(node: Any, draw: np.random.Generator) -> Any:
    """Mean, two products with ReLU between them."""
    from openvino import opset13

    mean = opset13.reduce_mean(node, np.array([2, 3]), keep_dims=False)
    hidden = opset13.relu(_dense(mean, draw, CHANNELS, CHANNELS))
    return opset13.sigmoid(_dense(hidden, draw, CHANNELS, 1))


def flattened_head(node: Any, draw: np.random.Generator) -> Any:
    """The whole map as one vector, its shape written for a batch of one."""
    from openvino import opset13

    cells = CHANNELS * ROWS // 4 * COLUMNS // 4
    vector = opset13.reshape(node, np.array([1, cells]), special_zero=False)
    hidden = opset13.relu(_dense(vector, draw, cells, 4))
    return opset13.sigmoid(
        opset13.multiply(_dense(hidden, draw, 4, 1), np.array([0.02], np.float32))
    )


def shaped_by_the_image_head(node: Any, draw: np.random.Generator) -> Any:
    """Flattened to the batch size of something that lies before the map."""
    from openvino import opset13

    shape = opset13.shape_of(node.input_value(0), "i64")
    batch = opset13.gather(shape, np.array([0], np.int64), np.array(0, np.int64))
    pattern = opset13.concat([batch, opset13.constant(np.array([-1], np.int64))], 0)
    vector = opset13.reshape(node, pattern, special_zero=False)
    hidden = opset13.relu(_dense(vector, draw, CHANNELS * ROWS // 4 * COLUMNS // 4, 4))
    return opset13.sigmoid(
        opset13.multiply(_dense(hidden, draw, 4, 1), np.array([0.02], np.float32))
    )


def mixing_head(node: Any, draw: np.random.Generator) -> Any:
    """Mean, then a normalisation over the batch: it cannot be asked about cells one by one."""
    from openvino import opset13

    mean = opset13.reduce_mean(node, np.array([2, 3]), keep_dims=False)
    hidden = opset13.relu(_dense(mean, draw, CHANNELS, CHANNELS))
    total = opset13.reduce_sum(hidden, np.array([0, 1]), keep_dims=True)
    share = opset13.divide(hidden, opset13.add(total, np.array([[1.0]], np.float32)))
    return opset13.sigmoid(_dense(share, draw, CHANNELS, 1))


def classifier_package(
    folder: Path,
    head: Callable[[Any, np.random.Generator], Any],
    *,
    graph: Any = None,
    precisions: tuple[str, ...] = ("fp16",),
    signing_key: Path | None = None,
) -> Path:
    """A package of `graph`, else of `classifier(head)`, in `folder`.

    A head of two classes gets a softmax in the manifest.
    """
    recipe = recipe_of(precisions=precisions)
    if head is two_class_head:
        port = recipe.outputs[0].model_copy(update={"activation": "softmax", "index": 1})
        recipe = recipe.model_copy(update={"outputs": (port,)})
    graph = graph or classifier(head)
    order = package_request(recipe, graph, signing_key=signing_key)
    return package(order, folder / "classifier").folder
