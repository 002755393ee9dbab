"""A unit's moments on the site's clock. Pure.

Units' clocks may be years off; days and hours of the site must not be.
"""

from __future__ import annotations

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS
OFFSET_THAT_COUNTS_MS = 60_000
"""Below it a unit's own clock is taken as it is: queues and networks take seconds."""
LONGEST_WAY_MS = 366 * DAY_MS
"""No message is older: the longest expiry and replay that a unit's settings allow."""
LONGEST_QUEUE_MS = 30 * DAY_MS
"""No broker holds a message for us longer."""


def happened_ms(at_ms: int, *, received_ms: int, offset_ms: int | None) -> int:
    """The moment `at_ms` of a unit's clock on the site's, never after it was received.

    `offset_ms`: site's clock minus unit's, None where it was not measured yet.
    """
    offset = offset_ms or 0
    if abs(offset) >= OFFSET_THAT_COUNTS_MS:
        at_ms += offset
    if abs(received_ms - at_ms) > LONGEST_WAY_MS:
        return received_ms  # said before somebody put the clock right
    return min(at_ms, received_ms)


def offset_from_birth(at_ms: int, received_ms: int) -> int | None:
    """What a `status` tells about a clock; None where a queue may have delayed it.

    A delay makes `received_ms` late, never early, and is shorter than LONGEST_QUEUE_MS.
    """
    offset = received_ms - at_ms
    return offset if offset < 0 or offset > LONGEST_QUEUE_MS else None


def hour_of(at_ms: int) -> int:
    """The beginning of the UTC hour."""
    return at_ms - at_ms % HOUR_MS


def day_of(at_ms: int) -> int:
    """The beginning of the UTC day."""
    return at_ms - at_ms % DAY_MS
