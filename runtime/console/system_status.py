"""The state of the box itself, in figures and in troubles that have a code. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.ledger.outbox import Backlog
    from runtime.messages.payloads import StatusFacts

BROKER_GRACE_MS = 10_000
"""A connection that is away for less is not worth a word: a broker that is restarted."""
RESTARTS_NOTED = 3


class StatusCode(StrEnum):
    """What is not well: a code to read out on the telephone; README has the list for engineers."""

    STARTING = "S1"
    WORKER_DOWN = "W1"
    WORKER_RESTARTS = "W2"
    DEVICE_FALLBACK = "W3"
    BACKLOG_FULL = "W4"
    DISK_LOW = "D1"
    BROKER_AWAY = "B1"
    ROWS_PARKED = "B2"
    NAME_TAKEN = "B3"
    CONNECTION_UNSTABLE = "B4"
    CERTIFICATE_ENDS_SOON = "B5"
    CLOCK_JUMPED = "C1"
    UNSIGNED_PACKAGE = "M1"


LARGE = frozenset(
    {
        StatusCode.WORKER_DOWN,
        StatusCode.BACKLOG_FULL,
        StatusCode.DISK_LOW,
        StatusCode.BROKER_AWAY,
        StatusCode.STARTING,
    }
)
"""These change what she can rely on now; the others are for the next visit of the engineer."""
FROM_REASON = {
    "starting": StatusCode.STARTING,
    "worker_not_ready": StatusCode.WORKER_DOWN,
    "backlog_full": StatusCode.BACKLOG_FULL,
    "disk_low": StatusCode.DISK_LOW,
    "rows_parked": StatusCode.ROWS_PARKED,
    "name_taken": StatusCode.NAME_TAKEN,
    "connection_unstable": StatusCode.CONNECTION_UNSTABLE,
    "certificate_ends_soon": StatusCode.CERTIFICATE_ENDS_SOON,
    "clock_jumped": StatusCode.CLOCK_JUMPED,
}


@dataclass(frozen=True, kw_only=True)
class BrokerLink:
    """The connection to the site's broker. Times: ms since the epoch, UTC."""

    connected: bool
    away_since_ms: int | None


@dataclass(frozen=True, kw_only=True)
class SystemStatus:
    """What the foot of the page shows."""

    broker_connected: bool
    messages_waiting: int
    waiting_since_ms: int | None
    model: str
    model_version: str
    software_version: str
    requested_device: str
    actual_device: str | None
    worker_restarts: int
    disk_free_mb: float
    large: tuple[StatusCode, ...]
    small: tuple[StatusCode, ...]


def system_status_of(
    status: StatusFacts,
    *,
    link: BrokerLink,
    backlog: Backlog,
    disk_free_mb: float,
    worker_restarts: int,
    now_ms: int,
) -> SystemStatus:
    """What the parts of the service say, as one state."""
    found = [FROM_REASON[reason] for reason in status.reasons if reason in FROM_REASON]
    if link.away_since_ms is not None and now_ms - link.away_since_ms >= BROKER_GRACE_MS:
        found.append(StatusCode.BROKER_AWAY)
    if status.fallback_reason:
        found.append(StatusCode.DEVICE_FALLBACK)
    if worker_restarts >= RESTARTS_NOTED:
        found.append(StatusCode.WORKER_RESTARTS)
    if status.unsigned_package:
        found.append(StatusCode.UNSIGNED_PACKAGE)
    return SystemStatus(
        broker_connected=link.connected,
        messages_waiting=backlog.waiting,
        waiting_since_ms=backlog.oldest_at_ms,
        model=status.model.name if status.model else "",
        model_version=status.model.version if status.model else "",
        software_version=status.versions.get("mammoedge", ""),
        requested_device=status.requested_device or "",
        actual_device=status.actual_device,
        worker_restarts=worker_restarts,
        disk_free_mb=round(disk_free_mb),
        large=tuple(trouble for trouble in found if trouble in LARGE),
        small=tuple(trouble for trouble in found if trouble not in LARGE),
    )
