"""The subcommands of this folder, light enough for `mammoedge --help`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.user_input.argument_types import above_zero, count, share, up_to_one, zero_or_more
from runtime.user_input.command import Command

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
        "--timeout-s",
        type=above_zero,
        default=90.0,
        metavar="S",
        help="give up after this long",
    )


def _tls_arguments(parser: ArgumentParser) -> None:
    for name, what in (
        ("certificate", "our certificate"),
        ("key", "its private key"),
        ("ca", "authorities that may vouch for the receiver"),
    ):
        parser.add_argument(f"--{name}", metavar="PEM", help=f"TLS: {what}")


def _simulate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        required=True,
        metavar="AE@HOST:PORT|frames:SOCKET",
        help="a DICOM port, or the path of a frame socket",
    )
    parser.add_argument("--units", type=count, default=1, metavar="N", help="at once (%(default)s)")
    parser.add_argument("--exams", type=count, default=10, metavar="N", help="each (%(default)s)")
    parser.add_argument(
        "--exams-per-hour",
        type=zero_or_more,
        default=12.0,
        metavar="N",
        help="of each unit; 0: as fast as the receiver takes them (%(default)s)",
    )
    parser.add_argument(
        "--from", dest="exams_from", metavar="DIR", help="a folder of exams instead of phantoms"
    )
    parser.add_argument(
        "--vendor",
        dest="vendors",
        action="append",
        metavar="NAME",
        help="shape of the phantoms: ge, hologic, siemens, fujifilm; may be given again (all)",
    )
    parser.add_argument(
        "--scale",
        type=up_to_one,
        default=1.0,
        metavar="F",
        help="phantoms with fewer, larger pixels: 0.25 has a quarter of the rows (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of phantoms and events (%(default)s)")
    parser.add_argument(
        "--no-mpps", action="store_true", help="do not say when exams end (MPPS, exam_closed)"
    )
    parser.add_argument(
        "--wait-flags",
        type=zero_or_more,
        default=30.0,
        metavar="S",
        help="after the last exam, for the flags that come back by frame socket (%(default)s)",
    )
    for name, rate, what in (
        ("retakes", 0.03, "of views that are rejected and taken again"),
        ("magnifications", 0.02, "of views after which a magnification view follows"),
        ("implants", 0.02, "of exams with an implant"),
        ("faults", 0.02, "of exams in which the connection breaks inside an image"),
        ("reboots", 0.005, "of exams in which the unit restarts"),
    ):
        parser.add_argument(
            f"--{name}", type=share, default=rate, metavar="P", help=f"share {what} (%(default)s)"
        )
    _tls_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object for each exam")


def _doctor_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("what", choices=("unit",), help="what to examine")
    parser.add_argument(
        "--config", default="unit.toml", metavar="FILE", help="the unit's settings (%(default)s)"
    )
    parser.add_argument(
        "--calling", default="DOCTOR", metavar="AE", help="our own AE title (%(default)s)"
    )
    parser.add_argument(
        "--timeout-s",
        type=above_zero,
        default=30.0,
        metavar="S",
        help="for the flag to come back",
    )
    _tls_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


SEND = Command(
    name="send",
    help="send DICOM files as an acquisition workstation would (C-STORE)",
    add_arguments=_send_arguments,
    run="firmware_bridge.sender.command:run",
)

DEMO = Command(
    name="demo",
    help="two real exams from C-STORE to flags on MQTT, everything on this machine",
    add_arguments=_demo_arguments,
    run="firmware_bridge.demo.command:run",
)

SIMULATE_UNIT = Command(
    name="simulate-unit",
    help="play units at a clinic's pace by DICOM or frame socket, with phantoms or own exams",
    add_arguments=_simulate_arguments,
    run="firmware_bridge.simulator.command:run",
)

DOCTOR = Command(
    name="doctor",
    help="examine a running unit: echo, association, contexts, a phantom exam there and back",
    add_arguments=_doctor_arguments,
    run="firmware_bridge.doctor.command:run",
)

FRAME_SCHEMA = Command(
    name="frame-schema",
    help="print the JSON Schema of the frame socket's messages",
    add_arguments=lambda _parser: None,
    run="firmware_bridge.frame_protocol.json_schema:run",
)
