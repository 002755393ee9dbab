"""How the site's service itself is doing: one value for page, metrics and its own row."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """A moment of the service. Times: ms since the epoch, UTC. "" means: nothing is wrong."""

    service: str
    started_ms: int
    site: str = ""
    group: str | None = None
    """The shared subscription by which we listen; None: we share with nobody."""
    broker_up: bool = False
    broker_problem: str = "not connected yet"
    database_fault: str = ""
    """full, locked, gone or refused; nothing is acknowledged to the broker meanwhile."""
    database_problem: str = ""
    fault_since_ms: int | None = None
    webhook_problem: str = ""
    watching: bool = False
    """Whether this service, of those on one database, judges and alarms."""
    committed: int = 0
    """Messages stored since the start."""
    duplicates: int = 0
    foreign: int = 0
    unread_dropped: int = 0
    waiting: int = 0
    """Messages that are here, not committed and not acknowledged."""
    last_commit_ms: int | None = None
    commit_p50_ms: float = 0.0
    commit_p95_ms: float = 0.0
    expiry_missing_ms: dict[str, int] = field(default_factory=dict)
    """By unit, when a flag of it last came without its expiry."""

    @property
    def well(self) -> bool:
        """Whether what units say arrives in the store."""
        return self.broker_up and not self.database_fault


class StateBoard:
    """The newest state. Thread-safe."""

    def __init__(self, first: ServiceState) -> None:
        self._state = first
        self._lock = threading.Lock()

    def now(self) -> ServiceState:
        """The state of this moment."""
        with self._lock:
            return self._state

    def say(self, **changes: Any) -> None:
        """Changes some of it."""
        with self._lock:
            self._state = replace(self._state, **changes)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self.now())
