"""`mammoedge reference`: what can be written in files and on the command line, from the types.

Pages of other folders come by the entry point group `mammoedge.references`: a function without
parameters that returns Markdown.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from models.manifest import Manifest
from runtime.cli.main import commands, parser_for
from runtime.unit.service import intake_types
from runtime.unit.settings import FileSettings
from runtime.user_input.reference_page import Part, parts_of, reference_page

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

WIDTH = 100
"""Columns of the usage lines, whatever the terminal."""


def reference_command(arguments: Namespace) -> int:
    """Prints a page; 0, or 2 where there is none of that name."""
    pages = {point.name: point for point in entry_points(group="mammoedge.references")}
    if arguments.page not in pages:
        print(f"mammoedge: pages are: {', '.join(sorted(pages))}", file=sys.stderr)
        return 2
    print(pages[arguments.page].load()(), end="")
    return 0


def unit_parts() -> list[Part]:
    """The tables of unit.toml, those of the installed intakes included."""
    parts = parts_of(FileSettings, besides={"intake"})
    return parts + [
        Part(heading=f"`[intake.{name}]`", model=intake.settings_type)
        for name, intake in sorted(intake_types().items())
    ]


def unit_toml() -> str:
    """The page on unit.toml."""
    return reference_page(
        "unit.toml",
        "What a unit is told at its start. Unknown keys are refused; `mammoedge check` names every"
        " fault with its key. Paths may be relative to the file. `mammoedge init` writes a"
        " commented one. At least one `[intake.NAME]` is needed.",
        unit_parts(),
    )


def manifest_parts() -> list[Part]:
    """The parts of manifest.json."""
    return [Part(heading="manifest.json", model=Manifest)]


def manifest() -> str:
    """The page on manifest.json."""
    return reference_page(
        "manifest.json",
        "Everything about a model package but its weights. `mammoedge manifest-schema` prints the"
        " same as JSON Schema; `mammoedge inspect` shows a package's.",
        manifest_parts(),
    )


def command_line() -> str:
    """The page on the commands."""
    parser = parser_for(commands())
    text = ["# Commands", "", "What `--help` says, of every command and its subcommands.", ""]
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to its subparsers
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for name, subparser in sorted(action.choices.items()):
                text += _command(name, subparser)
    return "\n".join(text).rstrip() + "\n"


def _command(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    class Formatter(parser.formatter_class):  # type: ignore[name-defined, misc] # the parser's own
        def __init__(self, prog: str) -> None:
            super().__init__(prog, width=WIDTH)

    parser.formatter_class = Formatter
    yield from (f"## mammoedge {name}", "", "```text", parser.format_help().rstrip(), "```", "")
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for inner, subparser in sorted(action.choices.items()):
                yield from _command(f"{name} {inner}", subparser)
