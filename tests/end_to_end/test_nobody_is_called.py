"""No command calls anybody that its settings do not name: seen from outside, children included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT, skip_or_fail
from tests.converters.conftest import bench  # noqa: F401 - a fixture
from tests.support.views import write_exams
from tests.support.watched_calls import strace_missing, watched

if TYPE_CHECKING:
    from pathlib import Path

MAMMOEDGE = ("-m", "runtime.cli.main")
REFERENCE = ROOT / "models" / "reference"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def _strace():
    if reason := strace_missing():
        skip_or_fail(reason)


def silent(words, folder: Path, *, ends_with: int = 0) -> str:
    """Runs a command; it does its work, calls nobody and leaves nothing. What it said."""
    seen = watched([*MAMMOEDGE, *words], folder)
    assert seen.exit_code == ends_with, seen.said
    assert (seen.calls, seen.left_in_home) == ((), ())
    return seen.said


def test_the_watcher_sees_a_call_a_look_up_and_a_file(tmp_path):
    """Otherwise the others prove nothing. 192.0.2.1 is nobody's (RFC 5737)."""
    code = (
        "import os, pathlib, socket, subprocess, sys\n"
        "pathlib.Path.home().joinpath('client_id').write_text('x')\n"
        "call = 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);'\n"
        "subprocess.run([sys.executable, '-c', call + 's.connect((\"192.0.2.1\", 443))'])\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.sendto(b'', ('127.0.0.1', 53))\n"
    )
    seen = watched(["-c", code], tmp_path)
    assert seen.calls == ("127.0.0.1 port 53", "192.0.2.1 port 443")
    assert seen.left_in_home == ("client_id",)


@pytest.mark.parametrize("command", ["judge", "demo", "inspect", "check"])
def test_what_runs_on_a_unit(tmp_path, command):
    """A judgement, the whole unit with its worker and broker, a package's and the unit's check."""
    if command == "judge":
        ((*views,),) = write_exams(tmp_path / "views", 1, EXPLICIT_LITTLE_ENDIAN, views=1)
        assert "score" in silent(["judge", "--json", *views], tmp_path)
    elif command == "inspect":
        silent(["inspect", REFERENCE], tmp_path)
    elif command == "demo":
        silent(["demo"], tmp_path)
    else:
        silent(["init", tmp_path / "unit"], tmp_path / "init")
        seen = watched([*MAMMOEDGE, "check", "--config", tmp_path / "unit/unit.toml"], tmp_path)
        assert (seen.calls, seen.left_in_home) == ((), ())


def test_what_runs_at_the_bench(bench, tmp_path):  # noqa: F811 - the fixture
    """All that import OpenVINO, NNCF or ONNX Runtime, benchmark_app's process among them."""
    package, views = tmp_path / "package", ["--images", bench.images]
    labels = ["--labels", bench.images / "labels.csv"]
    source = [bench.onnx, "--recipe", bench.recipe]
    silent(
        ["build", *source, "--calibration", bench.images, "-o", package, "--runs", 2],
        tmp_path / "build",
        ends_with=1,  # made; no labelled image proves it
    )
    silent(["convert", *source, "-o", tmp_path / "ir"], tmp_path / "convert")
    silent(["quantize", *source, "--calibration", bench.images, *labels, "--accuracy-aware",
            "--max-drop", "0.05", "-o", tmp_path / "int8"], tmp_path / "quantize")  # fmt: skip
    silent(["evaluate", package, *views, *labels], tmp_path / "evaluate", ends_with=1)
    silent(["benchmark", package, "--runs", 2], tmp_path / "benchmark")
