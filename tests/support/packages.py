"""Small packages for tests: random or steered weights, made in a moment, true to the contract.

`build_package(folder)` writes one and gives its path. What the model answers is steered by
`score`: None for a little random network, a number for a constant, "brightness" for the mean of
the prepared image (each pixel 0-1), so that a test can choose the flag by choosing the pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from converters.errors import BenchFaultError
from converters.importing.imported_model import ImportedModel
from converters.importing.recipe import PackageRecipe
from converters.packaging.assembly import PackageRequest, package
from converters.packaging.golden_sources import phantom_cases
from models.manifest import InputPort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Score = float | Literal["brightness"] | None
CLASSES = {"density_a": 0.1, "density_b": 0.14, "density_c": 0.71, "density_d": 0.05}
"""What a package of another role than triage answers to every image."""

VIEWS = {"view": ("any",), "breast": ("CC", "MLO"), "exam": ("RCC", "LCC", "RMLO", "LMLO")}
ROWS, COLUMNS = 64, 48
"""Side lengths of the model input."""


def build_package(
    folder: Path,
    *,
    scope: Literal["view", "breast", "exam"] = "view",
    score: Score = None,
    precisions: tuple[str, ...] = ("fp32",),
    name: str = "test-package",
    version: str = "1.0.0",
    threshold: float = 0.5,
    evidence: bool = False,
    resize: Literal["squeeze", "fit_pad", "spacing_mm"] = "squeeze",
    accepts: dict[str, object] | None = None,
    signing_key: Path | None = None,
    role: str = "triage",
) -> Path:
    """Write the package to `folder / NAME-VERSION` and return that path.

    In another `role` than triage it answers CLASSES, and has no suspicion.
    """
    recipe = recipe_of(
        scope=scope,
        precisions=precisions,
        name=name,
        version=version,
        threshold=threshold,
        evidence=evidence,
        resize=resize,
        accepts=accepts,
        role=role,
    )
    graph = graph_of(scope, score, evidence=evidence, found=role != "triage")
    order = package_request(recipe, graph, signing_key=signing_key)
    out = folder / f"{name}-{version}"
    if out.exists():
        raise BenchFaultError([f"{out.name}: is there already"])
    return package(order, out).folder


def package_request(recipe: PackageRecipe, graph: Any, **more: Any) -> PackageRequest:
    """That graph, phantoms as golden cases, noise to calibrate with."""
    return PackageRequest(
        model=ImportedModel(
            graph=graph,
            run_source=openvino_runner(graph),
            inputs=recipe.inputs,
            source=Path("test.onnx"),
            source_sha256="0" * 64,
            framework="onnx",
            largest_fold_difference=0.0,
        ),
        recipe=recipe,
        golden=phantom_cases(recipe),
        calibration=calibration_tensors(recipe),
        calibration_label="noise",
        **more,
    )


def recipe_of(
    *,
    scope: str = "view",
    precisions: tuple[str, ...] = ("fp32",),
    name: str = "test-package",
    version: str = "1.0.0",
    threshold: float = 0.5,
    evidence: bool = False,
    resize: str = "squeeze",
    accepts: dict[str, object] | None = None,
    role: str = "triage",
) -> PackageRecipe:
    """A recipe: window, invert, resize to 64 x 48, one channel; nothing that hides brightness."""
    outputs = [{"tensor": "score", "score": "suspicion", "suspicion": True}]
    if role != "triage":
        outputs = [{"tensor": "score", "index": n, "score": s} for n, s in enumerate(CLASSES)]
    step: dict[str, object] = {"step": "resize", "mode": resize, "height": ROWS, "width": COLUMNS}
    if resize == "spacing_mm":
        step |= {"spacing_mm": 2.0, "film_spacing_mm": 0.05}
    shape = (1, 1, ROWS, COLUMNS)
    return PackageRecipe.model_validate(
        {
            "name": name,
            "version": version,
            "licence": "Apache-2.0",
            "intended_use": "Tests.",
            "scope": scope,
            "preparation": [
                {"step": "window", "mode": "voi_lut", "to": 1.0},
                {"step": "monochrome1", "mode": "invert"},
                step,
                {"step": "channels", "count": 1},
            ],
            "inputs": [InputPort(tensor=v.lower(), view=v, shape=shape) for v in VIEWS[scope]],
            "role": role,
            "outputs": outputs,
            "evidence": {"tensor": "evidence", "rows": 4, "columns": 3} if evidence else None,
            "accepts": accepts or {"minimum_rows": 16, "minimum_columns": 16},
            "exam_rule": "direct" if scope == "exam" else "max_view",
            "operating_points": [{"name": "balanced", "threshold": threshold}]
            if role == "triage"
            else [],
            "precisions": list(precisions),
            "default_precision": precisions[0],
        }
    )


def graph_of(scope: str, score: Score, *, evidence: bool = False, found: bool = False) -> object:
    """An openvino.Model whose inputs are named `any` or `cc`, `mlo`, ... and output `score`."""
    import openvino
    from openvino import opset13

    inputs = []
    for view in VIEWS[scope]:
        parameter = opset13.parameter([1, 1, ROWS, COLUMNS], np.float32, name=view.lower())
        parameter.output(0).set_names({view.lower()})
        inputs.append(parameter)
    image = inputs[0] if len(inputs) == 1 else opset13.concat(inputs, 1)
    if found:
        mean = opset13.reduce_mean(image, np.array([1, 2, 3]), keep_dims=False)
        nothing = opset13.multiply(mean, np.array([0.0], np.float32))
        result = opset13.add(nothing, np.array(list(CLASSES.values()), np.float32))
    elif score is None:
        result = _random_network(image, channels=len(inputs))
    else:
        mean = opset13.reduce_mean(image, np.array([1, 2, 3]), keep_dims=False)
        factor, offset = (1.0, 0.0) if score == "brightness" else (0.0, float(score))
        scaled = opset13.multiply(mean, np.array([factor], np.float32))
        result = opset13.add(scaled, np.array([offset], np.float32))
    result.output(0).set_names({"score"})
    results = [result]
    if evidence:
        first = opset13.reduce_mean(image, np.array([1]), keep_dims=True)
        cells = opset13.avg_pool(first, [16, 16], [0, 0], [0, 0], [16, 16], exclude_pad=True)
        cells.output(0).set_names({"evidence"})
        results.append(cells)
    return openvino.Model(results, inputs, f"test-{scope}")


def openvino_runner(graph: object) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """The graph itself as its own source model."""
    import openvino

    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = compiled(dict(tensors))
        return {name: results[port] for port in compiled.outputs for name in port.names}

    return run


def _random_network(image: object, *, channels: int) -> object:
    from openvino import opset13

    generator = np.random.default_rng(11)
    first = generator.normal(0, 0.3, (8, channels, 3, 3)).astype(np.float32)
    second = generator.normal(0, 0.3, (8, 8, 3, 3)).astype(np.float32)
    head = generator.normal(0, 1.0, (8, 1)).astype(np.float32)
    node = image
    for weights in (first, second):
        node = opset13.convolution(node, weights, [2, 2], [1, 1], [1, 1], [1, 1])
        node = opset13.relu(node)
    pooled = opset13.reduce_mean(node, np.array([2, 3]), keep_dims=False)
    return opset13.sigmoid(opset13.matmul(pooled, head, transpose_a=False, transpose_b=False))


def calibration_tensors(recipe: PackageRecipe) -> list[dict[str, np.ndarray]]:
    """Ten sets of noise in the shape of the model inputs."""
    generator = np.random.default_rng(5)
    return [
        {port.tensor: generator.random(port.shape, np.float32) for port in recipe.inputs}
        for _ in range(10)
    ]
