"""`mammoedge convert` and `mammoedge quantize`: the first two steps of a build, by themselves."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from converters.commands.command_guard import DONE, guarded
from converters.commands.verify import lines_of
from converters.errors import BenchFaultError
from converters.evaluation.agreement import SOURCE, Case, agreement_of
from converters.evaluation.proof import Margin
from converters.evaluation.verification import Verification
from converters.importing.imported_model import import_model
from converters.importing.ir_files import save_ir
from converters.importing.layers import executed_layers
from converters.importing.recipe import read_recipe
from converters.importing.source_reading import openvino_runner
from converters.labelled.labelled_images import require_folders
from converters.labelled.labels import Labels
from converters.labelled.reading_options import EvaluationOptions
from converters.labelled.scored_subject import counted_as
from converters.packaging.assembly import require_faithful
from converters.packaging.golden_sources import phantom_cases
from converters.packaging.package_writer import staged
from converters.progress import progress_bar
from converters.quantization.accuracy_aware import labelled_tensors, quantize_by_auc
from converters.quantization.calibration import read_calibration
from converters.quantization.int8 import overflow_fix_for, processor_flags, quantize_int8
from converters.quantization.tensor_store import TensorStore
from models.package_role import PackageRole
from runtime.inference.engine import score_of

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from converters.importing.imported_model import ImportedModel
    from converters.importing.recipe import PackageRecipe
    from converters.quantization.accuracy_aware import LabelledTensors

RECORD = "conversion.json"


def run_convert(arguments: Namespace) -> int:
    """Exit code 0 if the IR was written, 2 if nothing was."""
    return guarded(_convert, arguments)


def run_quantize(arguments: Namespace) -> int:
    """Exit code 0 if the INT8 IR was written, 2 if nothing was."""
    return guarded(_quantize, arguments)


def _convert(arguments: Namespace, scratch: Path) -> int:
    del scratch
    recipe = read_recipe(arguments.recipe)
    model = import_model(arguments.source, recipe)
    require_faithful(model, recipe, phantom_cases(recipe))
    with staged(arguments.out, marked_by=RECORD) as folder:
        for name in arguments.precisions or ["fp16"]:
            save_ir(model.graph, folder, name)
        _describe(folder, recipe, model, {})
    print(f"{arguments.out}: {', '.join(port.tensor for port in model.inputs)} from step", end=" ")
    folded = model.inputs[0].preparation
    print(folded.folded_from if folded and folded.folded_from is not None else "none", "on")
    return DONE


def _quantize(arguments: Namespace, scratch: Path) -> int:
    recipe = read_recipe(arguments.recipe)
    require_folders("--calibration", arguments.calibration)
    labels = None
    if arguments.accuracy_aware:
        if recipe.role is not PackageRole.TRIAGE:
            told = f"--accuracy-aware: holds the AUC of a suspicion; the role is {recipe.role}"
            raise BenchFaultError([told])
        if arguments.labels is None:
            raise BenchFaultError(["--accuracy-aware: needs --labels, and --images they lie in"])
        images = arguments.images or arguments.labels.parent
        labels = Labels.from_csv(images, arguments.labels, arguments.positive)
    model = import_model(arguments.source, recipe)
    require_faithful(model, recipe, phantom_cases(recipe))
    fix = overflow_fix_for(arguments.target_cpu, processor_flags())
    prepared, held = scratch / "calibration", scratch / "labelled"
    prepared.mkdir()
    held.mkdir()
    with staged(arguments.out, marked_by=RECORD) as folder:
        calibration = read_calibration(
            arguments.calibration,
            recipe,
            model.inputs,
            limit=arguments.limit,
            pixel_spacing_mm=arguments.pixel_spacing_mm,
            scratch=prepared,
            progress=progress_bar("calibrate", arguments.limit),
        )
        architecture = arguments.preset or recipe.architecture
        labelled = None
        if labels is None:
            graph = quantize_int8(
                model.graph, calibration.tensors, architecture=architecture, overflow_fix=fix
            )
        else:
            options = EvaluationOptions(pixel_spacing_mm=arguments.pixel_spacing_mm)
            labelled = labelled_tensors(model, recipe, labels, options, TensorStore(held))
            graph = quantize_by_auc(
                model,
                recipe,
                calibration.tensors,
                labelled,
                architecture=architecture,
                overflow_fix=fix,
                max_drop=arguments.max_drop,
            )
        save_ir(graph, folder, "int8")
        layers = executed_layers(folder / "int8.xml")
        reached = [] if labelled is None else _reached(model, recipe, graph, labelled)
        _describe(
            folder,
            recipe,
            model,
            {"overflow_fix": fix, "preset": architecture, "layers": layers},
        )
    for name, precision in layers.items():
        print(f"{precision:5} {name}")
    counts = Counter(layers.values())
    for line in reached:
        print(line)
    print(", ".join(f"{count} layers in {precision}" for precision, count in counts.items()))
    return DONE


def _reached(
    model: ImportedModel, recipe: PackageRecipe, graph: Any, labelled: LabelledTensors
) -> list[str]:
    """AUC and flags of the quantised graph against the model's own, on the labelled images."""
    suspicion = next(port for port in recipe.outputs if port.suspicion)
    runs = {SOURCE: openvino_runner(model.graph), "int8": openvino_runner(graph)}
    cases = [
        Case(
            key=str(number),
            positive=positive,
            scores={name: score_of(suspicion, run(tensors)) for name, run in runs.items()},
        )
        for number, (tensors, positive) in enumerate(labelled)
    ]
    agreement = agreement_of(cases, "int8", recipe.operating_points)
    verification = Verification(cases=tuple(cases), agreements=(agreement,))
    return lines_of(verification, Margin(), counted_as(recipe.scope))


def quantised_before(folder: Path, model: ImportedModel) -> Path:
    """The INT8 graph that `quantize` wrote into `folder` from this model.

    Raises:
        BenchFaultError: there is none, or it is of another model or preparation.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise BenchFaultError([f"--int8 {folder.name}: no {RECORD} of `quantize`"]) from fault
    inputs = [port.model_dump(mode="json", exclude_none=True) for port in model.inputs]
    if record.get("source_sha256") != model.source_sha256 or record.get("inputs") != inputs:
        told = f"made from another source or recipe than {model.source.name}"
        raise BenchFaultError([f"--int8 {folder.name}: {told}"])
    if not (folder / "int8.xml").is_file() or not (folder / "int8.bin").is_file():
        raise BenchFaultError([f"--int8 {folder.name}: no int8.xml and int8.bin"])
    return folder / "int8.xml"


def _describe(
    folder: Path, recipe: PackageRecipe, model: ImportedModel, more: dict[str, object]
) -> None:
    """conversion.json: what the graph was made from and what the runtime has to do before it."""
    content = {
        "name": recipe.name,
        "source": model.source.name,
        "source_sha256": model.source_sha256,
        "framework": model.framework,
        "largest_fold_difference": model.largest_fold_difference,
        "inputs": [port.model_dump(mode="json", exclude_none=True) for port in model.inputs],
        **more,
    }
    (folder / RECORD).write_text(json.dumps(content, indent=1), encoding="utf-8")
