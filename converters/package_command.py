"""`mammoedge package`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from converters.calibration import read_calibration
from converters.errors import BenchFaultError
from converters.golden_sources import phantom_cases
from converters.importing import import_model
from converters.packaging import Order, package
from converters.recipe import read_recipe
from models.errors import PackageRefusedError

if TYPE_CHECKING:
    from argparse import Namespace

DONE, USAGE = 0, 2


def run(arguments: Namespace) -> int:
    """Exit code 0 if the package was written and loads, 2 if nothing was written."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return _run(arguments, Path(scratch))
    except BenchFaultError as fault:
        faults = list(fault.faults)
    except PackageRefusedError as refused:
        faults = [f"{refused.package}: {fault}" for fault in refused.faults]
    for line in faults:
        print(line, file=sys.stderr)
    return USAGE


def _run(arguments: Namespace, scratch: Path) -> int:
    recipe = read_recipe(arguments.recipe)
    card = ""
    if arguments.card is not None:
        try:
            card = arguments.card.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise BenchFaultError([f"{arguments.card.name}: {fault}"]) from fault
    missing = [folder for folder in arguments.calibration if not folder.is_dir()]
    if missing:
        raise BenchFaultError([f"--calibration {folder}: no such folder" for folder in missing])
    _say(f"reading {arguments.source.name}")
    model = import_model(arguments.source, recipe)
    _say("preparing calibration images")
    calibration = read_calibration(
        arguments.calibration,
        recipe,
        model.inputs,
        limit=arguments.limit,
        pixel_spacing_mm=arguments.pixel_spacing_mm,
        scratch=scratch,
    )
    for name, reason in calibration.refused:
        _say(f"not used: {name} ({reason})")
    _say(f"{len(calibration.tensors)} used, {len(calibration.refused)} not")
    made = package(
        Order(
            model=model,
            recipe=recipe,
            golden=phantom_cases(recipe),
            calibration=calibration.tensors,
            calibration_label=calibration.label,
            target_cpu=arguments.target_cpu,
            signing_key=arguments.sign,
            card=card,
            say=_say,
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
