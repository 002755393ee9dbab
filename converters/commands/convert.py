"""`mammoedge convert` and `mammoedge quantize`: the first two steps of a build, by themselves."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from converters.commands.command_guard import DONE, guarded
from converters.errors import BenchFaultError
from converters.importing.imported_model import import_model
from converters.importing.ir_files import save_ir
from converters.importing.layers import executed_layers
from converters.importing.recipe import read_recipe
from converters.labelled.labelled_images import require_folders
from converters.labelled.labels import Labels
from converters.labelled.reading_options import EvaluationOptions
from converters.packaging.assembly import require_faithful
from converters.packaging.golden_sources import phantom_cases
from converters.packaging.package_writer import staged
from converters.progress import progress_bar
from converters.quantization.accuracy_aware import labelled_tensors, quantize_by_auc
from converters.quantization.calibration import read_calibration
from converters.quantization.int8 import overflow_fix_for, processor_flags, quantize_int8
from converters.quantization.tensor_store import TensorStore

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from converters.importing.imported_model import ImportedModel
    from converters.importing.recipe import PackageRecipe

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
        if labels is None:
            graph = quantize_int8(
                model.graph, calibration.tensors, architecture=architecture, overflow_fix=fix
            )
        else:
            options = EvaluationOptions(pixel_spacing_mm=arguments.pixel_spacing_mm)
            graph = quantize_by_auc(
                model,
                recipe,
                calibration.tensors,
                labelled_tensors(model, recipe, labels, options, TensorStore(held)),
                architecture=architecture,
                overflow_fix=fix,
                max_drop=arguments.max_drop,
            )
        save_ir(graph, folder, "int8")
        layers = executed_layers(folder / "int8.xml")
        _describe(
            folder,
            recipe,
            model,
            {"overflow_fix": fix, "preset": architecture, "layers": layers},
        )
    for name, precision in layers.items():
        print(f"{precision:5} {name}")
    counts = Counter(layers.values())
    print(", ".join(f"{count} layers in {precision}" for precision, count in counts.items()))
    return DONE


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
