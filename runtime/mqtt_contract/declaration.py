"""`mammoedge asyncapi`, named without importing what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.user_input.command import Command

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _arguments(parser: ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="JSON, as without it (which YAML readers take)"
    )
    form.add_argument("--page", action="store_true", help="the page for people, Markdown")
    form.add_argument(
        "--against",
        type=Path,
        metavar="RELEASED.json",
        help="instead of printing: what differs from that document, and whether the version allows"
        " it (exit code 1 if not)",
    )


ASYNCAPI = Command(
    name="asyncapi",
    help="print the MQTT contract as AsyncAPI 3",
    add_arguments=_arguments,
    run="runtime.mqtt_contract.asyncapi_command:asyncapi_command",
)
