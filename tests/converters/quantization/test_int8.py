"""INT8: what is left in floating point, and for which processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.errors import BenchFaultError
from converters.quantization.int8 import (
    methods_to_try,
    overflow_fix_for,
    pooling_head,
    processor_flags,
    quantize_int8,
)
from tests.support.packages import calibration_tensors, graph_of, recipe_of

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("nncf", reason="extra [convert] is not installed")


@pytest.mark.parametrize(
    ("target", "flags", "fix"),
    [
        ("any", {"avx512_vnni"}, "enable"),
        ("vnni", set(), "disable"),
        ("this", {"avx2", "avx_vnni"}, "disable"),
        ("this", {"avx2"}, "enable"),
        ("this", set(), "enable"),
    ],
)
def test_weights_keep_seven_bits_unless_the_target_has_vnni(
    target: str, flags: set[str], fix: str
) -> None:
    """A package for any processor is planned for one whose INT8 sums saturate."""
    assert overflow_fix_for(target, frozenset(flags)) == fix


def test_processor_flags_are_read_from_the_system(tmp_path: Path) -> None:
    """x86 calls them flags; a system without the file gives none."""
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor : 0\nflags\t\t: fpu avx2 avx512_vnni\n")
    assert processor_flags(listing) == {"fpu", "avx2", "avx512_vnni"}
    assert processor_flags(tmp_path / "none") == frozenset()


def test_what_pools_logits_stays_in_floating_point() -> None:
    """Operations after the last convolution or product are ignored, those before are not."""
    graph = graph_of("view", None)
    head = pooling_head(graph)
    kinds = {op.get_friendly_name(): op.get_type_name() for op in graph.get_ops()}
    assert {kinds[name] for name in head} == {"Sigmoid"}


def test_int8_stays_close_and_the_original_is_left_alone() -> None:
    """The quantised graph has FakeQuantize operations, the original has none afterwards."""
    import openvino

    recipe = recipe_of()
    graph = graph_of("view", None)
    samples = calibration_tensors(recipe)
    quantised = quantize_int8(graph, samples, architecture="cnn", overflow_fix="enable")
    assert "FakeQuantize" in {op.get_type_name() for op in quantised.get_ops()}
    assert "FakeQuantize" not in {op.get_type_name() for op in graph.get_ops()}
    core = openvino.Core()
    exact, small = core.compile_model(graph, "CPU"), core.compile_model(quantised, "CPU")
    assert np.abs(exact(samples[0])[0] - small(samples[0])[0]).max() < 0.05


@pytest.mark.parametrize("flags", [frozenset({"avx2"}), frozenset({"avx512_vnni"})])
def test_every_way_to_int8_quantises(flags: frozenset[str]) -> None:
    """As the recipe says first; weights of eight bits only where this machine can show them."""
    methods = methods_to_try("any", flags, "cnn")
    assert methods[0].name == "as the recipe says"
    assert (methods[0].overflow_fix, methods[0].per_channel, methods[0].smooth) == (
        "enable",
        False,
        False,
    )
    unfixed = [method for method in methods if method.overflow_fix == "disable"]
    assert bool(unfixed) == ("avx512_vnni" in flags)
    samples = calibration_tensors(recipe_of())
    for method in methods:
        graph = method.quantised(graph_of("view", None), samples)
        assert "FakeQuantize" in {op.get_type_name() for op in graph.get_ops()}, method.name


def test_int8_without_one_calibration_image_is_refused() -> None:
    """There is nothing to learn the ranges from."""
    with pytest.raises(BenchFaultError, match="calibration"):
        quantize_int8(graph_of("view", None), [], architecture="cnn", overflow_fix="enable")


def test_what_nncf_cannot_do_is_told() -> None:
    """Two classes that share one bias: its bias correction has no place for the second."""
    import openvino
    from openvino import opset13

    draw = np.random.default_rng(0)
    image = opset13.parameter([1, 1, 64, 48], np.float32, name="any")
    image.output(0).set_names({"any"})
    weights = draw.normal(0, 0.3, (8, 1, 3, 3)).astype(np.float32)
    node = opset13.relu(opset13.convolution(image, weights, [2, 2], [1, 1], [1, 1], [1, 1]))
    mean = opset13.reduce_mean(node, np.array([2, 3]), keep_dims=False)
    classes = draw.normal(0, 1, (8, 2)).astype(np.float32)
    product = opset13.matmul(mean, classes, transpose_a=False, transpose_b=False)
    score = opset13.add(product, np.array([0.1], np.float32))
    graph = openvino.Model([score], [image], "shared-bias")
    samples = calibration_tensors(recipe_of())
    with pytest.raises(BenchFaultError, match="int8: NNCF cannot quantise this network"):
        quantize_int8(graph, samples, architecture="cnn", overflow_fix="enable")
