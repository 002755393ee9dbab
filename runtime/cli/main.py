"""The `mammoedge` command. Those of the site and of other folders arrive by entry point."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import MammoedgeError
from runtime.mqtt_contract.declaration import ASYNCAPI
from runtime.site_trust.arguments import add_site_arguments
from runtime.user_input.argument_types import image_type_term
from runtime.user_input.command import Command, print_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=Path("unit.toml"), help="the unit's settings (%(default)s)"
    )


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="INFO")


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="where (%(default)s)")
    parser.add_argument("--site", help="the site's name (my-site)")
    parser.add_argument("--unit", default="unit-1", help="this unit's name (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace an existing unit.toml")
    add_site_arguments(parser)


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def _backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the backup")
    _config(parser)


def _judge_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="DICOM files")
    parser.add_argument("--package", type=Path, help="model package (the reference package)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "bf16", "int8"),
        help="(what the package advises, else its nearest to the source)",
    )
    parser.add_argument("--operating-point", default="balanced")
    parser.add_argument(
        "--device",
        action="append",
        dest="devices",
        metavar="DEVICE",
        help="NPU, GPU or CPU, in order of preference; may be given again (CPU)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (OpenVINO's choice)")
    parser.add_argument(
        "--accept-image-type",
        action="append",
        dest="accept_image_types",
        type=image_type_term,
        metavar="TERM",
        help="judge images with this unknown term of Image Type; may be given again, as"
        " model.accept_image_types of unit.toml",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="what was read from where and used or passed over, and what each code means",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="OUT.png",
        help="the picture that the model sees, the breast outlined; OUT-1.png, … of several files",
    )


def _reference_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "page",
        help="unit-toml, site-toml, manifest, recipe, commands or dicom; Markdown is printed",
    )


OWN_COMMANDS = (
    Command(
        name="run",
        help="run the service of a unit until it is told to stop",
        add_arguments=_run_arguments,
        run="runtime.unit.service:run_command",
    ),
    Command(
        name="init",
        help="write a commented unit.toml and a site key; or make and keep a site's certificates",
        add_arguments=_init_arguments,
        run="runtime.cli.init:init_command",
    ),
    Command(
        name="check",
        help="check settings, disk, devices, package and broker: a verdict each",
        add_arguments=_check_arguments,
        run="runtime.cli.check:check_command",
    ),
    Command(
        name="backup",
        help="copy ledger, site key and settings of a unit into a new folder, while it runs, too",
        add_arguments=_backup_arguments,
        run="runtime.cli.backup:backup_command",
    ),
    Command(
        name="restore",
        help="put a backup back on a unit that does not run; what is there is set aside",
        add_arguments=_backup_arguments,
        run="runtime.cli.backup:restore_command",
    ),
    Command(
        name="judge",
        help="flags for files on disk, with no services at all",
        add_arguments=_judge_arguments,
        run="runtime.cli.judge:judge_command",
    ),
    Command(
        name="reference",
        help="print every key of a file, or every command, from the types that check them",
        add_arguments=_reference_arguments,
        run="runtime.cli.reference:reference_command",
    ),
    ASYNCAPI,
)


def commands() -> list[Command]:
    """Our own commands, then those of installed packages by name."""
    points = sorted(entry_points(group="mammoedge.commands"), key=lambda point: point.name)
    return [*OWN_COMMANDS, *(point.load() for point in points)]


def parser_for(available: Sequence[Command]) -> argparse.ArgumentParser:
    """The command line of all `available` commands."""
    parser = argparse.ArgumentParser(
        prog="mammoedge",
        description="Edge runtime for screening mammography. Research use only: not for care.",
        epilog="Exit codes: 0 done, 1 a fault that is named, 2 wrong usage or settings.",
    )
    parser.add_argument("--version", action="version", version=version("mammoedge"))
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in available:
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help)
        command.add_arguments(subparser)
        subparser.set_defaults(command=command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and runs the command that it names; the exit code."""
    arguments = parser_for(commands()).parse_args(argv)
    return run_command(arguments.command, arguments)


def run_command(command: Command, arguments: argparse.Namespace) -> int:
    """The command's exit code. What our own code raises on purpose is told line by line.

    Anything else is a defect, and shows where.
    """
    try:
        return command.call(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Somebody closed the pipe that we write to (`| head`); Python must not complain at exit.
        sys.stderr.close()
        return EXIT_FAULT
    except ImportError as error:
        print(f"mammoedge: {error}; is the extra for this command installed?", file=sys.stderr)
        return EXIT_FAULT
    except MammoedgeError as error:
        return print_fault(error)
    except OSError as error:
        print(f"mammoedge: {error}", file=sys.stderr)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
