"""What every command of the bench has in common: a scratch folder, and faults told line by line."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from converters.errors import BenchFaultError
from models.errors import PackageRefusedError
from runtime.inference.devices import EngineFaultError, NoUsableDeviceError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

DONE = 0
FAIL = 1
USAGE = 2


def guarded(step: Callable[[Namespace, Path], int], arguments: Namespace) -> int:
    """`step`'s exit code, or 2 and a line on stderr for each fault that an engineer can mend.

    Args:
        step: takes the arguments and a folder that vanishes afterwards.
        arguments: of the command line.
    """
    faults: tuple[str, ...]
    with tempfile.TemporaryDirectory(prefix="mammoedge-") as scratch:
        try:
            return step(arguments, Path(scratch))
        except BenchFaultError as fault:
            faults = fault.faults
        except PackageRefusedError as refused:
            faults = tuple(f"{refused.package}: {fault}" for fault in refused.faults)
        except NoUsableDeviceError as refused:
            faults = refused.attempts
        except EngineFaultError as fault:
            faults = (f"engine: {fault}",)
    for line in faults:
        print(line, file=sys.stderr)
    return USAGE
