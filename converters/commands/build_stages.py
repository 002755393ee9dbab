"""The stages of a build that are kept on disk, each under a key of everything it depends on."""

from __future__ import annotations

import importlib.metadata
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from converters.commands.convert import quantised_before
from converters.commands.stage_cache import StageCache, key_of
from converters.errors import BenchFaultError
from converters.evaluation.benchmark import (
    HINTS,
    MeasuredLatency,
    Setting,
    has_benchmark_app,
    measure,
    ratio_to_benchmark_app,
)
from converters.evaluation.proof import Margin, Proof
from converters.evaluation.score_cache import ScoreCache
from converters.evaluation.witness import expected_scores
from converters.explanation.explained_package import explain, why_not
from converters.importing.ir_files import save_ir
from converters.labelled.labelled_images import options_of
from converters.packaging.assembly import PackageRequest, package
from converters.packaging.golden_sources import phantom_cases
from converters.progress import progress_bar
from converters.quantization.calibration import CalibrationSet, read_calibration
from converters.quantization.int8 import methods_to_try, processor_flags
from converters.quantization.tensor_store import TensorStore
from models.package import MINIMUM_GOLDEN_CASES, load_package, sha256_of
from runtime.image.descriptors import ImageDescriptors

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from converters.importing.imported_model import ImportedModel
    from converters.importing.recipe import PackageRecipe
    from converters.labelled.labels import Labels
    from converters.quantization.int8 import Int8Method
    from models.package import Package

TOOLS = ("openvino", "nncf", "numpy", "opencv-python-headless", "mammoedge")
DESCRIPTORS = TypeAdapter(tuple[ImageDescriptors, ...])
FOLDER = "package"
"""Of the package inside a stage's folder."""


@dataclass(frozen=True, kw_only=True)
class Int8Graph:
    """What one way to INT8 gave."""

    xml: Path
    refused: tuple[str, ...] = ()
    """Why there is none."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What became of the evidence map."""

    package: Package
    """With the map, or as it was."""
    lines: tuple[str, ...]
    """For the screen."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured here."""

    latencies: tuple[MeasuredLatency, ...]
    ratios: dict[str, float]
    """Precision -> our median over benchmark_app's."""


