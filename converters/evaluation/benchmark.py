"""How fast a package runs here, measured beside OpenVINO's own benchmark_app on the same IR."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.errors import BenchFaultError
from converters.evaluation.measured_points import points_of_default

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.manifest import Manifest, Precision
    from models.package import Package

APP = "openvino.tools.benchmark"
HOME = "converters"
"""A room that imports OpenVINO: importing it first switches OpenVINO's telemetry off."""
APP_TIMEOUT_S = 600
MEDIAN = re.compile(r"Median:\s+([0-9.]+) (us|ms|s)\b")
MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
WARM_UP = 3
HINTS = ("LATENCY", "THROUGHPUT")
EXPLICIT = "NONE"
"""Instead of a hint, where the number of streams is given."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked of the device."""

    precision: str
    device: str = "CPU"
    hint: str = "LATENCY"
    streams: int | None = None
    """None leaves the choice to OpenVINO by the hint."""
    threads: int | None = None
    """None leaves the choice to OpenVINO."""

    def properties(self, wanted: Precision) -> dict[str, Any]:
        """As OpenVINO takes them."""
        asked: dict[str, Any] = {"INFERENCE_PRECISION_HINT": wanted.inference_precision}
        if self.streams is None:
            asked["PERFORMANCE_HINT"] = self.hint
        else:
            asked["NUM_STREAMS"] = str(self.streams)
        if self.threads is not None:
            asked["INFERENCE_NUM_THREADS"] = self.threads
        return asked


@dataclass(frozen=True, kw_only=True)
class MeasuredLatency:
    """What a measurement gave."""

    precision: str
    device: str
    hint: str
    """`LATENCY`, `THROUGHPUT`, or `NONE` where the number of streams was given."""
    streams: int
    threads: int
    median_ms: float
    p95_ms: float
    per_second: float
    """Inferences in all streams together."""
    compile_ms: float
    cached_ms: float
    """To be ready for the first inference, from a warm cache of compiled graphs."""
    memory_mb: float
    """Growth of resident memory of a process that does nothing else."""


def sweep(precision: str, device: str, cores: int | None = None) -> list[Setting]:
    """Streams and threads in powers of two, no more streams than threads than processors."""
    counts: list[int] = []
    most = cores or os.cpu_count() or 1
    while 2 ** len(counts) <= most:
        counts.append(2 ** len(counts))
    return [
        Setting(precision=precision, device=device, hint=EXPLICIT, streams=streams, threads=threads)
        for threads in counts
        for streams in counts
        if streams <= threads
    ]


def measure(package: Package, setting: Setting, *, runs: int) -> MeasuredLatency:
    """Compile, compile again from the cache, infer `runs` times alone and in all streams.

    In a process of its own: memory is that of this setting alone, and a driver that crashes takes
    nothing with it.

    Raises:
        BenchFaultError: the device refuses the graph or the setting, or crashes.
    """
    wanted = package.precision(setting.precision)
    xml = package.folder / wanted.xml
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            found = pool.submit(measured_here, xml, wanted, setting, runs).result()
        except BrokenProcessPool as fault:
            raise BenchFaultError([f"{setting.device} crashed with {xml.name}"]) from fault
    if isinstance(found, str):
        raise BenchFaultError([f"{setting.device} refuses {xml.name}: {found}"])
    return found


def measured_here(
    xml: Path, wanted: Precision, setting: Setting, runs: int
) -> MeasuredLatency | str:
    """The measurement in this process, or why the device refuses."""
    import openvino

    core = openvino.Core()
    before = _resident_mb()
    with tempfile.TemporaryDirectory() as cache:
        asked = setting.properties(wanted) | {"CACHE_DIR": cache}
        try:
            started = time.perf_counter()
            core.compile_model(str(xml), setting.device, asked)
            compile_ms = _since(started)
            started = time.perf_counter()
            compiled = openvino.Core().compile_model(str(xml), setting.device, asked)
            cached_ms = _since(started)
        except RuntimeError as fault:
            return str(fault).splitlines()[-1][:200]
        inputs = {
            port.any_name: np.random.default_rng(1).random(tuple(port.shape), np.float32)
            for port in compiled.inputs
        }
        latencies = _alone(compiled, inputs, runs)
        per_second = _in_all_streams(compiled, inputs, runs)
        return MeasuredLatency(
            precision=setting.precision,
            device=setting.device,
            hint=setting.hint,
            streams=_number(compiled, "NUM_STREAMS"),
            threads=setting.threads or _number(compiled, "INFERENCE_NUM_THREADS"),
            median_ms=float(np.median(latencies)),
            p95_ms=float(np.percentile(latencies, 95)),
            per_second=per_second,
            compile_ms=compile_ms,
            cached_ms=cached_ms,
            memory_mb=max(0.0, _resident_mb() - before),
        )


