"""`mammoedge package`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from converters.commands.command_guard import DONE, guarded
from converters.errors import BenchFaultError
from converters.importing.imported_model import import_model
from converters.importing.recipe import read_recipe
from converters.labelled.labelled_images import require_folders
from converters.packaging.assembly import PackageRequest, package, require_faithful
from converters.packaging.golden_sources import phantom_cases
from converters.progress import progress_bar
from converters.quantization.calibration import read_calibration

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path


def run(arguments: Namespace) -> int:
    """Exit code 0 if the package was written and loads, 2 if nothing was written."""
    return guarded(_run, arguments)


def _run(arguments: Namespace, scratch: Path) -> int:
    recipe = read_recipe(arguments.recipe)
    card = ""
    if arguments.card is not None:
        try:
            card = arguments.card.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise BenchFaultError([f"{arguments.card.name}: {fault}"]) from fault
    require_folders("--calibration", arguments.calibration)
    _say(f"reading {arguments.source.name}")
    model = import_model(arguments.source, recipe)
    golden = phantom_cases(recipe)
    require_faithful(model, recipe, golden)
    _say("preparing calibration images")
    calibration = read_calibration(
        arguments.calibration,
        recipe,
        model.inputs,
        limit=arguments.limit,
        pixel_spacing_mm=arguments.pixel_spacing_mm,
        scratch=scratch,
        progress=progress_bar("calibrate", arguments.limit),
    )
    for name, reason in calibration.refused:
        _say(f"not used: {name} ({reason})")
    _say(f"{len(calibration.tensors)} used, {len(calibration.refused)} not")
    made = package(
        PackageRequest(
            model=model,
            recipe=recipe,
            golden=golden,
            calibration=calibration.tensors,
            calibration_label=calibration.label,
            descriptors=calibration.descriptors,
            target_cpu=arguments.target_cpu,
            signing_key=arguments.sign,
            card=card,
            say=_say,
            progress=progress_bar,
        ),
        arguments.out,
    )
    parity = {p.precision: p.largest_score_difference for p in made.manifest.parity}
    if arguments.json:
        summary = {
            "package": made.manifest.label,
            "sha256": made.sha256,
            "used": len(calibration.tensors),
            "not_used": len(calibration.refused),
            "largest_score_difference": parity,
        }
        print(json.dumps(summary))
    else:
        print(f"{made.manifest.label}: {made.sha256}")
    return DONE


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
