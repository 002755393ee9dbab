"""From an imported model and calibration images to a package that proves itself when opened."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.errors import BenchFaultError
from converters.evaluation.measured_points import measured_points, points_of_default
from converters.evaluation.precision_report import precisions_on
from converters.evaluation.verification import verify
from converters.evaluation.witness import LineUp
from converters.importing.graph_run import compile_on_cpu, score_with
from converters.importing.ir_files import save_ir
from converters.labelled.scored_subject import counted_as
from converters.labelled.scored_subjects import subjects_of
from converters.packaging.card import write_card
from converters.packaging.package_writer import staged, write_package_files
from converters.packaging.preparation_reference import prepare_by_reference
from converters.packaging.report import Reported, report_html
from converters.quantization.int8 import TargetCpu, overflow_fix_for, processor_flags, quantize_int8
from models.golden import GoldenCase, GoldenImage, GoldenRecord, sample_input
from models.manifest import Manifest, Precision, ProofVerdict, Recipe, Source
from models.package import load_package
from runtime.image.outcome import Execution
from runtime.inference.devices import EngineFaultError
from runtime.inference.engine import PackageEngine, scores_of
from runtime.inference.golden_check import golden_input, golden_mammogram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from converters.evaluation.benchmark import MeasuredLatency
    from converters.evaluation.proof import Judgement, Proof
    from converters.evaluation.verification import Verification
    from converters.importing.imported_model import ImportedModel
    from converters.importing.recipe import PackageRecipe
    from models.golden import GoldenFacts
    from models.package import Package
    from runtime.image.descriptors import ImageDescriptors
    from runtime.inference.devices import Graph
    from runtime.pixels.mammogram import Mammogram

Tensors = dict[str, "NDArray[np.generic]"]

INPUT_SAMPLES = 64 * 1024
"""Values of an expected input that a golden case stores at most."""
PATH_TOLERANCE = 1e-3
"""Largest difference of a golden score between the recipe in NumPy and the runtime's way."""
INPUT_TOLERANCE = 2e-3
"""OpenCV's resize rounds differently with other vector units: measured below 1e-3."""


@dataclass(frozen=True, kw_only=True)
class GoldenSource:
    """What a golden case is made from: its images and the tensors they become."""

    name: str
    facts: tuple[GoldenFacts, ...]
    pixels: tuple[NDArray[np.uint16], ...]


