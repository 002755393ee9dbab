"""`mammoedge inspect` and `mammoedge manifest-schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from converters.commands.command_guard import DONE, guarded
from converters.importing.recipe import PackageRecipe
from converters.packaging.card import proof_word
from models.manifest import Manifest
from models.package import SIGNATURE, load_package

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from models.manifest import Parity
    from models.package import Package


def run(arguments: Namespace) -> int:
    """Exit code 0 for a package whose schema and hashes hold, 2 for one that is refused."""
    return guarded(_inspect, arguments)


def _inspect(arguments: Namespace, scratch: Path) -> int:
    package = load_package(arguments.package, allow_unsigned=True, store=scratch)
    if arguments.json:
        print(package.manifest.model_dump_json(indent=1, exclude_none=True))
    else:
        print("\n".join(_lines(package)))
    return DONE


def run_schema(arguments: Namespace) -> int:
    """Print the JSON Schema of the manifest, or of a recipe."""
    shown = PackageRecipe if arguments.recipe else Manifest
    print(json.dumps(shown.model_json_schema(), indent=1))
    return 0


def _lines(package: Package) -> list[str]:
    manifest = package.manifest
    recipe = manifest.preparation
    signed = (package.folder / SIGNATURE).is_file()
    return [
        f"{manifest.label}  scope {manifest.scope}, exam rule {manifest.exam_rule}",
        f"made       {manifest.created_at:%Y-%m-%d} from {manifest.source.file}",
        f"licence    {manifest.source.licence}",
        f"use        {manifest.intended_use}",
        f"role       {manifest.role}",
        f"sha256     {package.sha256}",
        *(f"input      {port.tensor} <- {port.view} {port.shape}" for port in manifest.inputs),
        *(
            f"step       {step.step} {getattr(step, 'mode', '')}"
            + (" (in the graph)" if step not in recipe.runtime_steps else "")
            for step in recipe.steps
        ),
        *(
            f"output     {port.score} <- {port.tensor}[{port.index}] {port.activation}"
            for port in manifest.outputs
        ),
        *(f"precision  {name}: {files.bin}" for name, files in manifest.precisions.items()),
        *(_parity(parity) for parity in manifest.parity),
        *(f"left out   {told}" for why in manifest.left_out.values() for told in why),
        *(f"threshold  {point.name} {point.threshold:.3f}" for point in manifest.operating_points),
        f"evidence   {'a map' if manifest.evidence is not None else 'none'}",
        *(f"advice     {name} {value}" for name, value in manifest.advice.items()),
        # Whether a key is trusted is the unit's to say: its settings hold the keys.
        f"signature  {'there, by a key not known here' if signed else 'none'}",
    ]


def _parity(parity: Parity) -> str:
    line = (
        f"parity     {parity.precision} on {parity.device}: at most "
        f"{parity.largest_score_difference:.4f} off on {parity.images} images"
    )
    if parity.auc_difference is not None and parity.auc_difference_ci95 is not None:
        low, high = parity.auc_difference_ci95
        line += f", AUC {parity.auc_difference:+.4f} ({low:+.4f} to {high:+.4f})"
    if parity.accepted_auc_loss is not None:
        line += f", a loss of up to {parity.accepted_auc_loss:g} accepted"
    return f"{line}, {proof_word(parity)}"
