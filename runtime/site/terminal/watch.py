"""`mammoedge watch`: a site on the terminal; as JSON, or as lines where there is no terminal."""

from __future__ import annotations

import json
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from runtime.site.terminal.filters import Selection
from runtime.site.terminal.lines import line_of
from runtime.site.terminal.sources import listening
from runtime.site.terminal.tail import EXIT_DONE, EXIT_FAULT, EXIT_NOT_REACHED, EXIT_USAGE
from runtime.system.stop_signals import StopSignals

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from runtime.site.live_model.change import Change
    from runtime.site.live_model.site_state import SiteState
    from runtime.site.terminal.feed import LiveFeed

SNAPSHOT_S = 3.0
TURN_S = 0.2


def watch_command(arguments: Namespace) -> int:
    """The screen; or JSON lines and the state at the end. 4: the broker was never reached."""
    if (arguments.snapshot or arguments.rows) and not arguments.json:
        print("mammoedge: --snapshot and --rows go with --json", file=sys.stderr)
        return EXIT_USAGE
    missing = None if arguments.json else why_no_screen()
    if missing is not None:
        print(f"mammoedge: {missing}: lines instead of the screen", file=sys.stderr)
    on_screen = missing is None and not arguments.json
    try:
        with listening(arguments, speed=arguments.speed if on_screen else 0.0) as opened:
            if on_screen:
                return _screen(opened)
            return _stream(opened, arguments)
    except BrokenPipeError:
        raise  # the command line's own business
    except OSError as error:
        print(f"mammoedge: {error}", file=sys.stderr)
        return EXIT_FAULT


def why_no_screen() -> str | None:
    """Why there can be no screen here; None if there can."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return "this is no terminal (--json for machines)"
    if find_spec("textual") is None:
        return "Textual is not installed (pip install 'mammoedge[watch]')"
    return None


def _screen(opened: LiveFeed) -> int:
    from runtime.site.terminal.screen import SiteScreen

    return int(SiteScreen(opened).run() or 0)


def _stream(opened: LiveFeed, arguments: Namespace) -> int:
    seconds = arguments.seconds
    if seconds is None and arguments.snapshot and arguments.replay is None:
        seconds = SNAPSHOT_S
    with StopSignals() as stopped:
        reached = _hear(opened, _writer(arguments), seconds, stopped)
    if arguments.json:
        site_state = site_state_json(opened.site_state, rows=arguments.rows)
        print(json.dumps({"picture": site_state}), flush=True)
    if not reached:
        reason = opened.site_state.link.reason if opened.site_state.link else "no answer"
        print(f"mammoedge: the broker was never reached: {reason}", file=sys.stderr)
        return EXIT_NOT_REACHED
    return EXIT_DONE


def _writer(arguments: Namespace) -> Callable[[Change], None]:
    everything = Selection()

    def write(change: Change) -> None:
        if arguments.json:
            if not arguments.snapshot:
                print(json.dumps(change.as_json()), flush=True)
        elif everything.takes(change):
            print(line_of(change), flush=True)

    return write


def _hear(
    opened: LiveFeed,
    write: Callable[[Change], None],
    seconds: float | None,
    stopped: StopSignals,
) -> bool:
    """Until the time is over, the recording ends or a signal comes; whether it was ever live."""
    deadline_s = None if seconds is None else time.monotonic() + seconds
    reached = False
    while not stopped.event.is_set() and not opened.finished:
        if deadline_s is not None and time.monotonic() >= deadline_s:
            break
        for change in opened.turn(TURN_S):
            write(change)
        reached = reached or opened.site_state.connected
    return reached or opened.finished


def site_state_json(site_state: SiteState, *, rows: bool) -> dict[str, object]:
    """The whole state for machines; with `rows`, each unit's kept rows as its outbox has them."""
    said = site_state.as_json()
    if rows:
        for unit in said["units"]:
            unit["rows"] = [
                {"seq": row.seq, "kind": row.kind, "topic": row.topic,
                 "payload": json.loads(row.payload)}
                for row in site_state.units[unit["unit"]].rows()
            ]  # fmt: skip
    return said
