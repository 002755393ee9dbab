"""What every command of the bench has in common: a scratch folder, and faults told line by line."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import MammoedgeError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

DONE = 0
FAIL = 1
USAGE = 2


def guarded(step: Callable[[Namespace, Path], int], arguments: Namespace) -> int:
    """`step`'s exit code, or 2 and a line on stderr for each thing that was wrong.

    Args:
        step: takes the arguments and a folder that vanishes afterwards.
        arguments: of the command line.
    """
    with tempfile.TemporaryDirectory(prefix="mammoedge-") as scratch:
        try:
            return step(arguments, Path(scratch))
        except MammoedgeError as fault:
            lines = fault.lines
    for line in lines:
        print(line, file=sys.stderr)
    return USAGE
