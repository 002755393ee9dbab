"""`status` and `health`: what is said again and again, and never numbered."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from runtime.messages.envelope import (
    Code,
    JudgedBy,
    Milliseconds,
    Part,
    ShortText,
    StandingMessage,
    UtcTime,
)
from runtime.messages.vocabulary import Open


class UnitState(StrEnum):
    """Whether the unit can be relied on."""

    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"


class StatusFacts(JudgedBy):
    """What the service knows about itself; the publisher makes `status` of it."""

    reasons: tuple[Code, ...] = Field(default=(), max_length=32, description="why degraded")
    versions: dict[ShortText, ShortText] = Field(
        default_factory=dict, max_length=32, examples=[{"mammoedge": "0.1.0", "openvino": "2026.4"}]
    )
    unsigned_package: bool = Field(
        default=False, description="the active package is neither signed nor the one that ships"
    )
    fallback_reason: str = Field(default="", max_length=512)
    intakes: tuple[Annotated[str, Field(max_length=256)], ...] = Field(
        default=(), max_length=16, description="where images come in"
    )


class StatusMessage(StatusFacts, StandingMessage):
    """Birth, change of state, clean stop, and the will."""

    omitted_when_none: ClassVar[frozenset[str]] = frozenset({"ledger_id", "will", "connected_at"})
    schema_id: Literal["mammoedge.status/1"] = Field(default="mammoedge.status/1", alias="schema")
    state: Open[UnitState]
    ledger_id: ShortText | None = Field(
        default=None,
        description="one ledger's life; `seq` counts within it, and another one begins again at 1",
        examples=["5f1d3c0a9b7e2468"],
    )
    will: Literal[True] | None = Field(
        default=None,
        description="the broker says it for a unit that is gone; it was written when the unit"
        " connected: `at` is not when it went, and `last_seq` not the last number given",
    )
    connected_at: UtcTime | None = Field(
        default=None, description="of a will: when the connection was made that it speaks of"
    )


class Latency(Part):
    """A stage's recent latency in milliseconds."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds
    count: int = Field(ge=0)


class HealthFacts(Part):
    """Figures of the running service."""

    stages: dict[ShortText, Latency] = Field(default_factory=dict, max_length=32)
    queue_depth: int = Field(default=0, ge=0, description="images that wait for the worker")
    memory_mb: dict[ShortText, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, max_length=8, examples=[{"control": 92.5, "worker": 611.0}]
    )
    temperature_c: float | None = None
    disk_free_mb: float | None = Field(default=None, ge=0)
    worker_restarts: int = Field(default=0, ge=0)
    uptime_s: float = Field(default=0.0, ge=0)


class OutboxFacts(Part):
    """The outbox, as the publisher sees it."""

    waiting: int = Field(ge=0)
    oldest_s: float | None = Field(ge=0, description="age of the oldest row that waits")
    parked: int = Field(ge=0)
    commands_refused: int = Field(ge=0, description="since the service started")


class HealthMessage(HealthFacts, StandingMessage):
    """Every 30 s."""

    schema_id: Literal["mammoedge.health/1"] = Field(default="mammoedge.health/1", alias="schema")
    outbox: OutboxFacts