@dataclass(frozen=True, kw_only=True)
class Stages:
    """One build: what was asked, and where what is done is kept."""

    arguments: Namespace
    bench: StageCache
    recipe: PackageRecipe
    model: ImportedModel

    @property
    def key(self) -> str:
        """Of everything that all stages depend on."""
        tools = [importlib.metadata.version(tool) for tool in TOOLS]
        return key_of(self.model.source_sha256, self.recipe.model_dump_json(), *tools)

    def calibrated(self) -> CalibrationSet:
        """The prepared calibration images."""
        asked = self.arguments
        files = [
            (str(path), path.stat().st_size, path.stat().st_mtime_ns)
            for folder in asked.calibration
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]

        def make(folder: Path) -> dict[str, Any]:
            made = read_calibration(
                asked.calibration,
                self.recipe,
                self.model.inputs,
                limit=asked.limit,
                pixel_spacing_mm=asked.pixel_spacing_mm,
                scratch=folder,
                progress=progress_bar("calibrate", min(asked.limit, len(files))),
            )
            return {
                "sets": len(made.tensors),
                "refused": made.refused,
                "label": made.label,
                "descriptors": DESCRIPTORS.dump_python(made.descriptors, mode="json"),
            }

        key = key_of(self.key, files, asked.limit, asked.pixel_spacing_mm, "described")
        stage = self.bench.once("calibration", key, make)
        if stage.resumed:
            say("calibration images were prepared before")
        refused = tuple((name, reason) for name, reason in stage.record["refused"])
        for name, reason in refused:
            say(f"not used: {name} ({reason})")
        names = tuple(port.tensor for port in self.model.inputs)
        return CalibrationSet(
            tensors=TensorStore.reopened(stage.folder, names, stage.record["sets"]),
            refused=refused,
            label=stage.record["label"],
            descriptors=DESCRIPTORS.validate_python(stage.record["descriptors"]),
            key=key,
        )

    def methods(self) -> tuple[Int8Method, ...]:
        """The ways to INT8, in the order in which they are tried; none where it is not wanted."""
        if "int8" not in self.recipe.precisions:
            return ()
        asked = self.arguments
        methods = methods_to_try(asked.target_cpu, processor_flags(), self.recipe.architecture)
        return methods if asked.int8 is None else (replace(methods[0], name="as `quantize` did"),)

    def quantised(self, calibration: CalibrationSet, method: Int8Method) -> Int8Graph:
        """The INT8 graph by one method, or why there is none."""
        if self.arguments.int8 is not None:
            return Int8Graph(xml=quantised_before(self.arguments.int8, self.model))

        def make(folder: Path) -> dict[str, Any]:
            try:
                graph = method.quantised(self.model.graph, calibration.tensors)
            except BenchFaultError as fault:
                return {"refused": fault.faults}
            save_ir(graph, folder, "int8")
            self.model.require_unchanged()
            return {"refused": ()}

        name = f"int8-{self.methods().index(method) + 1}"
        stage = self.bench.once(name, key_of(calibration.key, method), make)
        if stage.resumed:
            say("the INT8 graph was made before")
        return Int8Graph(xml=stage.folder / "int8.xml", refused=tuple(stage.record["refused"]))

    def mended(
        self, labels: Labels | None, calibration: CalibrationSet, first: Int8Graph | None
    ) -> Package:
        """The package; where labelled images refuse INT8, by the next method, within the budget.

        The first method's graph is there. What holds first is kept; where none does, the package
        of the other precisions.

        Raises:
            BenchFaultError: no precision is left.
        """
        methods = self.methods()
        if first is None:
            return self.packaged(labels, calibration, None, ())
        began, graph = time.monotonic(), first
        for number, method in enumerate(methods, start=1):
            tried = tuple(one.name for one in methods[:number])
            if number > 1:
                say(f"int8 again, {method.name}")
                graph = self.quantised(calibration, method)
            made = self._without_a_fault(labels, calibration, graph, tried)
            spent_s = time.monotonic() - began
            last = number == len(methods) or spent_s > 60 * self.arguments.mend_minutes
            holds = made is not None and "int8" in made.manifest.precisions
            if holds and number > 1:
                say(f"int8 is not refused any more, {method.name}")
            if made is not None and (holds or last):
                return made
            if last or (labels is None and not graph.refused):
                break
        return self.packaged(labels, calibration, graph, tried)

    def _without_a_fault(
        self,
        labels: Labels | None,
        calibration: CalibrationSet,
        graph: Int8Graph,
        tried: tuple[str, ...],
    ) -> Package | None:
        """The package; None where INT8 is all that is wanted, and cannot be had in this way.

        Raises:
            BenchFaultError: of a model that no other INT8 would mend.
        """
        if self.recipe.precisions != ("int8",):
            return self.packaged(labels, calibration, graph, tried)
        try:
            return None if graph.refused else self.packaged(labels, calibration, graph, tried)
        except BenchFaultError as fault:
            for line in fault.lines:
                say(line)
            return None

    def packaged(
        self,
        labels: Labels | None,
        calibration: CalibrationSet,
        graph: Int8Graph | None,
        tried: tuple[str, ...],
    ) -> Package:
        """The package, unsigned, of the precisions that labelled images do not refuse."""
        asked = self.arguments
        ready, left_out = {}, {}
        if graph is not None and graph.refused:
            left_out["int8"] = graph.refused
            if self.recipe.precisions == ("int8",):
                raise BenchFaultError(list(graph.refused))
        elif graph is not None:
            ready["int8"] = graph.xml
        made_of = tried
        if graph is not None and asked.int8 is not None:
            made_of = (*tried, *map(sha256_of, (graph.xml, graph.xml.with_suffix(".bin"))))
        proof = self._proof(labels, calibration, made_of)

        def make(folder: Path) -> dict[str, Any]:
            package(
                PackageRequest(
                    model=self.model,
                    recipe=self.recipe,
                    golden=phantom_cases(self.recipe),
                    calibration=calibration.tensors,
                    calibration_label=calibration.label,
                    descriptors=calibration.descriptors,
                    target_cpu=asked.target_cpu,
                    proof=proof,
                    ready=ready,
                    faithful=True,  # the build looks at them before anything else
                    left_out=left_out,
                    tried=tried,
                    say=say,
                    progress=progress_bar,
                ),
                folder / FOLDER,
            )
            return {}

        looked_at = [
            (str(image.path), image.positive, image.path.stat().st_mtime_ns, image.notes)
            for image in labels or ()
        ]
        margin = (asked.margin, asked.accept_loss)
        expected = None if proof is None else sorted(proof.expected.items())
        asked_for = (asked.target_cpu, looked_at, options_of(asked), margin)
        key = key_of(calibration.key, *asked_for, made_of, expected)
        stage = self.bench.once(f"package-{max(1, len(tried))}", key, make)
        if stage.resumed:
            say("the package was made and proved before")
        return load_package(stage.folder / FOLDER, allow_unsigned=True)

    def explained(self, made: Package) -> Evidence:
        """With an evidence map, where it may have one that occlusion does not contradict."""
        if self.arguments.without_explain:
            return Evidence(package=made, lines=("evidence    not asked for",))
        if made.manifest.evidence is not None:
            return Evidence(package=made, lines=("evidence    the model's own map",))
        refused = why_not(made.manifest)
        if refused:
            return Evidence(package=made, lines=(f"evidence    none: {refused}",))

        def make(folder: Path) -> dict[str, Any]:
            pairs = len(made.manifest.precisions) * MINIMUM_GOLDEN_CASES
            try:
                explanation = explain(
                    made,
                    folder / FOLDER,
                    version=made.manifest.version,
                    progress=progress_bar("occlusion", pairs, counted="golden cases"),
                )
            except BenchFaultError as fault:
                return {"kept": False, "lines": [f"evidence    none: {fault}"]}
            lines = explanation.lines()
            if explanation.weak:
                lines = [*lines[: -len(explanation.weak)], "evidence    not kept: weak"]
            return {"kept": not explanation.weak, "lines": lines}

        stage = self.bench.once("explained", key_of(made.sha256), make)
        if stage.resumed:
            say("the evidence map was tried before")
        kept = made
        if stage.record["kept"]:
            kept = load_package(stage.folder / FOLDER, allow_unsigned=True)
        return Evidence(package=kept, lines=tuple(stage.record["lines"]))

    def benchmarked(self, made: Package) -> Speed:
        """Both hints of every precision, and the ratio to benchmark_app for the latency hint."""
        runs = self.arguments.runs
        settings = [
            Setting(precision=precision, hint=hint)
            for precision in made.manifest.precisions
            for hint in HINTS
        ]

        def make(folder: Path) -> dict[str, Any]:
            del folder
            progress = progress_bar("benchmark", len(settings), counted="settings")
            latencies, ratios = [], {}
            for number, setting in enumerate(settings, start=1):
                latency = measure(made, setting, runs=runs)
                latencies.append(asdict(latency))
                if setting.hint == "LATENCY" and has_benchmark_app():
                    ratio = ratio_to_benchmark_app(made, setting, latency, runs=runs)
                    ratios[setting.precision] = round(ratio, 3)
                progress(number)
            return {"latencies": latencies, "ratios": ratios}

        stage = self.bench.once("benchmark", key_of(made.sha256, runs), make)
        if stage.resumed:
            say("the package was measured before")
        return Speed(
            latencies=tuple(MeasuredLatency(**one) for one in stage.record["latencies"]),
            ratios=stage.record["ratios"],
        )

    def _proof(
        self, labels: Labels | None, calibration: CalibrationSet, tried: tuple[str, ...]
    ) -> Proof | None:
        """What must hold; None where no labelled images were named."""
        if labels is None:
            return None
        asked = self.arguments
        options = options_of(asked)
        key = key_of(calibration.key, asked.target_cpu, options, tried)
        return Proof(
            labels=labels,
            options=options,
            margin=Margin(allowed=asked.margin, accepted_loss=asked.accept_loss),
            expected={} if asked.expected is None else expected_scores(asked.expected),
            memory=ScoreCache(self.bench.folder / f"cases-{key[:16]}.jsonl"),
            progress=progress_bar("verify", len(labels)),
        )


def say(text: str) -> None:
    """A line of progress, indented below its stage."""
    print(f"    {text}", file=sys.stderr, flush=True)
