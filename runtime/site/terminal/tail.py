"""`mammoedge tail`: changes as lines, until something that a script waits for."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.site.terminal.filters import (
    Condition,
    Selection,
    kind_names,
    parse_condition,
)
from runtime.site.terminal.lines import line_of
from runtime.site.terminal.sources import UsageError, listening
from runtime.system.stop_signals import StopSignals

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable

    from runtime.site.live_model.change import Change
    from runtime.site.terminal.feed import LiveFeed

EXIT_DONE, EXIT_FAULT, EXIT_USAGE, EXIT_NOT_MET, EXIT_NOT_REACHED = 0, 1, 2, 3, 4
TURN_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Ending:
    """When to stop. None: not because of that."""

    condition: Condition | None = None
    count: int | None = None
    timeout_s: float | None = None

    @property
    def waits(self) -> bool:
        """Whether there is something to be met."""
        return self.condition is not None or self.count is not None


def tail_command(arguments: Namespace) -> int:
    """Lines on standard output; the exit code says how it ended (see --help)."""
    try:
        selection, ending = selection_of(arguments), ending_of(arguments)
        with listening(arguments) as opened, StopSignals() as stopped:
            return follow(opened, selection, ending, write=writer(arguments), stopped=stopped)
    except BrokenPipeError:
        raise  # the command line's own business
    except OSError as error:
        print(f"mammoedge: {error}", file=sys.stderr)
        return EXIT_FAULT


def selection_of(arguments: Namespace) -> Selection:
    """`--unit`, `--flag`, `--kind`. Raises UsageError."""
    unknown = [kind for kind in arguments.kind if kind not in kind_names()]
    if unknown:
        raise UsageError(f"--kind {unknown[0]}: expected one of {', '.join(kind_names())}")
    return Selection(
        units=frozenset(arguments.unit),
        flags=frozenset(arguments.flag),
        kinds=frozenset(arguments.kind),
    )


def ending_of(arguments: Namespace) -> Ending:
    """`--until`, `--count`, `--timeout`. Raises ConditionError."""
    condition = parse_condition(arguments.until) if arguments.until else None
    return Ending(condition=condition, count=arguments.count, timeout_s=arguments.timeout)


def writer(arguments: Namespace) -> Callable[[Change], None]:
    """Prints a change as the command line asks; at once, for those who read a pipe."""

    def write(change: Change) -> None:
        print(json.dumps(change.as_json()) if arguments.json else line_of(change), flush=True)

    return write


def follow(
    opened: LiveFeed,
    selection: Selection,
    ending: Ending,
    *,
    write: Callable[[Change], None],
    stopped: StopSignals,
) -> int:
    """Shows what is selected until the end that was asked for; the exit code."""
    deadline_s = None if ending.timeout_s is None else time.monotonic() + ending.timeout_s
    shown, reached = 0, False
    while not stopped.event.is_set():
        for change in _turn(opened, deadline_s):
            if selection.takes(change):
                write(change)
                shown += 1
                if shown == ending.count:
                    return EXIT_DONE
            if ending.condition is not None and ending.condition.met_by(change):
                return EXIT_DONE
        reached = reached or opened.site_state.connected or opened.finished
        if opened.finished or (deadline_s is not None and time.monotonic() >= deadline_s):
            if not ending.waits:
                return EXIT_DONE
            return EXIT_NOT_MET if reached else EXIT_NOT_REACHED
    return stopped.exit_code


def _turn(opened: LiveFeed, deadline_s: float | None) -> Iterable[Change]:
    left_s = TURN_S if deadline_s is None else deadline_s - time.monotonic()
    return opened.turn(max(0.0, min(TURN_S, left_s)))
