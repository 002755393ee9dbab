"""`mammoedge convert` and `mammoedge quantize`: the first two steps of a build, by themselves."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.accuracy_aware import labelled_tensors, quantize_by_auc
from converters.calibration import read_calibration
from converters.errors import BenchFaultError
from converters.evaluation import EvaluationOptions
from converters.importing import import_model
from converters.ir_files import save_ir
from converters.labels import Labels
from converters.layers import executed_layers
from converters.package_writer import staged
from converters.progress import progress_bar
from converters.quantization import overflow_fix_for, processor_flags, quantize_int8
from converters.recipe import read_recipe
from converters.tensor_store import TensorStore

if TYPE_CHECKING:
    from argparse import Namespace

    from converters.importing import ImportedModel
    from converters.recipe import PackageRecipe

DONE, USAGE = 0, 2
RECORD = "conversion.json"


def run_convert(arguments: Namespace) -> int:
    """Exit code 0 if the IR was written, 2 if nothing was."""
    return _guarded(_convert, arguments)


def run_quantize(arguments: Namespace) -> int:
    """Exit code 0 if the INT8 IR was written, 2 if nothing was."""
    return _guarded(_quantize, arguments)


def _guarded(step: Any, arguments: Namespace) -> int:
    try:
        step(arguments)
    except BenchFaultError as fault:
        for line in fault.faults:
            print(line, file=sys.stderr)
        return USAGE
    return DONE


def _convert(arguments: Namespace) -> None:
    recipe = read_recipe(arguments.recipe)
    model = import_model(arguments.source, recipe)
    with staged(arguments.out, marked_by=RECORD) as folder:
        for name in arguments.precisions or ["fp16"]:
            save_ir(model.graph, folder, name)
        _describe(folder, recipe, model, {})
    print(f"{arguments.out}: {', '.join(port.tensor for port in model.inputs)} from step", end=" ")
    folded = model.inputs[0].preparation
    print(folded.folded_from if folded and folded.folded_from is not None else "none", "on")


def _quantize(arguments: Namespace) -> None:
    recipe = read_recipe(arguments.recipe)
    missing = [folder for folder in arguments.calibration if not folder.is_dir()]
    if missing:
        raise BenchFaultError([f"--calibration {folder}: no such folder" for folder in missing])
    labels = None
    if arguments.accuracy_aware:
        if arguments.labels is None:
            raise BenchFaultError(["--accuracy-aware: needs --labels, and --images they lie in"])
        labels = Labels.from_csv(arguments.images or arguments.labels.parent, arguments.labels)
    model = import_model(arguments.source, recipe)
    fix = overflow_fix_for(arguments.target_cpu, processor_flags())
    with (
        tempfile.TemporaryDirectory() as scratch,
        staged(arguments.out, marked_by=RECORD) as folder,
    ):
        calibration = read_calibration(
            arguments.calibration,
            recipe,
            model.inputs,
            limit=arguments.limit,
            pixel_spacing_mm=arguments.pixel_spacing_mm,
            scratch=Path(scratch),
            progress=progress_bar("calibrate", arguments.limit),
        )
        architecture = arguments.preset or recipe.architecture
        if labels is None:
            graph = quantize_int8(
                model.graph, calibration.tensors, architecture=architecture, overflow_fix=fix
            )
        else:
            options = EvaluationOptions(pixel_spacing_mm=arguments.pixel_spacing_mm)
            held = Path(scratch) / "labelled"
            held.mkdir()
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
