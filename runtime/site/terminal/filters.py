"""Which changes one wants to see, and which one waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.errors import OperatorError
from runtime.image.outcome import Flag
from runtime.messages.payloads import EventKind, EventMessage, ExamMessage, StatusMessage, UnitState
from runtime.messages.payloads import ViewMessage as View
from runtime.site.live_model.change import ChangeKind
from runtime.site.terminal.lines import title_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.site.live_model.change import Change

ROW_KINDS = ("exam", "view", "event", "drift")
QUIET_KINDS = frozenset({ChangeKind.DOUBLE, ChangeKind.HEALTH})
"""Not shown unless they are asked for."""


class ConditionError(OperatorError, ValueError):
    """The words of `--until` are none; the text says what was expected."""


def kind_names() -> tuple[str, ...]:
    """What `--kind` takes: the kinds of row, and every other change."""
    return (*ROW_KINDS, *(kind.value for kind in ChangeKind if kind is not ChangeKind.ROW))


def kind_of(change: Change) -> str:
    """The kind by which a change is chosen."""
    return title_of(change).split(" ")[0]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is shown. Empty: everything, but doubles and health."""

    units: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()

    def takes(self, change: Change) -> bool:
        """Whether a change is to be shown."""
        if self.units and change.unit not in self.units:
            return False
        if self.flags:
            message = change.message
            flagged = isinstance(message, ExamMessage | View) and message.flag in self.flags
            if not flagged:
                return False
        return kind_of(change) in self.kinds if self.kinds else change.kind not in QUIET_KINDS


def _seq(change: Change) -> int:
    return int(getattr(change.message, "seq", 0))


def _is_true(text: str) -> bool:
    return text == "true"


# Key -> (values that it takes, None for any; whether a change meets a value).
CONDITIONS: dict[str, tuple[tuple[str, ...] | None, Callable[[Change, str], bool]]] = {
    "unit": (None, lambda change, value: change.unit == value),
    "kind": (kind_names(), lambda change, value: kind_of(change) == value),
    "flag": (
        tuple(Flag),
        lambda change, value: getattr(change.message, "flag", None) == value,
    ),
    "final": (
        ("true", "false"),
        lambda change, value: (
            isinstance(change.message, ExamMessage) and change.message.final == _is_true(value)
        ),
    ),
    "state": (
        tuple(UnitState),
        lambda change, value: (
            isinstance(change.message, StatusMessage) and change.message.state == value
        ),
    ),
    "event": (
        tuple(EventKind),
        lambda change, value: (
            isinstance(change.message, EventMessage) and change.message.event == value
        ),
    ),
    "exam": (
        None,
        lambda change, value: str(getattr(change.message, "exam_key", "")).startswith(value),
    ),
    "seq": (None, lambda change, value: _seq(change) >= int(value)),
}
CONDITION_HELP = (
    "KEY=VALUE[,KEY=VALUE...], all of one message: unit, kind, flag, final (true, false), state,"
    " event, exam (the key's first digits), seq (this number or a higher one)"
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What one waits for: all of it, in one change."""

    parts: tuple[tuple[str, str], ...]

    def met_by(self, change: Change) -> bool:
        """Whether this is it."""
        return all(CONDITIONS[key][1](change, value) for key, value in self.parts)


def parse_condition(text: str) -> Condition:
    """`flag=priority,unit=mammo-1`.

    Raises:
        ConditionError: there is no such key, or it does not take that value.
    """
    parts = []
    for word in text.split(","):
        key, equals, value = word.strip().partition("=")
        if not equals or key not in CONDITIONS or not value:
            raise ConditionError(f"{word!r}: expected {CONDITION_HELP}")
        allowed = CONDITIONS[key][0]
        if allowed is not None and value not in allowed:
            raise ConditionError(f"{key}={value}: expected one of {', '.join(allowed)}")
        if key == "seq" and not (value.isascii() and value.isdigit()):
            raise ConditionError(f"seq={value}: expected a number")
        parts.append((key, value))
    return Condition(parts=tuple(parts))
