"""`mammoedge asyncapi`: the contract for machines, for people, and against an older one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from runtime.mqtt_contract.asyncapi import asyncapi_document
from runtime.mqtt_contract.compatibility import compare
from runtime.mqtt_contract.page import page

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

EXIT_FAULT = 1
EXIT_USAGE = 2


def asyncapi_command(arguments: Namespace) -> int:
    """Prints; or compares, with exit code 1 where the version should have been raised."""
    document = asyncapi_document()
    if arguments.against is not None:
        return _against(arguments.against, document)
    if arguments.page:
        print(page(document), end="")
    else:
        print(json.dumps(document, indent=1, ensure_ascii=False))
    return 0


def _against(file: Path, document: dict[str, object]) -> int:
    try:
        released = json.loads(file.read_text(encoding="utf-8"))
        verdict = compare(released, document)
    except (ValueError, LookupError, TypeError):
        print(
            f"mammoedge: {file}: is no document of `mammoedge asyncapi --json`", file=sys.stderr
        )  # fmt: skip
        return EXIT_USAGE
    for each in verdict.differences:
        print(f"{'breaking' if each.breaking else 'harmless'}: {each.where}: {each.what}")
    print(verdict.fault or f"{verdict.current} may follow {verdict.released}")
    return EXIT_FAULT if verdict.fault else 0
