"""The options of `mammoedge init` that make and keep a site's trust. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

LEAF_DAYS = 730
RENEW_WITHIN_DAYS = 90


def add_site_arguments(parser: ArgumentParser) -> None:
    """Any of the first four makes `init` work on a site instead of a unit."""
    site = parser.add_argument_group(
        "a site", "its private authority, its broker's files, and those of each unit"
    )
    site.add_argument(
        "--broker",
        action="append",
        metavar="HOST",
        help="make a site whose broker is reached under this name or address; may be given again",
    )
    site.add_argument(
        "--add-unit", action="append", metavar="NAME", help="files for a unit; may be given again"
    )
    site.add_argument(
        "--renew",
        nargs="*",
        metavar="NAME",
        help="new certificates for units, _broker or _site; without a name for all that end within"
        f" {RENEW_WITHIN_DAYS} days",
    )
    site.add_argument(
        "--revoke", action="append", metavar="NAME", help="take back all that a unit was given"
    )
    site.add_argument("--port", type=int, default=8883, help="the broker's port (%(default)s)")
    site.add_argument(
        "--days", type=int, default=LEAF_DAYS, help="how long certificates last (%(default)s)"
    )
    site.add_argument(
        "--broker-folder",
        default="/etc/mosquitto/mammoedge",
        metavar="DIR",
        help="where the files will lie at the broker (%(default)s)",
    )
    site.add_argument(
        "--broker-state",
        default="/var/lib/mosquitto",
        metavar="DIR",
        help="where the broker keeps its state (%(default)s)",
    )
    site.add_argument(
        "--sparkplug", action="store_true", help="access rules for Sparkplug B as well"
    )
    site.add_argument("--json", action="store_true", help="one JSON object")


def is_about_a_site(arguments: Namespace) -> bool:
    """Whether these options were given."""
    return bool(
        arguments.broker or arguments.add_unit or arguments.renew is not None or arguments.revoke
    )