@dataclass(frozen=True, kw_only=True)
class PackageRequest:
    """What to package, and how."""

    model: ImportedModel
    recipe: PackageRecipe
    golden: Sequence[GoldenSource]
    calibration: Sequence[Mapping[str, NDArray[np.generic]]]
    """Prepared inputs of the calibration images: for INT8, parity and the score histogram."""
    calibration_label: str
    descriptors: Sequence[ImageDescriptors] = ()
    """What the calibration images looked like, where that is known."""
    target_cpu: TargetCpu = "any"
    signing_key: Path | None = None
    card: str = ""
    proof: Proof | None = None
    """Labelled images; a precision that they refuse is left out; none left, and none is made."""
    latencies: Sequence[MeasuredLatency] = ()
    """Of earlier measurements, for the report."""
    ready: Mapping[str, Path] = field(default_factory=dict)
    """Precision -> IR file that was made earlier from this model."""
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Precision of the recipe that could not be made -> why."""
    faithful: bool = False
    """`require_faithful` has seen the golden images already."""
    tried: tuple[str, ...] = ()
    """Ways by which INT8 was made, the last of them for this package."""
    say: Callable[[str], None] = field(default=lambda _: None)
    progress: Callable[[str, int], Callable[[int], None]] = field(
        default=lambda _task, _total: lambda _done: None
    )
    """Makes a bar for a task of so many images, as `progress_bar` does."""


def package(order: PackageRequest, out: Path) -> Package:
    """Write the package folder `out`, atomically, and load it as a unit would.

    Raises:
        BenchFaultError: a part cannot be made; nothing was written then.
    """
    recipe, model = order.recipe, order.model
    manifest = _manifest(model, recipe)
    with staged(out) as folder, tempfile.TemporaryDirectory() as scratch:
        graphs: dict[str, Graph] = {}
        left_out = dict(order.left_out)
        for name in recipe.precisions:
            if name in left_out:
                continue
            order.say(f"{name}: making the graph")
            if name in order.ready:
                for suffix in (".xml", ".bin"):
                    shutil.copyfile(
                        order.ready[name].with_suffix(suffix), folder / f"{name}{suffix}"
                    )
            else:
                try:
                    save_ir(_graph_for(order, name), folder, name)
                except BenchFaultError as fault:
                    if name != "int8" or len(recipe.precisions) == 1:
                        raise
                    left_out[name] = fault.faults
                    order.say(f"left out: {fault}")
                    continue
            asked = manifest.precisions[name].inference_precision
            graphs[name] = compile_on_cpu(folder / f"{name}.xml", asked)
        manifest = _without(manifest, left_out)
        order.say("fp32: what the others are compared with")
        unchecked = () if order.faithful else order.golden
        exact = _exact_graph(model, unchecked, manifest, Path(scratch))
        proved = _prove(order, manifest, graphs)
        manifest = proved.manifest
        for refused in graphs.keys() - manifest.precisions.keys():
            del graphs[refused]
            for suffix in (".xml", ".bin"):
                (folder / f"{refused}{suffix}").unlink()
        calibrated = precisions_on(
            order.calibration, manifest, graphs, exact, progress=order.progress
        )
        shown = {part.precision: part for part in manifest.parity}
        parity = tuple(shown.get(part.precision, part) for part in calibrated.parity)
        manifest = manifest.model_copy(update={"parity": parity})
        histogram = calibrated.histogram(order.calibration_label, order.descriptors)
        order.say("golden cases")
        golden = [_golden_case(manifest, graphs, source) for source in order.golden]
        write_package_files(
            folder,
            manifest,
            golden=golden,
            histogram=histogram,
            card=order.card or write_card(manifest, histogram),
            report=report_html(
                Reported(
                    manifest=manifest,
                    verification=proved.verification,
                    margin=order.proof.margin if order.proof else None,
                    latencies=order.latencies,
                    example=_example(order),
                )
            ),
            signing_key=order.signing_key,
        )
        model.require_unchanged()
    return load_package(out, allow_unsigned=True)


def _graph_for(order: PackageRequest, name: str) -> Any:
    if name != "int8":
        return order.model.graph
    return quantize_int8(
        order.model.graph,
        order.calibration,
        architecture=order.recipe.architecture,
        overflow_fix=overflow_fix_for(order.target_cpu, processor_flags()),
    )


def require_faithful(
    model: ImportedModel, recipe: PackageRecipe, golden: Sequence[GoldenSource]
) -> None:
    """Nothing, where steps and graph give on the golden images what recipe and source give.

    Raises:
        BenchFaultError: they do not, or a score is none: long before anything is calibrated.
    """
    with tempfile.TemporaryDirectory() as scratch:
        try:
            _exact_graph(model, golden, _manifest(model, recipe), Path(scratch))
        except EngineFaultError as fault:
            raw = any(port.activation == "none" for port in recipe.outputs)
            hint = ': does the recipe lack activation = "sigmoid"?' if raw else ""
            raise BenchFaultError([f"{model.source.name}: {fault}{hint}"]) from fault


def _manifest(model: ImportedModel, recipe: PackageRecipe) -> Manifest:
    shared = model.inputs[0].preparation or Recipe(steps=recipe.preparation)
    inputs = tuple(
        port.model_copy(update={"preparation": None}) if port.preparation == shared else port
        for port in model.inputs
    )
    tolerance = recipe.golden_tolerance
    precisions = {
        name: Precision(
            xml=f"{name}.xml",
            bin=f"{name}.bin",
            inference_precision="bf16" if name == "bf16" else "f32",
            golden_tolerance=(
                {"int8": tolerance.int8, "f32": tolerance.int8, "f16": tolerance.int8}
                if name == "int8"
                else {"f32": tolerance.f32, "f16": tolerance.f16, "bf16": tolerance.bf16}
            ),
        )
        for name in recipe.precisions
    }
    return Manifest(
        name=recipe.name,
        version=recipe.version,
        created_at=datetime.now(UTC).replace(microsecond=0),
        source=Source(
            file=model.source.name,
            sha256=model.source_sha256,
            framework=model.framework,
            licence=recipe.licence,
        ),
        intended_use=recipe.intended_use,
        role=recipe.role,
        scope=recipe.scope,
        accepts=recipe.accepts,
        preparation=shared,
        inputs=inputs,
        outputs=recipe.outputs,
        evidence=recipe.evidence,
        precisions=precisions,
        exam_rule=recipe.exam_rule,
        operating_points=recipe.operating_points,
    )


def _exact_graph(
    model: ImportedModel, golden: Sequence[GoldenSource], manifest: Manifest, scratch: Path
) -> Graph:
    """The unquantised graph at FP32.

    Raises:
        BenchFaultError: runtime steps -> graph is not what the whole recipe, word for word, ->
            source model in its own framework is; seen on the golden images.
    """
    save_ir(model.graph, scratch, "fp32")
    graph = compile_on_cpu(scratch / "fp32.xml", "f32")
    for case in golden:
        ours, theirs = {}, {}
        for facts, pixels in zip(case.facts, case.pixels, strict=True):
            port = next(port for port in manifest.inputs if port.tensor == facts.tensor)
            recipe = manifest.recipe_for(port)
            ours[facts.tensor] = golden_input(manifest, facts, pixels)
            image = golden_mammogram(facts, pixels)
            theirs[facts.tensor] = prepare_by_reference(image, recipe)
        _require_equal(
            case.name,
            score_with(graph, manifest, ours),
            scores_of(manifest, model.run_source(theirs)),
        )
    return graph


def _require_equal(name: str, ours: dict[str, float], theirs: dict[str, float]) -> None:
    apart = max(abs(ours[score] - theirs[score]) for score in theirs)
    if apart > PATH_TOLERANCE:
        raise BenchFaultError(
            [f"{name}: the recipe word for word gives a score that is {apart:.2g} off"]
        )


def _without(manifest: Manifest, left_out: Mapping[str, tuple[str, ...]]) -> Manifest:
    """The manifest without these precisions, and with the reasons."""
    kept = {name: part for name, part in manifest.precisions.items() if name not in left_out}
    return manifest.model_copy(
        update={"precisions": kept, "left_out": {**manifest.left_out, **left_out}}
    )


@dataclass(frozen=True, kw_only=True)
class _Proved:
    """What is left of a manifest after the proof, and the proof."""

    manifest: Manifest
    verification: Verification | None = None


def _prove(order: PackageRequest, manifest: Manifest, graphs: dict[str, Graph]) -> _Proved:
    """Source against every precision on the labelled images; a refused one leaves the manifest.

    Raises:
        BenchFaultError: every precision is refused.
    """
    proof = order.proof
    if proof is None:
        return _Proved(manifest=manifest)
    order.say("verify: the source model against every precision")
    engines = {
        name: PackageEngine(
            manifest,
            graph,
            Execution(
                requested_device="CPU",
                actual_device=graph.device,
                executed_precision=graph.precision,
            ),
        )
        for name, graph in graphs.items()
    }
    verification = verify(
        manifest,
        order.model.run_source,
        engines,
        subjects_of(manifest, proof.labels, proof.options),
        proof.options,
        memory=proof.memory,
        progress=proof.progress,
    )
    if proof.expected:
        line_up = LineUp(
            manifest=manifest,
            run_source=order.model.run_source,
            labels=proof.labels,
            options=proof.options,
        )
        witness = line_up.witness(verification.cases, proof.expected)
        order.say(witness.sentence)
        verification = replace(verification, witness=witness)
    judgements = proof.margin.judgements(verification)
    tried = (f"int8 was tried {', '.join(order.tried)}",) if len(order.tried) > 1 else ()
    refused = [one for one in judgements if one.verdict is ProofVerdict.FAIL]
    faults = dict.fromkeys(f"verify: {told}" for one in refused for told in one.refused)
    if len(refused) == len(judgements):
        raise BenchFaultError(list(faults))
    for fault in faults:
        order.say(fault)
    left = {one.precision: one for one in judgements if one not in refused}
    manifest = _without(
        manifest,
        {
            one.precision: one.refused + (tried if one.precision == "int8" else ())
            for one in refused
        },
    )
    return _Proved(
        manifest=_with_figures(order, manifest, verification, left), verification=verification
    )


def _with_figures(
    order: PackageRequest,
    manifest: Manifest,
    verification: Verification,
    judgements: Mapping[str, Judgement],
) -> Manifest:
    """What the labelled images gave: parity, advice, and points at the precision that will run."""
    assert order.proof is not None  # noqa: S101 - only a proof has a verification
    of = f"{counted_as(manifest.scope)} ({order.proof.labels.name})"
    parity = []
    for agreement in verification.agreements:
        if (judgement := judgements.get(agreement.precision)) is None:
            continue
        points = measured_points(
            manifest.operating_points, verification.cases, precision=agreement.precision, of=of
        )
        parity.append(order.proof.margin.parity(agreement, "CPU", judgement, points))
    manifest = manifest.model_copy(update={"parity": tuple(parity)})
    wanted = order.recipe.default_precision
    if manifest.proved:
        advised = wanted if wanted in manifest.proved else manifest.proved[0]
        advice = {"default_precision": advised, **manifest.advice}
        manifest = manifest.model_copy(update={"advice": advice})
    return manifest.model_copy(update={"operating_points": points_of_default(manifest)})


def _example(order: PackageRequest) -> Mammogram:
    """The view on which a report shows the steps: the first golden image, a phantom."""
    first = order.golden[0]
    return golden_mammogram(first.facts[0], first.pixels[0])


def _golden_case(manifest: Manifest, graphs: dict[str, Graph], source: GoldenSource) -> GoldenCase:
    images, tensors = [], {}
    for facts, pixels in zip(source.facts, source.pixels, strict=True):
        tensor = golden_input(manifest, facts, pixels)
        stride = 1
        while sample_input(tensor, stride).size > INPUT_SAMPLES:
            stride += 1
        stored = facts.model_copy(update={"input_stride": stride})
        sampled = sample_input(tensor, stride)
        images.append(GoldenImage(facts=stored, pixels=pixels, expected_input=sampled))
        tensors[facts.tensor] = tensor
    record = GoldenRecord(
        name=source.name,
        images=tuple(image.facts for image in images),
        input_tolerance=INPUT_TOLERANCE,
        scores={name: score_with(graph, manifest, tensors) for name, graph in graphs.items()},
    )
    return GoldenCase(record=record, images=tuple(images))
