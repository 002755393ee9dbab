"""The state of the unit itself, in figures and in troubles that have a code. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.messages.status_reason import BY_REASON, StatusReason

if TYPE_CHECKING:
    from runtime.ledger.outbox import Backlog
    from runtime.messages.payloads import StatusFacts

BROKER_GRACE_MS = 10_000
"""A connection that is away for less alarms nobody: a broker that is restarted."""
RESTARTS_NOTED = 3


LARGE = frozenset(
    {
        StatusReason.WORKER_NOT_READY,
        StatusReason.BACKLOG_FULL,
        StatusReason.DISK_LOW,
        StatusReason.STORAGE_FAILED,
        StatusReason.LEDGER_FAILED,
        StatusReason.BROKER_AWAY,
        StatusReason.STARTING,
    }
)
"""These change what the technologist can rely on now; the others can wait for the engineer."""


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
    large: tuple[str, ...]
    """Codes of what changes the technologist's work."""
    small: tuple[str, ...]
    """The other codes."""


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
    found = [BY_REASON[reason] for reason in status.reasons if reason in BY_REASON]
    if link.away_since_ms is not None and now_ms - link.away_since_ms >= BROKER_GRACE_MS:
        found.append(StatusReason.BROKER_AWAY)
    if status.fallback_reason:
        found.append(StatusReason.DEVICE_FALLBACK)
    if worker_restarts >= RESTARTS_NOTED:
        found.append(StatusReason.WORKER_RESTARTS)
    if status.unsigned_package:
        found.append(StatusReason.UNSIGNED_PACKAGE)
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
        large=tuple(trouble.code for trouble in found if trouble in LARGE),
        small=tuple(trouble.code for trouble in found if trouble not in LARGE),
    )
