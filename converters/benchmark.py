"""How fast a package runs here, measured beside OpenVINO's own benchmark_app on the same IR."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.errors import BenchFaultError
from converters.latency import Latency

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.package import Package

APP_TIMEOUT_S = 600
MEDIAN = re.compile(r"Median:\s+([0-9.]+) (us|ms|s)\b")
MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
WARM_UP = 3


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked of the device."""

    precision: str
    device: str = "CPU"
    hint: str = "LATENCY"
    threads: int | None = None
    """None leaves the choice to OpenVINO."""


def measure(package: Package, setting: Setting, *, runs: int) -> Latency:
    """Compile, compile again from the cache, infer `runs` times alone and in all streams.

    Raises:
        BenchFaultError: the device refuses the graph or the setting.
    """
    import openvino

    wanted = package.precision(setting.precision)
    xml = package.folder / wanted.xml
    before = _resident_mb()
    with tempfile.TemporaryDirectory() as cache:
        asked: dict[str, Any] = {
            "PERFORMANCE_HINT": setting.hint,
            "INFERENCE_PRECISION_HINT": wanted.inference_precision,
            "CACHE_DIR": cache,
        }
        if setting.threads is not None:
            asked["INFERENCE_NUM_THREADS"] = setting.threads
        try:
            started = time.perf_counter()
            openvino.Core().compile_model(str(xml), setting.device, asked)
            compile_ms = _since(started)
            started = time.perf_counter()
            compiled = openvino.Core().compile_model(str(xml), setting.device, asked)
            cached_ms = _since(started)
        except RuntimeError as fault:
            refused = str(fault).splitlines()[-1][:200]
            raise BenchFaultError([f"{setting.device} refuses {xml.name}: {refused}"]) from fault
        inputs = {
            port.any_name: np.random.default_rng(1).random(tuple(port.shape), np.float32)
            for port in compiled.inputs
        }
        latencies = _alone(compiled, inputs, runs)
        per_second = _in_all_streams(compiled, inputs, runs)
        threads = setting.threads or _number(compiled, "INFERENCE_NUM_THREADS")
        return Latency(
            precision=setting.precision,
            device=setting.device,
            hint=setting.hint,
            streams=_number(compiled, "NUM_STREAMS"),
            threads=threads,
            median_ms=float(np.median(latencies)),
            p95_ms=float(np.percentile(latencies, 95)),
            per_second=per_second,
            compile_ms=compile_ms,
            cached_ms=cached_ms,
            memory_mb=max(0.0, _resident_mb() - before),
        )


def benchmark_app_median_ms(package: Package, setting: Setting, *, runs: int) -> float:
    """Median latency by OpenVINO's own benchmark_app, synchronous, on the same IR.

    Raises:
        BenchFaultError: it is not installed, or its answer holds no median.
    """
    wanted = package.precision(setting.precision)
    words = [sys.executable, "-c", "from openvino.tools.benchmark.main import main; main()"]
    words += ["-m", str(package.folder / wanted.xml), "-d", setting.device, "-api", "sync"]
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


def chosen(latencies: Iterable[Latency], target_ms: float) -> Latency | None:
    """The setting that meets the target with the fewest threads, the fastest of those."""
    meeting = [one for one in latencies if one.p95_ms <= target_ms]
    return min(meeting, key=lambda one: (one.threads, one.median_ms), default=None)


def advice_of(latency: Latency, target_ms: float) -> dict[str, str | int | float]:
    """As it stands in a manifest."""
    return {
        "default_precision": latency.precision,
        "device": latency.device,
        "hint": latency.hint,
        "threads": latency.threads,
        "median_ms": round(latency.median_ms, 1),
        "target_ms": target_ms,
    }


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
    return pages * 4096 / 1e6


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
