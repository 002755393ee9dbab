"""`mammoedge benchmark`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from converters.benchmark import Setting, advice_of, benchmark_app_median_ms, chosen, measure
from converters.errors import BenchFaultError
from converters.keys import sign
from converters.package_writer import staged
from models.errors import PackageRefusedError
from models.package import MANIFEST, SIGNATURE, load_package

if TYPE_CHECKING:
    from argparse import Namespace

    from converters.latency import Latency
    from models.package import Package

DONE, MISSED, USAGE = 0, 1, 2


def run(arguments: Namespace) -> int:
    """Exit code 0; 1 if a target was given and no setting meets it; 2 if nothing was measured."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return _run(arguments, Path(scratch))
        except PackageRefusedError as refused:
            faults = [f"{refused.package}: {fault}" for fault in refused.faults]
        except BenchFaultError as fault:
            faults = list(fault.faults)
    for line in faults:
        print(line, file=sys.stderr)
    return USAGE


def _run(arguments: Namespace, scratch: Path) -> int:
    if arguments.write and (arguments.target_ms is None or not arguments.package.is_dir()):
        raise BenchFaultError(["--write: needs --target-ms and a package that is a folder"])
    package = load_package(arguments.package, allow_unsigned=True, store=scratch)
    settings = [
        Setting(precision=precision, device=device, hint=hint, threads=threads)
        for precision in arguments.precisions or package.manifest.precisions
        for device in arguments.devices or ["CPU"]
        for hint in ("LATENCY", "THROUGHPUT")
        for threads in arguments.threads or [None]
    ]
    measured = []
    for setting in settings:
        latency = measure(package, setting, runs=arguments.runs)
        measured.append(latency)
        if not arguments.json:
            print(_line(latency), flush=True)
    ratios = {} if arguments.without_app else _ratios(arguments, package, settings, measured)
    best = None if arguments.target_ms is None else chosen(measured, arguments.target_ms)
    if best is not None and arguments.write:
        _write_advice(arguments, package, best)
    if not arguments.json:
        for name, ratio in ratios.items():
            print(f"{name}: {ratio:.2f} times benchmark_app's median")
        if arguments.target_ms is not None:
            told = "no setting" if best is None else _line(best)
            print(f"within {arguments.target_ms:g} ms (p95): {told}")
    print(
        json.dumps(
            {
                "model": package.manifest.label,
                "measured": [asdict(latency) for latency in measured],
                "ratio_to_benchmark_app": ratios,
                "chosen": None if best is None else asdict(best),
            }
        )
    )
    return MISSED if arguments.target_ms is not None and best is None else DONE


def _ratios(
    arguments: Namespace, package: Package, settings: list[Setting], measured: list[Latency]
) -> dict[str, float]:
    """Our median over benchmark_app's, for each latency setting."""
    return {
        f"{setting.precision} on {setting.device}, {latency.threads} threads": round(
            latency.median_ms / benchmark_app_median_ms(package, setting, runs=arguments.runs),
            3,
        )
        for setting, latency in zip(settings, measured, strict=True)
        if setting.hint == "LATENCY"
    }


def _write_advice(arguments: Namespace, package: Package, best: Latency) -> None:
    """The same package with other advice; its old signature would not hold and is left out."""
    manifest = package.manifest.model_copy(
        update={"advice": {**package.manifest.advice, **advice_of(best, arguments.target_ms)}}
    )
    content = (manifest.model_dump_json(indent=1, exclude_none=True) + "\n").encode()
    with staged(arguments.package) as folder:
        shutil.copytree(package.folder, folder, dirs_exist_ok=True)
        (folder / MANIFEST).write_bytes(content)
        (folder / SIGNATURE).unlink(missing_ok=True)
        if arguments.sign is not None:
            (folder / SIGNATURE).write_bytes(sign(content, arguments.sign))
    if package.signed or (arguments.sign is None and (package.folder / SIGNATURE).exists()):
        print("the package has to be signed again: --sign KEY", file=sys.stderr)


def _line(latency: Latency) -> str:
    return (
        f"{latency.precision:5} {latency.device:4} {latency.hint:10} streams {latency.streams} "
        f"threads {latency.threads}: median {latency.median_ms:.1f} ms, "
        f"p95 {latency.p95_ms:.1f} ms, {latency.per_second:.1f} per second; "
        f"compile {latency.compile_ms:.0f} ms, cached {latency.cached_ms:.0f} ms, "
        f"memory {latency.memory_mb:.0f} MB"
    )
