"""Golden cases at start: does this device, here and now, give what it gave at the bench?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.errors import PackageRefusedError
from models.golden import sample_input
from runtime.image.header import Laterality, View
from runtime.pixels.bare_image import BareImage
from runtime.pixels.voi_lut import VoiWindow, WindowFunction
from runtime.preprocessing.preparation import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from models.golden import GoldenCase, GoldenFacts
    from models.manifest import Manifest, Precision
    from models.package import Package
    from runtime.pixels.mammogram import Mammogram


@dataclass(frozen=True, kw_only=True)
class PreparedCase:
    """A golden case with its model inputs made by this machine's own preparation."""

    name: str
    tensors: dict[str, NDArray[np.generic]]
    scores: dict[str, float]


def golden_mammogram(facts: GoldenFacts, pixels: NDArray[np.uint16]) -> Mammogram:
    """An image of a case as the preparation takes it."""
    window = None
    if facts.window_center is not None and facts.window_width is not None:
        window = VoiWindow(
            center=facts.window_center,
            width=facts.window_width,
            function=WindowFunction(facts.window_function),
        )
    return BareImage(
        pixels=pixels,
        bits_stored=facts.bits_stored,
        laterality=Laterality(facts.laterality),
        view=View(facts.view),
        pixel_spacing_mm=facts.pixel_spacing_mm,
        monochrome1=facts.monochrome1,
        film=facts.film,
        window=window,
    ).mammogram()


def golden_input(
    manifest: Manifest, facts: GoldenFacts, pixels: NDArray[np.uint16]
) -> NDArray[np.generic]:
    """The model input that an image of a case becomes, by the runtime's own preparation.

    Raises:
        ValueError: the manifest has no such input, or its recipe cannot be executed.
    """
    ports = {port.tensor: port for port in manifest.inputs}
    if facts.tensor not in ports:
        raise ValueError(f"the manifest has no input {facts.tensor!r}")
    port = ports[facts.tensor]
    return prepare(golden_mammogram(facts, pixels), manifest.recipe_for(port)).tensor


def prepared_cases(package: Package, precision: str) -> tuple[PreparedCase, ...]:
    """The package's golden cases for `precision`, prepared once for every device to be tried.

    Raises:
        PackageRefusedError: a case cannot be read, or this machine prepares it differently.
    """
    return tuple(_prepared(package, case, precision) for case in package.golden_cases())


def _prepared(package: Package, case: GoldenCase, precision: str) -> PreparedCase:
    tensors = {}
    for image in case.images:
        try:
            tensor = golden_input(package.manifest, image.facts, image.pixels)
            given = sample_input(tensor, image.facts.input_stride)
            doubt = _input_doubt(given, image.expected_input, case.record.input_tolerance)
        except ValueError as fault:
            doubt = str(fault)
        if doubt:
            told = f"golden case {case.name}, input {image.facts.tensor}: {doubt}"
            raise PackageRefusedError(package.manifest.label, [told])
        tensors[image.facts.tensor] = tensor
    scores = case.record.scores.get(precision, {})
    return PreparedCase(name=case.name, tensors=tensors, scores=scores)


def _input_doubt(
    given: NDArray[np.generic], expected: NDArray[np.generic], tolerance: float
) -> str:
    if given.shape != expected.shape:
        return f"prepared to {given.shape}, expected {expected.shape}"
    apart = float(np.abs(given.astype(np.float64) - expected.astype(np.float64)).max())
    # Written so that a NaN is a doubt as well.
    return "" if apart <= tolerance else f"prepared {apart:.2g} off, at most {tolerance:.2g}"


def doubt_about(
    cases: tuple[PreparedCase, ...],
    precision: Precision,
    executed: str,
    score: Callable[[Mapping[str, NDArray[np.generic]]], dict[str, float]],
) -> str:
    """Why a compiled graph must not be used, or "" if it gives every golden score.

    Args:
        cases: of the package.
        precision: says how far a score may be off for the precision that executes.
        executed: the precision that the graph executes in: f32, f16, bf16, int8.
        score: runs the graph.
    """
    allowed = {str(name): value for name, value in precision.golden_tolerance.items()}
    if executed not in allowed:
        return f"executes {executed}, the package was proved for {', '.join(allowed)} only"
    for case in cases:
        if not case.scores:
            return f"golden case {case.name} has no scores for this precision"
        given = score(case.tensors)
        for name, expected in case.scores.items():
            if name not in given or abs(given[name] - expected) > allowed[executed]:
                return (
                    f"golden case {case.name}: {name} is {given.get(name, float('nan')):.4f}, "
                    f"expected {expected:.4f} within {allowed[executed]}"
                )
    return ""
