"""The command line: light to name, clear about faults."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from runtime.cli.main import main
from tests.support.packages import build_package
from tests.support.units import ROOT, UnitProcess
from tests.support.waiting import CHILD_S

HEAVY = ("numpy", "openvino", "cv2", "pydicom", "pynetdicom", "paho", "imagecodecs", "pydantic")


def test_help_imports_nothing_heavy():
    """`mammoedge --help` loads every command's name and none of their libraries."""
    code = (
        "import sys\nfrom runtime.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=CHILD_S,
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == ""
    for command in ("run", "init", "check", "judge", "send", "demo", "package", "evaluate"):
        assert any(line.startswith(f"    {command}") for line in lines), command


def test_the_control_process_loads_no_pixel_library():
    """The service and its intakes: OpenCV alone would be 28 MB; pixels live in the worker."""
    code = (
        "import sys\nfrom runtime.unit.service import Service, intake_types\nintake_types()\n"
        "print(','.join(m for m in ('cv2', 'openvino', 'imagecodecs') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=CHILD_S,
    )
    assert done.stdout.strip() == ""


def test_init_writes_what_check_accepts(tmp_path, capsys):
    """init, then check: settings, storage, key, package and engine are good or warned of."""
    assert main(["init", str(tmp_path), "--site", "s1", "--unit", "u1"]) == 0
    assert (tmp_path / "site.key").stat().st_mode & 0o077 == 0
    capsys.readouterr()
    code = main(["check", "--json", "--config", str(tmp_path / "unit.toml")])
    verdicts = {v["name"]: v for v in map(json.loads, capsys.readouterr().out.splitlines())}
    assert code == 0, verdicts
    assert set(verdicts) >= {"settings", "storage", "disk", "site key", "package", "engine"}
    assert verdicts["settings"]["grade"] == "good"
    assert "golden cases hold" in verdicts["engine"]["found"]
    assert verdicts["broker"]["grade"] in ("good", "warning")


def test_init_replaces_nothing_unasked(tmp_path, capsys):
    """A unit.toml that is there stays."""
    assert main(["init", str(tmp_path)]) == 0
    before = (tmp_path / "unit.toml").read_text()
    assert main(["init", str(tmp_path), "--unit", "other"]) == 1
    assert (tmp_path / "unit.toml").read_text() == before
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (lambda unit: (unit.folder / "site.key").chmod(0o644), "site key"),
        (lambda unit: (unit.folder / "site.key").unlink(), "site key"),
    ],
    ids=["readable by all", "missing"],
)
def test_check_names_what_is_bad(tmp_path, capsys, harm, name):
    """A bad key is a bad verdict with what to do, and exit code 1."""
    package = build_package(tmp_path, score=0.5)
    unit = UnitProcess(tmp_path / "unit", package=package, broker_port=1)
    harm(unit)
    assert main(["check", "--json", "--config", str(unit.config)]) == 1
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [v["name"] for v in verdicts if v["grade"] == "bad"] == [name]


def test_run_refuses_a_damaged_package(tmp_path, capsys):
    """One changed byte in the weights: the service does not start, and says which file."""
    package = build_package(tmp_path, score=0.5)
    weights = next(package.glob("*.xml"))
    weights.write_bytes(weights.read_bytes() + b" ")
    unit = UnitProcess(tmp_path / "unit", package=package, broker_port=1)
    assert main(["run", "--config", str(unit.config)]) == 2
    assert weights.name in capsys.readouterr().err
