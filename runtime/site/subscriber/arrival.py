"""What a subscriber hears: a message, or a change of its own connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A message as it came. `at_ms`: when, by our clock, UTC.

    `retained`: the broker had kept it; it was not said just now.
    """

    topic: str
    payload: bytes
    retained: bool
    at_ms: int
    expires: bool = True
    """Whether the broker says when it is no longer true."""


@dataclass(frozen=True, kw_only=True)
class LinkChange:
    """The connection to the broker came or went. `session_present`: the broker remembered us."""

    up: bool
    at_ms: int
    reason: str = ""
    session_present: bool = False
