"""A fault on standard error: a line for each thing that a person should know."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.errors import MammoedgeError


def print_fault(error: MammoedgeError, program: str = "mammoedge") -> int:
    """Tells what went wrong in the name of `program`; the exit code that goes with it."""
    for line in error.lines:
        print(f"{program}: {line}", file=sys.stderr)
    return error.exit_code
