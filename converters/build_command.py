"""`mammoedge build`: from a trained model to a proved package, one command, resumed if stopped."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from converters.calibration import CalibrationSet, read_calibration
from converters.case_memory import CaseMemory
from converters.errors import BenchFaultError
from converters.evaluation import EvaluationOptions
from converters.golden_sources import phantom_cases
from converters.importing import ImportedModel, import_model
from converters.ir_files import save_ir
from converters.packaging import Order, package
from converters.progress import progress_bar
from converters.proof import Margin, Proof
from converters.quantization import overflow_fix_for, processor_flags, quantize_int8
from converters.recipe import read_recipe
from converters.tensor_store import TensorStore
from converters.verify_command import labels_of
from converters.workbench import Workbench, key_of
from models.errors import PackageRefusedError
from runtime.devices import EngineFaultError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from pathlib import Path

    from converters.labels import Labels
    from converters.recipe import PackageRecipe
    from models.package import Package

DONE, USAGE = 0, 2
TOOLS = ("openvino", "nncf", "numpy", "opencv-python-headless", "mammoedge")


@dataclass(kw_only=True)
class Clock:
    """Seconds by stage, for the verdict."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Says that the stage begins and counts its time."""
        print(f"[{len(self.seconds) + 1}] {name}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def run(arguments: Namespace) -> int:
    """Exit code 0 if the package was made and held its margin, 2 if nothing was written."""
    try:
        return _run(arguments)
    except BenchFaultError as fault:
        faults = list(fault.faults)
    except PackageRefusedError as refused:
        faults = [f"{refused.package}: {fault}" for fault in refused.faults]
    except EngineFaultError as fault:
        faults = [f"engine: {fault}"]
    for line in faults:
        print(line, file=sys.stderr)
    print("verdict: fail; no package was written", file=sys.stderr)
    return USAGE


def _run(arguments: Namespace) -> int:
    clock = Clock()
    recipe = read_recipe(arguments.recipe)
    missing = [folder for folder in arguments.calibration if not folder.is_dir()]
    if missing:
        raise BenchFaultError([f"--calibration {folder}: no such folder" for folder in missing])
    labels = _labels(arguments)
    bench = Workbench(arguments.out.parent / f".{arguments.out.name}.build")
    with clock.stage("convert"):
        model = import_model(arguments.source, recipe)
    stages = Stages(arguments=arguments, bench=bench, recipe=recipe, model=model)
    with clock.stage("calibrate"):
        calibration = stages.calibrated()
    ready: dict[str, Path] = {}
    if "int8" in recipe.precisions:
        with clock.stage("quantize"):
            ready["int8"] = stages.quantised(calibration)
    with clock.stage("verify and package"):
        made = package(
            Order(
                model=model,
                recipe=recipe,
                golden=phantom_cases(recipe),
                calibration=calibration.tensors,
                calibration_label=calibration.label,
                target_cpu=arguments.target_cpu,
                signing_key=arguments.sign,
                proof=stages.proof(labels, calibration),
                ready=ready,
                say=_say,
            ),
            arguments.out,
        )
    bench.discard()
    if arguments.json:
        print(json.dumps(_summary(made, calibration, clock)))
    else:
        print("\n".join(_screen(made, calibration, clock)))
    return DONE


def _labels(arguments: Namespace) -> Labels | None:
    """The labelled images, read before anything else is done; None where none were named.

    Raises:
        BenchFaultError: labels without images, or labels that cannot be used.
    """
    if arguments.images is not None:
        return labels_of(arguments)
    if arguments.labels is not None:
        raise BenchFaultError(["--labels: needs --images, the folder that its files lie in"])
    return None


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The stages that are kept, and what they depend on."""

    arguments: Namespace
    bench: Workbench
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
            return {"sets": len(made.tensors), "refused": made.refused, "label": made.label}

        key = key_of(self.key, files, asked.limit, asked.pixel_spacing_mm)
        stage = self.bench.once("calibration", key, make)
        if stage.resumed:
            _say("calibration images were prepared before")
        refused = tuple((name, reason) for name, reason in stage.record["refused"])
        for name, reason in refused:
            _say(f"not used: {name} ({reason})")
        names = tuple(port.tensor for port in self.model.inputs)
        return CalibrationSet(
            tensors=TensorStore.reopened(stage.folder, names, stage.record["sets"]),
            refused=refused,
            label=stage.record["label"],
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
            return {}

        stage = self.bench.once("int8", key_of(calibration.key, fix), make)
        if stage.resumed:
            _say("the INT8 graph was made before")
        return stage.folder / "int8.xml"

    def proof(self, labels: Labels | None, calibration: CalibrationSet) -> Proof | None:
        """What must hold; None where no labelled images were named."""
        if labels is None:
            return None
        asked = self.arguments
        options = EvaluationOptions(regions=asked.regions, pixel_spacing_mm=asked.pixel_spacing_mm)
        key = key_of(calibration.key, asked.target_cpu, options)
        return Proof(
            images=labels,
            options=options,
            margin=Margin(allowed=asked.margin, accepted_loss=asked.accept_loss),
            memory=CaseMemory(self.bench.folder / f"cases-{key[:16]}.jsonl"),
            progress=progress_bar("verify", len(labels)),
        )


def _summary(made: Package, calibration: CalibrationSet, clock: Clock) -> dict[str, Any]:
    return {
        "package": made.manifest.label,
        "sha256": made.sha256,
        "used": len(calibration.tensors),
        "not_used": len(calibration.refused),
        "parity": [
            part.model_dump(mode="json", exclude_none=True) for part in made.manifest.parity
        ],
        "seconds": {name: round(spent, 1) for name, spent in clock.seconds.items()},
        "verdict": "pass",
    }


def _screen(made: Package, calibration: CalibrationSet, clock: Clock) -> list[str]:
    """What an engineer reads at the end, on one screen."""
    manifest = made.manifest
    lines = [
        f"{manifest.label}  {made.folder}",
        f"source      {manifest.source.file} ({manifest.source.framework})",
        f"calibrated  on {len(calibration.tensors)}, {len(calibration.refused)} not usable",
    ]
    for part in manifest.parity:
        lines.append(
            f"{part.precision:11} at most {part.largest_score_difference:.4f} from the source"
            f" on {part.images} images"
        )
        if part.auc_difference is not None and part.auc_difference_ci95 is not None:
            low, high = part.auc_difference_ci95
            lines.append(f"            AUC {part.auc_difference:+.4f} ({low:+.4f} to {high:+.4f})")
    proved = any(part.auc_difference is not None for part in manifest.parity)
    if not proved:
        lines.append("AUC         not proved: no labelled images were given (--images, --labels)")
    accepted = next((p.accepted_auc_loss for p in manifest.parity if p.accepted_auc_loss), None)
    if accepted is not None:
        lines.append(f"accepted    a loss of AUC of up to {accepted:g}: it stands in the manifest")
    lines += [
        f"signed      {'yes' if (made.folder / 'manifest.sig').is_file() else 'no'}",
        "seconds     " + ", ".join(f"{name} {s:.0f}" for name, s in clock.seconds.items()),
        f"report      {made.folder / 'report.html'}",
        "verdict: pass" + ("" if proved else " (parity only)"),
    ]
    return lines


def _say(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)
