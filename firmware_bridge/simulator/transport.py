"""How a simulated unit talks to its bridge: what every way of talking has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firmware_bridge.sender.storage_scu import Outcome
    from firmware_bridge.simulated_exams.exam_source import Taken
    from firmware_bridge.simulated_exams.reissue import ReissuedIdentity
    from firmware_bridge.simulated_exams.unit_plan import Mishap


class Transport(Protocol):
    """One unit's; one thread uses it.

    Raises from every method but `finish` and `close`:
        CannotConnectError: nobody answers; it may be tried again.
    """

    def begin(self, exam: ReissuedIdentity) -> bool:
        """An exam begins; False: the bridge does not take that."""
        ...

    def send(self, taken: Taken) -> Outcome:
        """Hands an image over and waits for its answer; FAILED: try again."""
        ...

    def break_off(self, taken: Taken, mishap: Mishap) -> None:
        """Is gone in the middle of an image."""
        ...

    def reject(self, taken: Taken) -> Outcome:
        """The technologist rejected an image that was sent; its retake follows."""
        ...

    def end(self, images: Sequence[Taken]) -> bool:
        """The exam is over, with these images; False: the bridge does not take that."""
        ...

    def finish(self, timeout_s: float) -> int:
        """How many of the unit's exams have come back with a final flag, waited for so long."""
        ...

    def close(self) -> None:
        """Ends what is open."""
        ...
