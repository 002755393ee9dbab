"""INT8 by NNCF's post-training quantisation, for the processor that will run it."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from converters.errors import BenchFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

TargetCpu = Literal["any", "this", "vnni"]
HEAVY = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"}
VNNI_FLAGS = {"avx512_vnni", "avx_vnni", "asimddp"}


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets of this machine's processor, as Linux lists them; empty if it does not."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return frozenset(flags.split())
    return frozenset()


def overflow_fix_for(target: TargetCpu, flags: frozenset[str]) -> Literal["enable", "disable"]:
    """NNCF's `overflow_fix` for the target processor.

    Without VNNI (SSE, AVX2) two products of 8 bits are added in 16 and saturate; the fix keeps
    weights to 7 bits. `any` plans for the worst, since a package travels.
    """
    if target == "vnni" or (target == "this" and flags & VNNI_FLAGS):
        return "disable"
    return "enable"


def quantize_int8(
    graph: Any,
    samples: Sequence[Mapping[str, NDArray[np.generic]]],
    *,
    architecture: Literal["cnn", "transformer"],
    overflow_fix: Literal["enable", "disable"],
) -> Any:
    """Quantise an openvino.Model; the original is left as it was.

    Args:
        graph: static-shape model, as the importer makes it.
        samples: calibration inputs, each a tensor name -> array, prepared by the runtime.
        architecture: chooses NNCF's preset and scheme.
        overflow_fix: see `overflow_fix_for`.

    Raises:
        BenchFaultError: no samples, or NNCF cannot quantise the graph.
    """
    import nncf

    if not samples:
        raise BenchFaultError(["calibration: not one image could be used"])
    with _told():
        return nncf.quantize(
            graph.clone(),
            nncf.Dataset(samples, dict),
            subset_size=len(samples),
            **quantization_options(graph, architecture),
            advanced_parameters=_advanced(overflow_fix),
        )


def quantize_int8_by_auc(
    graph: Any,
    samples: Sequence[Mapping[str, NDArray[np.generic]]],
    labelled: Sequence[tuple[Mapping[str, NDArray[np.generic]], bool]],
    measure: Callable[[Any, Iterable[Any]], tuple[float, None]],
    *,
    architecture: Literal["cnn", "transformer"],
    overflow_fix: Literal["enable", "disable"],
    max_drop: float,
) -> Any:
    """The same, but layers go back to floating point until `measure` has lost at most `max_drop`.

    Args:
        graph: static-shape model.
        samples: calibration inputs.
        labelled: inputs and whether they are positive.
        measure: of a compiled graph, on some of `labelled`: the higher the better.
        architecture: as for `quantize_int8`.
        overflow_fix: as for `quantize_int8`.
        max_drop: absolute.

    Raises:
        BenchFaultError: NNCF cannot quantise the graph.
    """
    import nncf

    with _told():
        return nncf.quantize_with_accuracy_control(
            graph.clone(),
            nncf.Dataset(samples, dict),
            nncf.Dataset(labelled, lambda item: dict(item[0])),
            measure,
            max_drop=max_drop,
            drop_type=nncf.DropType.ABSOLUTE,
            subset_size=len(samples),
            **quantization_options(graph, architecture),
            advanced_quantization_parameters=_advanced(overflow_fix),
        )


@contextmanager
def _told() -> Iterator[None]:
    """Keeps NNCF off stdout, and turns what it cannot do into a fault of the bench."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (
        RuntimeError,
        ValueError,
        nncf.InternalError,
        nncf.ParameterNotSupportedError,
        nncf.UnsupportedModelError,
        nncf.ValidationError,
    ) as fault:
        told = str(fault).splitlines()[0][:300] if str(fault) else type(fault).__name__
        raise BenchFaultError(
            [f"int8: NNCF cannot quantise this network ({told}): leave int8 out of `precisions`"]
        ) from fault


def quantization_options(graph: Any, architecture: Literal["cnn", "transformer"]) -> dict[str, Any]:
    """NNCF's arguments for the kind of network; for transformers its own scheme."""
    import nncf

    ignored = pooling_head(graph)
    return {
        "preset": nncf.QuantizationPreset.MIXED,
        "fast_bias_correction": True,
        "model_type": nncf.ModelType.TRANSFORMER if architecture == "transformer" else None,
        "ignored_scope": nncf.IgnoredScope(names=ignored, validate=False) if ignored else None,
    }


def _advanced(overflow_fix: Literal["enable", "disable"]) -> Any:
    import nncf
    from nncf.quantization.advanced_parameters import OverflowFix, QuantizationParameters

    return nncf.AdvancedQuantizationParameters(
        overflow_fix=OverflowFix[overflow_fix.upper()],
        # NNCF's default for depthwise convolutions, one scale for each channel, is executed
        # by slower kernels on the CPU; ReLU6 bounds the channels alike anyway.
        activations_quantization_params=QuantizationParameters(per_channel=False),
    )


def pooling_head(graph: Any) -> list[str]:
    """Names of the operations after the last convolution or matrix product.

    They turn a map of logits into a score: cheap, and ruined by 8 bits where a mask puts -30
    beside them. They stay in floating point.
    """
    leads_to_heavy: set[str] = set()
    operations = graph.get_ordered_ops()
    for operation in reversed(operations):
        name = operation.get_friendly_name()
        if operation.get_type_name() in HEAVY or name in leads_to_heavy:
            leads_to_heavy.update(
                source.get_source_output().get_node().get_friendly_name()
                for source in operation.inputs()
            )
    return [
        operation.get_friendly_name()
        for operation in operations
        if operation.get_friendly_name() not in leads_to_heavy
        and operation.get_type_name() not in HEAVY | {"Parameter", "Constant", "Result"}
    ]
