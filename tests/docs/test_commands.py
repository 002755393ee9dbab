"""Every command line of the pages is one that the program takes; what needs no peer is run."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import shutil
import time
import tomllib
from pathlib import Path

import pytest
from paho.mqtt import publish
from paho.mqtt.client import MQTTv5

from runtime.cli.main import commands, main, parser_for
from runtime.messages.payloads import UnitState
from runtime.messages.topics import Topics
from runtime.mqtt.settings import BrokerSettings
from runtime.site.config.settings import parse_site_settings
from tests.conftest import ROOT, skip_or_fail
from tests.docs.pages import page, pages, told
from tests.support.brokers import Mosquitto, mosquitto_missing
from tests.support.site_units import SaidUnit

PARSER = parser_for(commands())
ENDS = {"|", ">", "&&", ";"}
NO_PEER = {"asyncapi", "frame-schema", "init", "inspect", "keygen", "manifest-schema"}
OPTION = re.compile(r"--[a-z][a-z-]*")


def words_of(line: str) -> list[str]:
    """A command line without its comment and without what follows it in the shell."""
    words = shlex.split(line, comments=True)
    end = next((at for at, word in enumerate(words) if word in ENDS), len(words))
    return words[:end]


def lines_of(told, program: str) -> list[list[str]]:
    """The words after `program` of each line in the page's shell blocks."""
    start = program.split()
    found = [words_of(line) for line in told.shell_lines if line.startswith(program)]
    return [words[len(start) :] for words in found if words[: len(start)] == start]


def spans_of(told, program: str) -> list[str]:
    """What the page's running text says after `program`."""
    return [span.removeprefix(program) for span in told.spans if span.startswith(f"{program} ")]


def subparsers_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Its subcommands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def parser_of(words: list[str]) -> argparse.ArgumentParser:
    """The parser of the subcommand that the words name, and of its subcommand."""
    parser = PARSER
    for word in words:
        inner = subparsers_of(parser)
        if parser is PARSER and not word.startswith("-"):
            assert word in inner, f"no such command: {word}"
        parser = inner.get(word, parser)
    return parser


@pytest.mark.parametrize("told", told(), ids=lambda page: page.name)
def test_mammoedge_takes_each_line(told):
    """Blocks are parsed as they stand, placeholders as words."""
    refused = []
    for words in lines_of(told, "mammoedge"):
        try:
            PARSER.parse_args(words)
        except SystemExit:
            refused.append(words)
    assert refused == []


@pytest.mark.parametrize("told", told(), ids=lambda page: page.name)
def test_commands_in_running_text_exist(told):
    """`mammoedge evaluate --images DIR`: the command and each option are known."""
    unknown = []
    for said in spans_of(told, "mammoedge"):
        words = said.split()
        known = parser_of(words)._option_string_actions.keys() | {"--help", "--version"}
        unknown += [f"{said}: {word}" for word in OPTION.findall(said) if word not in known]
    assert unknown == []


@pytest.mark.parametrize("told", told(), ids=lambda page: page.name)
def test_modules_and_their_options_exist(told):
    """`python -m benches.soak --by dicom`: the module is there and knows the option."""
    said = [" ".join(words) for words in lines_of(told, "python -m")]
    for line in (*said, *spans_of(told, "python -m")):
        name, *words = line.split()
        if name == "pytest":
            continue
        found = importlib.util.find_spec(name)
        assert found is not None, name
        if found.submodule_search_locations:
            found = importlib.util.find_spec(f"{name}.__main__")
        source = Path(found.origin).read_text(encoding="utf-8")
        for option in OPTION.findall(" ".join(words)):
            assert f'"{option}"' in source, f"{name} knows no {option}"


@pytest.mark.parametrize("told", pages(), ids=lambda page: page.name)
def test_targets_extras_and_tests_exist(told):
    """`make ...` is in the Makefile, `[extra]` in pyproject.toml, a test that is named is there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    lines = [*told.shell_lines, *told.spans]
    targets = {match[1] for line in lines if (match := re.match(r"make ([a-z-]+)", line))}
    assert targets <= set(phony.split())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(re.findall(r"extras? `\[([a-z-]+)\]`", told.text))
    extras |= {one for line in lines for one in re.findall(r"pip install '\.\[([a-z-]+)\]'", line)}
    assert extras <= set(project["optional-dependencies"])
    tests = {one for line in lines for one in re.findall(r"pytest .*?(tests/\S+\.py)", line)}
    assert {name for name in tests if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize(
    "told", [one for one in told() if lines_of(one, "mammoedge")], ids=lambda page: page.name
)
def test_what_needs_no_peer_runs(told, tmp_path, monkeypatch, capsys):
    """In the page's order, in a folder of its own; exit code 0."""
    shutil.copytree(ROOT / "docs" / "wire", tmp_path / "docs" / "wire")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "reference").symlink_to(ROOT / "models" / "reference")
    (tmp_path / "PACKAGE").symlink_to(ROOT / "models" / "reference")
    monkeypatch.chdir(tmp_path)
    for words in lines_of(told, "mammoedge"):
        if words[0] not in NO_PEER:
            continue
        here = [word.replace("/etc/", f"{tmp_path}/etc/") for word in words]
        assert main(here) == 0, (words, capsys.readouterr())


def test_the_first_unit_can_be_checked(tmp_path, monkeypatch, capsys):
    """Getting started, up to `check`: nothing is bad where no broker runs yet."""
    monkeypatch.chdir(tmp_path)
    lines = lines_of(page("docs/getting-started.md"), "mammoedge")
    assert [main(words) for words in lines if words[0] in ("init", "check")] == [0, 0]
    assert "BAD" not in capsys.readouterr().out


def test_the_shortest_site_toml_holds(tmp_path):
    """As it stands on the page of the service."""
    (text,) = page("docs/site/service.md").blocks("toml")
    settings = parse_site_settings(tomllib.loads(text), tmp_path / "site.toml")
    assert settings.site.name == "st-anna"
    assert settings.webhook.url is not None


def test_the_subscriber_of_ones_own_runs(tmp_path):
    """The example in Python, word for word but for the broker's settings, hears a unit."""
    if (missing := mosquitto_missing()) is not None:
        skip_or_fail(missing)
    (code,) = page("docs/site/subscribe.md").blocks("python")
    code = re.sub(r"^broker = BrokerSettings\(.*?^\)$", "", code, flags=re.MULTILINE | re.DOTALL)
    unit = SaidUnit("mammo-1")
    said = unit.status(at_ms=time.time_ns() // 1_000_000).message
    with Mosquitto(tmp_path) as broker:
        publish.single(
            Topics(site="st-anna", unit="mammo-1").status,
            said.encode(),
            qos=1,
            retain=True,
            hostname=broker.host,
            port=broker.port,
            protocol=MQTTv5,
        )
        names: dict = {"broker": BrokerSettings(host=broker.host, port=broker.port, tls=False)}
        names["running"] = lambda: "site" not in names or "mammo-1" not in names["site"].units
        exec(compile(code, "subscribe.md", "exec"), names)  # noqa: S102 - our own page
    assert names["site"].units["mammo-1"].state is UnitState.ONLINE
