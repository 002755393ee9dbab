"""`mammoedge benchmark`."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from converters.commands.command_guard import DONE, FAIL, guarded
from converters.errors import BenchFaultError
from converters.evaluation.benchmark import (
    HINTS,
    Setting,
    advised,
    chosen,
    has_benchmark_app,
    measure,
    ratio_to_benchmark_app,
    sweep,
)
from converters.packaging.package_revision import revised
from converters.packaging.report import LATENCY, latency_section
from converters.progress import progress_bar
from models.package import SIGNATURE, load_package

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from converters.evaluation.benchmark import MeasuredLatency
    from models.package import Package


def run(arguments: Namespace) -> int:
    """Exit code 0; 1 if a target was given and no setting meets it; 2 if nothing was measured."""
    return guarded(_run, arguments)


def _run(arguments: Namespace, scratch: Path) -> int:
    if arguments.write and (arguments.target_ms is None or not arguments.package.is_dir()):
        raise BenchFaultError(["--write: needs --target-ms and a package that is a folder"])
    package = load_package(arguments.package, allow_unsigned=True, store=scratch)
    proved = package.manifest.proved
    if arguments.write and not proved:
        label = package.manifest.label
        why = f"no precision of {label} is proved on labelled images (`build` with --images)"
        raise BenchFaultError([f"--write: {why}, and advice names none that is not"])
    settings = settings_of(arguments, package)
    progress = progress_bar("benchmark", len(settings), counted="settings")
    measured = []
    for number, setting in enumerate(settings, start=1):
        latency = measure(package, setting, runs=arguments.runs)
        measured.append(latency)
        if not arguments.json:
            print(line_of(latency), flush=True)
        progress(number)
    ratios = {} if arguments.without_app else ratios_of(package, settings, measured, arguments.runs)
    candidates = [one for one in measured if not arguments.write or one.precision in proved]
    best = None if arguments.target_ms is None else chosen(candidates, arguments.target_ms)
    label = package.manifest.label
    if best is not None and arguments.write:
        label = _write_advice(arguments, package, best, measured)
    if not arguments.json:
        for name, ratio in ratios.items():
            print(f"{name}: {ratio:.2f} times benchmark_app's median")
        if arguments.target_ms is not None:
            told = "no setting" if best is None else line_of(best)
            print(f"within {arguments.target_ms:g} ms (p95): {told}")
    print(
        json.dumps(
            {
                "model": label,
                "measured": [asdict(latency) for latency in measured],
                "ratio_to_benchmark_app": ratios,
                "chosen": None if best is None else asdict(best),
            }
        )
    )
    return FAIL if arguments.target_ms is not None and best is None else DONE


def settings_of(arguments: Namespace, package: Package) -> list[Setting]:
    """Both hints for each number of threads; given streams instead of hints; or the whole sweep."""
    settings = []
    for precision in arguments.precisions or package.manifest.precisions:
        for device in arguments.devices or ["CPU"]:
            if arguments.sweep:
                settings += sweep(precision, device)
                continue
            asked = [("NONE", streams) for streams in arguments.streams or ()]
            settings += [
                Setting(
                    precision=precision, device=device, hint=hint, streams=streams, threads=threads
                )
                for hint, streams in asked or [(hint, None) for hint in HINTS]
                for threads in arguments.threads or [None]
            ]
    return settings


def ratios_of(
    package: Package, settings: list[Setting], measured: list[MeasuredLatency], runs: int
) -> dict[str, float]:
    """Our median over benchmark_app's, for each latency setting; none where it is not installed."""
    if not has_benchmark_app():
        print("benchmark_app does not come with this OpenVINO: no ratio to it", file=sys.stderr)
        return {}
    return {
        f"{setting.precision} on {setting.device}, {latency.threads} threads": round(
            ratio_to_benchmark_app(package, setting, latency, runs=runs), 3
        )
        for setting, latency in zip(settings, measured, strict=True)
        if setting.hint == "LATENCY"
    }


def _write_advice(
    arguments: Namespace, package: Package, best: MeasuredLatency, measured: list[MeasuredLatency]
) -> str:
    """The package with other advice and a new version; its old signature would not hold.

    Returns:
        The label under which it was written.
    """
    was_signed = (package.folder / SIGNATURE).is_file()
    with revised(package, arguments.package, arguments.sign) as revision:
        version = advised_version(package.manifest.version)
        changed = advised(package.manifest, best, arguments.target_ms)
        revision.manifest = changed.model_copy(update={"version": version})
        revision.report(LATENCY, latency_section(measured))
    print(f"written as {revision.manifest.label}", file=sys.stderr)
    if arguments.sign is None and was_signed:
        print("the package has to be signed again: --sign KEY", file=sys.stderr)
    return revision.manifest.label


def advised_version(version: str) -> str:
    """The next version with advice: a unit refuses a changed package under a version it holds."""
    written = re.fullmatch(r"(.*[+.]advice)(?:\.([0-9]+))?", version)
    if written is None:
        return f"{version}{'.' if '+' in version else '+'}advice"
    return f"{written[1]}.{int(written[2] or 1) + 1}"


def line_of(latency: MeasuredLatency) -> str:
    """One measurement on one line."""
    return (
        f"{latency.precision:5} {latency.device:4} {latency.hint:10} streams {latency.streams} "
        f"threads {latency.threads}: median {latency.median_ms:.1f} ms, "
        f"p95 {latency.p95_ms:.1f} ms, {latency.per_second:.1f} per second; "
        f"compile {latency.compile_ms:.0f} ms, cached {latency.cached_ms:.0f} ms, "
        f"memory {latency.memory_mb:.0f} MB"
    )
