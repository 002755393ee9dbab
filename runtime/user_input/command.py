"""One subcommand of `mammoedge`, light enough that naming it imports nothing heavy; its faults."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from models.errors import MammoedgeError


@dataclass(frozen=True, kw_only=True)
class Command:
    """A subcommand as an entry point of the group `mammoedge.commands` gives it.

    The module that declares it may import the standard library only: `mammoedge --help` loads
    every one of them.
    """

    name: str
    help: str
    add_arguments: Callable[[ArgumentParser], None]
    run: str
    """`module:function`, taking the parsed arguments and returning the exit code. The module is
    imported when the command is called, not before."""

    def call(self, arguments: Namespace) -> int:
        """Import what the command needs and run it; the exit code."""
        module, _, function = self.run.partition(":")
        return int(getattr(import_module(module), function)(arguments))


def print_fault(error: MammoedgeError, program: str = "mammoedge") -> int:
    """Tells what went wrong in the name of `program`; the exit code that goes with it."""
    for line in error.lines:
        print(f"{program}: {line}", file=sys.stderr)
    return error.exit_code
