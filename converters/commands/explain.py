"""`mammoedge explain`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from converters.commands.command_guard import DONE, FAIL, guarded
from converters.explanation.explained_package import AGREEMENT_BOUND, explain
from converters.progress import progress_bar
from models.package import MINIMUM_GOLDEN_CASES, SIGNATURE, load_package

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path


def run(arguments: Namespace) -> int:
    """Exit code 0; 1 if the map is weak (the package is written all the same); 2 if none was."""
    return guarded(_run, arguments)


def _run(arguments: Namespace, scratch: Path) -> int:
    package = load_package(arguments.package, allow_unsigned=True, store=scratch)
    was_signed = (package.folder / SIGNATURE).is_file()
    pairs = len(package.manifest.precisions) * max(
        MINIMUM_GOLDEN_CASES, sum(1 for _ in package.golden_cases())
    )
    explanation = explain(
        package,
        arguments.out,
        version=arguments.version or explained_version(package.manifest.version),
        signing_key=arguments.sign,
        threads=arguments.threads,
        progress=progress_bar("occlusion", pairs),
    )
    label = load_package(arguments.out, allow_unsigned=True).manifest.label
    verdict = "weak" if explanation.weak else "pass"
    if not arguments.json:
        print("\n".join([label, *explanation.lines()]))
        if was_signed:
            signed = (
                "with the given key" if arguments.sign else "dropped: --sign KEY signs it again"
            )
            print(f"signature   {signed}")
        print(f"verdict: {verdict}")
    print(
        json.dumps(
            {
                "model": label,
                "method": explanation.added.method,
                "evidence": explanation.added.port.model_dump(),
                "precisions": [asdict(one) for one in explanation.precisions],
                "bound": AGREEMENT_BOUND,
                "verdict": verdict,
            }
        )
    )
    return FAIL if explanation.weak else DONE


def explained_version(version: str) -> str:
    """The same with build metadata: a unit refuses a changed package under a version it holds."""
    return f"{version}{'.' if '+' in version else '+'}evidence"
