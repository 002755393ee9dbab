"""How much the live model of a site remembers, whatever is said to it."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.timing.replay_schedule import LONGEST_JUMP


@dataclass(frozen=True, kw_only=True)
class MemoryLimits:
    """How much the model remembers; what is older goes, and is counted where it matters.

    `rows`: whole messages kept by number (0: none, for a service with a database of its own).
    `digests`: rows by whose hash a conflict is told from a double, 8 bytes each.
    """

    units: int = 2000
    rows: int = 2000
    digests: int = 5000
    exams: int = 500
    views: int = 2000
    events: int = 200
    drifts: int = 31
    spans: int = 256
    boots: int = 16
    longest_jump: int = LONGEST_JUMP
    highest_start: int = 10**9
