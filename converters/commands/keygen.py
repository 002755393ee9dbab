"""`mammoedge keygen`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from converters.errors import BenchFaultError
from converters.packaging.signing_keys import make_key_pair

if TYPE_CHECKING:
    from argparse import Namespace


def run(arguments: Namespace) -> int:
    """Write the private key; print the public one as a unit's `trusted_keys` take it."""
    try:
        public = make_key_pair(arguments.key)
    except BenchFaultError as fault:
        print(fault, file=sys.stderr)
        return 2
    print(public.hex())
    return 0
