"""How a unit's connection stands, and what became of those before; it outlives each of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from runtime.messages.status_reason import StatusReason

if TYPE_CHECKING:
    from collections.abc import Callable

NAME_TAKEN_S = 600.0
"""So long after somebody else connected under our name the unit says so."""
UNSTABLE_LOSSES, UNSTABLE_S = 3, 300.0
"""So many connections that the broker closed in that time are no accident."""
BRIEF_S = 5.0
"""Another unit under our name comes back within a pause or two; a switch that resets does not."""


class PublisherState:
    """Read by any thread; written by the publisher's, but for `changed`.

    `monotonic` is in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._name_taken_s: float | None = None
        self._losses_s: tuple[float, ...] = ()
        self._brief_losses_s: tuple[float, ...] = ()
        self.connected = threading.Event()
        """The broker has our birth message and the connection stands."""
        self.changed = threading.Event()
        """The unit's own state may be another one than was said: look at once."""
        self.refusal = ""
        """Why the broker refuses our `status` on this connection, for people; "" if it does not."""

    def name_was_taken(self) -> None:
        """The broker gave our name to another connection, and said so."""
        self._name_taken_s = self._monotonic()

    def was_lost(self, stood_s: float) -> None:
        """A connection that had stood for so long was lost."""
        now_s = self._monotonic()
        self._losses_s = (*self._losses_s, now_s)[-UNSTABLE_LOSSES:]
        if stood_s < BRIEF_S:
            self._brief_losses_s = (*self._brief_losses_s, now_s)[-UNSTABLE_LOSSES:]

    @property
    def name_taken(self) -> bool:
        """Whether the broker of late gave this unit's name to another client, and said so."""
        taken_s = self._name_taken_s
        return taken_s is not None and self._monotonic() - taken_s < NAME_TAKEN_S

    @property
    def unstable(self) -> bool:
        """Whether connections that stood were closed again and again.

        A broker that restarts, or another unit under this name: not every broker says which
        (Mosquitto 2.0.11 closes without the DISCONNECT of MQTT 5, 3.1.4).
        """
        return self._are_many(self._losses_s)

    @property
    def contended(self) -> bool:
        """Whether somebody else seems to take our name from us, as often as we take it back."""
        return self.name_taken or self._are_many(self._brief_losses_s)

    def _are_many(self, losses_s: tuple[float, ...]) -> bool:
        now_s = self._monotonic()
        return len([s for s in losses_s if now_s - s < UNSTABLE_S]) >= UNSTABLE_LOSSES

    @property
    def faults(self) -> tuple[StatusReason, ...]:
        """Why the site cannot wholly rely on this connection, as reasons of `status`."""
        faults = (
            (StatusReason.NAME_TAKEN, self.name_taken),
            (StatusReason.CONNECTION_UNSTABLE, self.unstable),
        )
        return tuple(reason for reason, holds in faults if holds)
