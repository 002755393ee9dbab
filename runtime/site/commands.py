"""`mammoedge watch` and `mammoedge tail`, named without importing what they need."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.user_input.argument_types import above_zero, count
from runtime.user_input.command import Command

if TYPE_CHECKING:
    from argparse import ArgumentParser

FLAGS = ("priority", "none", "not_assessed")

TAIL_EXIT_CODES = """\
exit codes:
  0    --until or --count was met; or, without them, a recording or --timeout came to its end
  1    a fault that is named
  2    wrong usage
  3    the time was over, or the recording at its end, before --until or --count was met
  4    the same, and the broker was never reached
  130  interrupted

--until waits for ONE message that has all of KEY=VALUE[,KEY=VALUE...]:
  unit    a unit's name             kind    as --kind
  flag    priority, none, not_assessed (of an exam or a view)
  final   true, false (of an exam)  exam    the first digits of its key
  state   online, degraded, offline event   exposure, disk_low, expired, ...
  seq     this number, or a higher one

  mammoedge tail --site st-anna --until flag=priority,final=true --timeout 600 && page-somebody
"""


def _source_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--site", help="the site's name (of a recording: its own)")
    broker = parser.add_argument_group("the broker")
    broker.add_argument(
        "--broker", default="localhost", metavar="HOST[:PORT]", help="(%(default)s; port 8883)"
    )
    broker.add_argument("--ca", type=Path, metavar="FILE", help="who may vouch for the broker")
    broker.add_argument("--certificate", type=Path, metavar="FILE", help="ours, PEM")
    broker.add_argument("--key", type=Path, metavar="FILE", help="its private key, PEM")
    broker.add_argument("--username")
    broker.add_argument("--password-file", type=Path, metavar="FILE")
    broker.add_argument("--no-tls", action="store_true", help="in clear; port 1883")
    broker.add_argument(
        "--session",
        metavar="NAME",
        help="a session that outlives this command: what comes meanwhile is heard next time",
    )
    broker.add_argument("--group", help="share the messages with others of this group ($share)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a recording, no broker")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write what is heard")
    parser.add_argument(
        "--follow-gaps", action="store_true", help="ask the unit again for what is missing"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def _watch_arguments(parser: ArgumentParser) -> None:
    _source_arguments(parser)
    parser.add_argument(
        "--snapshot", action="store_true", help="with --json: only the picture, at the end"
    )
    parser.add_argument(
        "--rows", action="store_true", help="with --json: every kept row in the picture, too"
    )
    parser.add_argument(
        "--keep", type=count, default=2000, help="rows to remember of each unit (%(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=above_zero,
        help="stop after this time (without a screen; for ever, --snapshot: 3)",
    )
    parser.add_argument(
        "--speed",
        type=above_zero,
        help="of --replay on the screen: 1 as it was (%(default)s)",
        default=1.0,
    )


def _tail_arguments(parser: ArgumentParser) -> None:
    parser.set_defaults(keep=2000)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = TAIL_EXIT_CODES
    _source_arguments(parser)
    parser.add_argument("--unit", action="append", default=[], help="only of it; again for more")
    parser.add_argument(
        "--flag", action="append", default=[], choices=FLAGS, help="only exams and views with it"
    )
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="KIND",
        help="exam, view, event, drift, status, health, gap_opened, gap_closed, conflict, foreign,"
        " command, alarm, connected, ...; again for more (all but health and double)",
    )
    parser.add_argument("--until", metavar="CONDITION", help="stop when it is met (see below)")
    parser.add_argument("--count", type=count, help="stop after so many lines")
    parser.add_argument("--timeout", type=above_zero, metavar="SECONDS", help="stop then")


WATCH = Command(
    name="watch",
    help="a site on the terminal: units, flags as they come, latency, backlog, gaps",
    add_arguments=_watch_arguments,
    run="runtime.site.terminal.watch:watch_command",
)
TAIL = Command(
    name="tail",
    help="what units say, as lines; waits for conditions",
    add_arguments=_tail_arguments,
    run="runtime.site.terminal.tail:tail_command",
)
