"""The stages of a build that are kept on disk, each under a key of everything it depends on."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

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
from converters.explanation.explained_package import explain, why_not
from converters.importing.ir_files import save_ir
from converters.labelled.labelled_images import options_of
from converters.packaging.assembly import PackageRequest, package
from converters.packaging.golden_sources import phantom_cases
from converters.progress import progress_bar
from converters.quantization.calibration import CalibrationSet, read_calibration
from converters.quantization.int8 import overflow_fix_for, processor_flags, quantize_int8
from converters.quantization.tensor_store import TensorStore
from models.package import MINIMUM_GOLDEN_CASES, load_package
from runtime.image.descriptors import ImageDescriptors

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from converters.importing.imported_model import ImportedModel
    from converters.importing.recipe import PackageRecipe
    from converters.labelled.labels import Labels
    from models.package import Package

TOOLS = ("openvino", "nncf", "numpy", "opencv-python-headless", "mammoedge")
DESCRIPTORS = TypeAdapter(tuple[ImageDescriptors, ...])
FOLDER = "package"
"""Of the package inside a stage's folder."""


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

    def quantised(self, calibration: CalibrationSet) -> Path:
        """The INT8 graph."""
        fix = overflow_fix_for(self.arguments.target_cpu, processor_flags())

        def make(folder: Path) -> dict[str, Any]:
            graph = quantize_int8(
                self.model.graph,
                calibration.tensors,
                architecture=self.recipe.architecture,
                overflow_fix=fix,
            )
            save_ir(graph, folder, "int8")
            self.model.require_unchanged()
            return {}

        stage = self.bench.once("int8", key_of(calibration.key, fix), make)
        if stage.resumed:
            say("the INT8 graph was made before")
        return stage.folder / "int8.xml"

    def packaged(
        self, labels: Labels | None, calibration: CalibrationSet, ready: dict[str, Path]
    ) -> Package:
        """The package, unsigned, once every precision held its margin."""
        asked = self.arguments
        proof = self._proof(labels, calibration)

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
        key = key_of(calibration.key, asked.target_cpu, looked_at, options_of(asked), margin)
        stage = self.bench.once("package", key, make)
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

    def _proof(self, labels: Labels | None, calibration: CalibrationSet) -> Proof | None:
        """What must hold; None where no labelled images were named."""
        if labels is None:
            return None
        asked = self.arguments
        options = options_of(asked)
        key = key_of(calibration.key, asked.target_cpu, options)
        return Proof(
            labels=labels,
            options=options,
            margin=Margin(allowed=asked.margin, accepted_loss=asked.accept_loss),
            memory=ScoreCache(self.bench.folder / f"cases-{key[:16]}.jsonl"),
            progress=progress_bar("verify", len(labels)),
        )


def say(text: str) -> None:
    """A line of progress, indented below its stage."""
    print(f"    {text}", file=sys.stderr, flush=True)
