"""Every error of ours has one root, lines for people and an exit code; none ends in a traceback."""

import ast
import builtins
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

import models
from converters.errors import BenchFaultError
from models.errors import MammoedgeError, PackageRefusedError
from runtime.cli.main import run_command
from runtime.inference.devices import EngineFaultError, NoUsableDeviceError
from runtime.user_input.settings_section import SettingsError

HOUSE = Path(models.__file__).parent.parent
PACKAGES = ("models", "runtime", "firmware_bridge", "converters")
ROOT = MammoedgeError.__name__
WITH_LINES_OF_THEIR_OWN = {
    SettingsError: (Path("unit.toml"), ["a: is missing", "b: unknown key"]),
    PackageRefusedError: ("one-1.0", ["manifest.json: is missing", "unsigned"]),
    NoUsableDeviceError: ("one-1.0", ("NPU: none there", "CPU: no")),
    EngineFaultError: ("it failed",),
    BenchFaultError: (["labels.csv: line 3", "labels.csv: line 4"],),
}


def _classes() -> dict[str, tuple[str, list[str]]]:
    """Name of each class in our packages -> its module, the names of its bases."""
    found = {}
    for package in PACKAGES:
        for file in sorted((HOUSE / package).rglob("*.py")):
            module = ".".join(file.relative_to(HOUSE).with_suffix("").parts)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases = [ast.unparse(base).split(".")[-1] for base in node.bases]
                    found[node.name] = (module, bases)
    return found


CLASSES = _classes()


def _ancestors(name: str) -> set[str]:
    bases = CLASSES[name][1]
    return {*bases, *(a for base in bases if base in CLASSES for a in _ancestors(base))}


def _is_exception(name: str) -> bool:
    builtin = getattr(builtins, name, None)
    return isinstance(builtin, type) and issubclass(builtin, BaseException)


ERRORS = sorted(
    name for name in CLASSES if any(_is_exception(ancestor) for ancestor in _ancestors(name))
)


def test_every_error_of_ours_has_the_one_root():
    """By reading the sources, so that no module is forgotten because nothing imports it."""
    assert len(ERRORS) > 50
    assert [name for name in ERRORS if name != ROOT and ROOT not in _ancestors(name)] == []


@pytest.mark.parametrize("name", [name for name in ERRORS if name != ROOT])
def test_no_error_of_ours_leaves_a_traceback(name, capsys):
    """A command that one ends tells each of its lines, and has its exit code."""
    kind = getattr(import_module(CLASSES[name][0]), name)
    if kind in WITH_LINES_OF_THEIR_OWN:
        error = kind(*WITH_LINES_OF_THEIR_OWN[kind])
    else:
        assert kind.lines is MammoedgeError.lines, "give it a sample above"
        error = kind.__new__(kind, "what happened")

    def fail(_arguments):
        raise error

    assert run_command(SimpleNamespace(call=fail), SimpleNamespace()) == kind.exit_code
    told = capsys.readouterr().err.splitlines()
    assert told == [f"mammoedge: {line}" for line in error.lines]
    assert kind.exit_code in (1, 2)


def test_each_fault_is_a_line():
    """With the file, package or device that it is about."""
    lines = {kind: list(kind(*facts).lines) for kind, facts in WITH_LINES_OF_THEIR_OWN.items()}
    assert lines[SettingsError] == ["unit.toml: a: is missing", "unit.toml: b: unknown key"]
    assert lines[PackageRefusedError] == ["one-1.0: manifest.json: is missing", "one-1.0: unsigned"]
    assert lines[NoUsableDeviceError] == ["NPU: none there", "CPU: no"]
    assert lines[EngineFaultError] == ["engine: it failed"]
    assert lines[BenchFaultError] == ["labels.csv: line 3", "labels.csv: line 4"]


def test_a_defect_is_not_told_in_nice_words():
    """What our own code did not raise on purpose shows where it happened."""

    def fail(_arguments):
        raise LookupError("defect")

    with pytest.raises(LookupError):
        run_command(SimpleNamespace(call=fail), SimpleNamespace())
