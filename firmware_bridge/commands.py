"""The subcommands of this folder, light enough for `mammoedge --help`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.command import Command

if TYPE_CHECKING:
    from argparse import ArgumentParser


def _send_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="DIR|FILE", help="DICOM files, or folders of them"
    )
    parser.add_argument("--to", required=True, metavar="AE@HOST:PORT", help="who receives them")
    parser.add_argument("--calling", default="MAMMOSEND", metavar="AE", help="our own AE title")
    parser.add_argument(
        "--retries",
        type=int,
        default=0,
        metavar="N",
        help="try again N times where nobody answers or the receiver is out of resources",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object for each file")


def _demo_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--serve", action="store_true", help="keep broker and service running until Ctrl-C"
    )
    parser.add_argument(
        "--package", metavar="DIR", help="another model package (the reference package)"
    )
    parser.add_argument(
        "--timeout-s", type=float, default=90.0, metavar="S", help="give up after this long"
    )


SEND = Command(
    name="send",
    help="send DICOM files as an acquisition workstation would (C-STORE)",
    add_arguments=_send_arguments,
    run="firmware_bridge.send_command:run",
)

DEMO = Command(
    name="demo",
    help="two real exams from C-STORE to flags on MQTT, everything on this machine",
    add_arguments=_demo_arguments,
    run="firmware_bridge.demo:run",
)

FRAME_SCHEMA = Command(
    name="frame-schema",
    help="print the JSON Schema of the frame socket's messages (contract 3)",
    add_arguments=lambda _parser: None,
    run="firmware_bridge.frame_schema:run",
)