def has_benchmark_app() -> bool:
    """Whether the installed OpenVINO brings it."""
    return importlib.util.find_spec(APP) is not None


def benchmark_app_median_ms(package: Package, setting: Setting, *, runs: int) -> float:
    """Median latency by OpenVINO's own benchmark_app, synchronous, on the same IR.

    Raises:
        BenchFaultError: it does not end, or its answer holds no median.
    """
    wanted = package.precision(setting.precision)
    words = [sys.executable, "-c", f"import {HOME}; from {APP}.main import main; main()"]
    # From another folder: a relative path would lead nowhere.
    words += [
        "-m",
        str((package.folder / wanted.xml).resolve()),
        "-d",
        setting.device,
        "-api",
        "sync",
    ]
    words += ["-niter", str(runs)]
    words += ["-infer_precision", wanted.inference_precision]
    # benchmark_app takes a number of threads only without a hint; one stream is what LATENCY means.
    words += (
        ["-hint", "latency"]
        if setting.threads is None
        else ["-hint", "none", "-nstreams", "1", "-nthreads", str(setting.threads)]
    )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            ended = subprocess.run(
                words,
                capture_output=True,
                text=True,
                timeout=APP_TIMEOUT_S,
                check=False,
                cwd=scratch,
            )
        except subprocess.TimeoutExpired as fault:
            raise BenchFaultError([f"benchmark_app: not done after {APP_TIMEOUT_S} s"]) from fault
    said = ended.stdout + ended.stderr
    found = MEDIAN.search(said)
    if found is None:
        told = said.strip().splitlines()[-1:]
        raise BenchFaultError([f"benchmark_app: no median: {''.join(told)[:200]}"])
    return float(found[1]) * MILLISECONDS[found[2]]


def ratio_to_benchmark_app(
    package: Package, setting: Setting, first: MeasuredLatency, *, runs: int
) -> float:
    """Our median over benchmark_app's; ours once before it (`first`) and once after.

    Raises:
        BenchFaultError: as `measure` and `benchmark_app_median_ms`.
    """
    theirs = benchmark_app_median_ms(package, setting, runs=runs)
    second = measure(package, setting, runs=runs)
    return (first.median_ms + second.median_ms) / 2 / theirs


def chosen(latencies: Iterable[MeasuredLatency], target_ms: float) -> MeasuredLatency | None:
    """The setting that meets the target with the fewest threads, the fastest of those."""
    meeting = [one for one in latencies if one.p95_ms <= target_ms]
    return min(meeting, key=lambda one: (one.threads, one.median_ms), default=None)


def advised(manifest: Manifest, latency: MeasuredLatency, target_ms: float) -> Manifest:
    """The manifest with the setting as advice, and its points as that precision gives them."""
    advice: dict[str, str | int | float] = {
        "default_precision": latency.precision,
        "device": latency.device,
        "hint": latency.hint,
        "streams": latency.streams,
        "threads": latency.threads,
        "median_ms": round(latency.median_ms, 1),
        "p95_ms": round(latency.p95_ms, 1),
        "target_ms": target_ms,
    }
    changed = manifest.model_copy(update={"advice": {**manifest.advice, **advice}})
    return changed.model_copy(update={"operating_points": points_of_default(changed)})


def _alone(compiled: Any, inputs: dict[str, Any], runs: int) -> Sequence[float]:
    request = compiled.create_infer_request()
    for _ in range(WARM_UP):
        request.infer(inputs)
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        request.infer(inputs, share_inputs=True, share_outputs=True)
        taken.append(_since(started))
    return taken


def _in_all_streams(compiled: Any, inputs: dict[str, Any], runs: int) -> float:
    from openvino import AsyncInferQueue

    queue = AsyncInferQueue(compiled)
    started = time.perf_counter()
    for _ in range(runs):
        queue.start_async(inputs, share_inputs=True)
    queue.wait_all()
    return runs / (time.perf_counter() - started)


def _number(compiled: Any, name: str) -> int:
    try:
        return int(compiled.get_property(name))
    except (RuntimeError, ValueError, TypeError):
        return 0  # not every device has streams or threads to count


def _resident_mb() -> float:
    """Resident memory of this process; Linux says it in pages."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
