"""A change as one line for people. What came from outside cannot steer a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.messages.alarm import AlarmMessage
from runtime.messages.payloads import (
    DriftMessage,
    EventMessage,
    ExamMessage,
    HealthMessage,
    StatusMessage,
    ViewMessage,
)
from runtime.site.live_model.change import ChangeKind
from runtime.site.subscriber.parsing import CommandHeard, Foreign
from runtime.timing.timestamps import utc_text

if TYPE_CHECKING:
    from runtime.site.live_model.change import Change

KEY_DIGITS = 8
"""Of a pseudonym, enough to tell a day's exams apart."""


def printable(text: str, limit: int = 120) -> str:
    """Without control characters (a terminal would obey them), and not longer than that."""
    shown = "".join(character if character.isprintable() else "·" for character in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def line_of(change: Change) -> str:
    """Time (UTC), unit, what, and what about it."""
    time = utc_text(change.at_ms)[11:23]
    parts = [time, f"{printable(change.unit or '-', 24):<12}", f"{title_of(change):<12}"]
    return " ".join([*parts, printable(what_of(change), 200)]).rstrip()


def title_of(change: Change) -> str:
    """The change's kind, or that of its row."""
    if change.kind is ChangeKind.ROW:
        return f"{_row_kind(change)}{' (again)' if change.replayed else ''}"
    return change.kind.value


def _row_kind(change: Change) -> str:
    kinds = {ExamMessage: "exam", ViewMessage: "view", EventMessage: "event", DriftMessage: "drift"}
    return next((kind for type_, kind in kinds.items() if isinstance(change.message, type_)), "row")


def what_of(change: Change) -> str:
    """What the change says, in words."""
    said = about(change)
    if change.spans:
        said = ", ".join(f"{first}-{last}" for first, last in change.spans)
    elif change.detail:
        said = f"{change.detail} {said}".rstrip()
    if change.latency_ms is not None:
        said += f"  {change.latency_ms:+.0f} ms"
    return said


def about(change: Change) -> str:  # noqa: PLR0911 - one line for each kind of message
    """What the message of a change says."""
    message = change.message
    match message:
        case ExamMessage():
            final = "final" if message.final else "provisional"
            reasons = " ".join(message.reasons[:4])
            return (
                f"{message.flag.upper() if message.flag == 'priority' else message.flag}"
                f" {_score(message.score)} {final} r{message.revision}"
                f" {message.exam_key[:KEY_DIGITS]} seq {message.seq} {reasons}"
            ).rstrip()
        case ViewMessage():
            reasons = " ".join(message.reasons[:4])
            return (
                f"{message.view} {message.flag} {_score(message.score)}"
                f" {message.exam_key[:KEY_DIGITS]} seq {message.seq} {reasons}"
            ).rstrip()
        case EventMessage():
            return f"{message.event} seq {message.seq} {message.detail}".rstrip()
        case DriftMessage():
            psi = "-" if message.psi is None else f"{message.psi:.3f}"
            return f"{message.day} images {message.images} psi {psi} seq {message.seq}"
        case StatusMessage():
            reasons = " ".join(message.reasons)
            return f"{message.state} last_seq {message.last_seq} {reasons}".rstrip()
        case HealthMessage():
            outbox = message.outbox
            return f"waiting {outbox.waiting} parked {outbox.parked} last_seq {message.last_seq}"
        case AlarmMessage():
            return f"{message.alarm} {message.state} {message.severity}: {message.saw}"
        case CommandHeard():
            said = message.as_json()
            return " ".join(str(value) for value in said.values())
        case Foreign():
            return f"{message.reason} {message.detail} {message.size_bytes} bytes".replace(
                "  ", " "
            )
        case _:
            return ""


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"
