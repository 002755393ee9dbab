"""What a message changed in the state of a site: values for whoever shows, stores or counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from runtime.timing.timestamps import utc_text

if TYPE_CHECKING:
    from runtime.messages.alarm import AlarmMessage
    from runtime.messages.payloads import Message
    from runtime.site.subscriber.parsing import CommandHeard, Foreign


class ChangeKind(StrEnum):
    """What can change. The list is closed."""

    UNIT_NEW = "unit_new"
    """A unit was heard for the first time."""
    STATUS = "status"
    HEALTH = "health"
    ROW = "row"
    """A numbered message that was not there before."""
    DOUBLE = "double"
    """The same row again: nothing changed but a count."""
    CONFLICT = "conflict"
    """Another message under a number that was taken: two units of one name, or a forger."""
    STALE = "stale"
    """A row of a ledger that the unit has lost since: not entered."""
    FORGOTTEN = "forgotten"
    """A row from further back than the model remembers: whether it is new cannot be said."""
    GAP_OPENED = "gap_opened"
    GAP_CLOSED = "gap_closed"
    SEQ_RESTARTED = "seq_restarted"
    """A new start of the unit counts from further back: its ledger was lost or put back."""
    LEDGER_ROLLED_BACK = "ledger_rolled_back"
    """A ledger that we know by its name has given fewer numbers than we heard, or one of them
    again with another content: it was put back from a copy."""
    TWO_UNITS = "two_units"
    """A start of the unit that was over speaks again: two units under one name."""
    CLEARED = "cleared"
    """An expired flag was taken off its retained topic."""
    COMMAND = "command"
    ALARM = "alarm"
    FOREIGN = "foreign"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change. `at_ms`: when we heard of it, UTC. `generation`: see `KnownUnit`.

    `replayed`: a row that came below the highest number, so after a request or a fault.
    `spans`: of a gap, its numbers, first and last included.
    """

    kind: ChangeKind
    at_ms: int
    unit: str = ""
    generation: int = 0
    message: Message | AlarmMessage | CommandHeard | Foreign | None = None
    replayed: bool = False
    latency_ms: float | None = None
    spans: tuple[tuple[int, int], ...] = ()
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """One line of `watch --json`: only what this kind of change says."""
        said: dict[str, Any] = {"change": self.kind.value, "heard_at": utc_text(self.at_ms)}
        if self.unit:
            said["unit"] = self.unit
        if isinstance(self.message, BaseModel):
            said["message"] = self.message.model_dump(mode="json", by_alias=True)
        elif self.message is not None:
            said["message"] = self.message.as_json()
        for name in ("generation", "replayed", "latency_ms", "spans", "detail"):
            value = getattr(self, name)
            if value:
                said[name] = value
        return said
