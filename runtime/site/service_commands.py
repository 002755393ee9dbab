"""The `mammoedge site` command and its own subcommands. Imports nothing heavy."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.user_input.command import Command

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _config(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=Path("site.toml"), help="the site's settings (%(default)s)"
    )


def _export_arguments(parser: ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    parser.add_argument(
        "--table", choices=("exams", "images", "events", "hours", "alarms"), default="exams"
    )
    parser.add_argument("--since", metavar="YYYY-MM-DD", help="first day, UTC (everything kept)")
    parser.add_argument("--until", metavar="YYYY-MM-DD", help="last day, UTC (today)")
    parser.add_argument("-o", "--output", type=Path, help="file; csv: standard output without it")


def _password_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="of the person")
    parser.add_argument(
        "--file", type=Path, default=Path("site.passwords"), help="page.password_file (%(default)s)"
    )
    parser.add_argument("--remove", action="store_true", help="take the person out")
    parser.add_argument("--owner", metavar="USER", help="as whom the service runs (root may say)")


def _retire_arguments(parser: ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("unit", help="the unit's name")
    parser.add_argument("--undo", action="store_true", help="it is in service again")


def _report_arguments(parser: ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("--month", metavar="YYYY-MM", help="the month, UTC (the last whole one)")
    parser.add_argument("--language", choices=("en", "de", "es", "fr"), default="en")
    parser.add_argument("--unit", metavar="SITE/UNIT", help="of that unit alone (all)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="HTML file to write")


# A place for those of others: each becomes `mammoedge site NAME`.
SUBCOMMANDS: tuple[Command, ...] = (
    Command(
        name="export",
        help="exams, images, events, hours or alarms as CSV or Parquet",
        add_arguments=_export_arguments,
        run="runtime.site.report.export:export_command",
    ),
    Command(
        name="password",
        help="who may look at the fleet page: sets a person's password, asked twice",
        add_arguments=_password_arguments,
        run="runtime.site.sign_in.password_command:password_command",
    ),
    Command(
        name="retire",
        help="take a unit out of service: it keeps its books, and must not speak again",
        add_arguments=_retire_arguments,
        run="runtime.site.service.retire:retire_command",
    ),
    Command(
        name="report",
        help="a month as one HTML page with charts, of all units or one",
        add_arguments=_report_arguments,
        run="runtime.site.report.monthly_report:report_command",
    ),
)


def _site_arguments(parser: ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="INFO")
    parser.add_argument(
        "--check", action="store_true", help="settings, database, broker, webhook, page, ports; end"
    )
    parser.add_argument("--json", action="store_true", help="with --check: one object per line")
    inner = parser.add_subparsers(metavar="[SUBCOMMAND]")
    for command in SUBCOMMANDS:
        subparser = inner.add_parser(command.name, help=command.help, description=command.help)
        command.add_arguments(subparser)
        subparser.set_defaults(site_subcommand=command)


def run_site(arguments: Namespace) -> int:
    """The subcommand that was named, else the service."""
    named: Command | None = getattr(arguments, "site_subcommand", None)
    return (named or _SERVICE).call(arguments)


_SERVICE = Command(
    name="site",
    help="run the service of a site until it is told to stop",
    add_arguments=_site_arguments,
    run="runtime.site.service.command:site_command",
)

SITE = Command(
    name="site",
    help="the service of a site: hears all units, stores what they say, watches, alarms",
    add_arguments=_site_arguments,
    run="runtime.site.service_commands:run_site",
)


def _at_least(least: int) -> Callable[[str], int]:
    """A whole number from `least` on, for argparse."""

    def whole(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no whole number") from None
        if number < least:
            raise ArgumentTypeError(f"{number} is less than {least}")
        return number

    return whole


def _pace(text: str) -> float:
    """A pace from 0 on, for argparse."""
    try:
        pace = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no number") from None
    if not 0.0 <= pace < float("inf"):
        raise ArgumentTypeError(f"{text} is no pace: 0 or more")
    return pace


def _simulation_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--units", type=_at_least(1), default=100, help="how many (%(default)s)")
    parser.add_argument("--exams", type=_at_least(1), default=20, help="of each unit (%(default)s)")
    parser.add_argument(
        "--exams-per-second",
        type=_pace,
        default=0.0,
        help="of all units together; 0: as fast as it goes",
    )
    parser.add_argument("--broker", metavar="HOST:PORT", help="else a Mosquitto of its own")
    parser.add_argument("--database", help="of the service; else a SQLite file that is removed")
    parser.add_argument(
        "--services", type=_at_least(1), default=1, help="share the load (%(default)s)"
    )
    parser.add_argument(
        "--processes", type=_at_least(1), help="that play the units (one for 250 units)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object at the end")


SIMULATE_SITE = Command(
    name="simulate-site",
    help="units by the hundred against one site service: flags a second, latency, loss, memory",
    add_arguments=_simulation_arguments,
    run="runtime.site.simulation.command:simulate_command",
)
