"""`mammoedge keygen`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.commands.command_guard import DONE, guarded
from converters.packaging.signing_keys import make_key_pair

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path


def run(arguments: Namespace) -> int:
    """Write the private key; print the public one as a unit's `trusted_keys` take it."""
    return guarded(_make, arguments)


def _make(arguments: Namespace, _scratch: Path) -> int:
    print(make_key_pair(arguments.key).hex())
    return DONE
