"""`mammoedge benchmark`: what it measures, what it compares with, what it writes down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from converters.commands.benchmark import advised_version
from converters.evaluation.benchmark import MeasuredLatency, advised, chosen, sweep
from converters.packaging.package_writer import seal
from models.manifest import ProofVerdict
from models.package import load_package
from runtime.cli.main import main
from runtime.inference.engine import open_engine
from tests.support.builders import manifest
from tests.support.packages import build_package

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Small enough that a hundred inferences take no time."""
    return build_package(tmp_path, precisions=("fp32",))


@pytest.fixture
def proved(package: Path) -> Path:
    """The same, as if labelled images had proved it."""
    was = load_package(package, allow_unsigned=True).manifest
    parity = tuple(part.model_copy(update={"verdict": ProofVerdict.PROVED}) for part in was.parity)
    seal(package, was.model_copy(update={"parity": parity}), None)
    return package


def latency(threads: int, median_ms: float, p95_ms: float) -> MeasuredLatency:
    """A measurement."""
    return MeasuredLatency(
        precision="int8",
        device="CPU",
        hint="LATENCY",
        streams=1,
        threads=threads,
        median_ms=median_ms,
        p95_ms=p95_ms,
        per_second=1000 / median_ms,
        compile_ms=1,
        cached_ms=1,
        memory_mb=1,
    )


def test_the_fewest_threads_that_meet_the_target_are_chosen() -> None:
    """The rest of the processor belongs to decoding; a slow tail does not meet it."""
    slow, tailed, lean, fast = (
        latency(1, 90, 95),
        latency(1, 40, 120),
        latency(2, 50, 60),
        latency(4, 30, 35),
    )
    assert chosen([slow, tailed, fast, lean], 80) is lean
    assert chosen([slow, tailed, fast, lean], 20) is None
    assert advised(manifest(), lean, 80).advice["threads"] == 2


def test_every_setting_is_measured_beside_benchmark_app(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both hints, each in a process of its own; a ratio for the latency hint."""
    words = ["benchmark", str(package), "--threads", "1", "--runs", "20", "--json"]
    assert main(words) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert [one["hint"] for one in told["measured"]] == ["LATENCY", "THROUGHPUT"]
    for one in told["measured"]:
        assert 0 < one["median_ms"] <= one["p95_ms"]
        assert one["compile_ms"] > 0
        assert one["per_second"] > 0
        assert one["memory_mb"] > 0
    (ratio,) = told["ratio_to_benchmark_app"].values()
    assert ratio > 0


def test_a_sweep_covers_streams_and_threads_up_to_the_processors() -> None:
    """Never more streams than threads; without a hint, which would overrule them."""
    settings = sweep("int8", "CPU", cores=4)
    pairs = {(setting.streams, setting.threads) for setting in settings}
    assert pairs == {(1, 1), (1, 2), (2, 2), (1, 4), (2, 4), (4, 4)}
    assert {setting.hint for setting in settings} == {"NONE"}


def test_given_streams_are_what_runs(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two streams on two threads, as OpenVINO itself reports them; no hint, so no ratio."""
    words = ["benchmark", str(package), "--streams", "2", "--threads", "2", "--runs", "5"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    (one,) = told["measured"]
    assert (one["hint"], one["streams"], one["threads"]) == ("NONE", 2, 2)
    assert told["ratio_to_benchmark_app"] == {}


def test_a_relative_path_is_good_enough_for_benchmark_app(
    package: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in a folder of its own."""
    monkeypatch.chdir(package.parent)
    assert main(["benchmark", package.name, "--threads", "1", "--runs", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["ratio_to_benchmark_app"]


def test_what_a_device_refuses_is_told(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A device that is not there: exit code 2 and its name."""
    assert main(["benchmark", str(package), "--device", "NPU", "--runs", "1"]) == 2
    assert "NPU refuses fp32.xml" in capsys.readouterr().err


def test_the_choice_is_written_and_the_package_still_opens(
    proved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As advice, under a version that no unit holds yet; everything else stays."""
    before = load_package(proved, allow_unsigned=True)
    words = ["benchmark", str(proved), "--streams", "1", "--threads", "1", "--runs", "5"]
    assert main([*words, "--target-ms", "100000", "--write", "--without-app"]) == 0
    after = load_package(proved, allow_unsigned=True)
    assert after.manifest.advice["target_ms"] == 100000
    assert after.manifest.advice["threads"] == after.manifest.advice["streams"] == 1
    changed = {file.path for file in set(after.manifest.files) ^ set(before.manifest.files)}
    assert changed <= {"report.html", "CARD.md"}
    assert after.manifest.version == f"{before.manifest.version}+advice"
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["model"] == after.manifest.label
    assert f"<h1>{after.manifest.label}</h1>" in (proved / "report.html").read_text()
    assert "<h2>Latency</h2>" in (proved / "report.html").read_text()
    open_engine(after, "fp32", ("CPU",), None, threads=1)


def test_advice_names_no_precision_that_was_not_proved(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However fast it is: the package has seen no labelled image."""
    before = load_package(package, allow_unsigned=True).sha256
    words = ["benchmark", str(package), "--runs", "1", "--target-ms", "100000", "--write"]
    assert main(words) == 2
    assert "no precision of test-package-1.0.0 is proved" in capsys.readouterr().err
    assert load_package(package, allow_unsigned=True).sha256 == before


def test_each_writing_of_advice_is_a_version_of_its_own() -> None:
    """A unit that holds one refuses other content under the same version."""
    assert advised_version("1.2.0") == "1.2.0+advice"
    assert advised_version("1.2.0+advice") == "1.2.0+advice.2"
    assert advised_version("1.2.0+evidence") == "1.2.0+evidence.advice"
    assert advised_version("1.2.0+evidence.advice.9") == "1.2.0+evidence.advice.10"


def test_a_target_that_nothing_meets_is_told_by_exit_code(proved: Path) -> None:
    """And nothing is written."""
    before = load_package(proved, allow_unsigned=True).sha256
    words = ["benchmark", str(proved), "--streams", "1", "--runs", "5", "--without-app"]
    words += ["--target-ms", "0.0001"]
    assert main([*words, "--write"]) == 1
    assert load_package(proved, allow_unsigned=True).sha256 == before
