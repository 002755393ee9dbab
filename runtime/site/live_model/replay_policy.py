"""When to ask which unit for what it said and we did not hear. Pure; the time is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.messages.payloads import UnitState

if TYPE_CHECKING:
    from runtime.site.live_model.known_unit import KnownUnit
    from runtime.site.live_model.site_state import SiteState


@dataclass(frozen=True, kw_only=True)
class ReplayRequest:
    """Ask `unit` to publish again from `from_seq`; the numbers up to `up_to` are missing."""

    unit: str
    from_seq: int
    up_to: int


@dataclass(kw_only=True)
class _Case:
    """What is missing of one unit, and what was done about it."""

    generation: int
    from_seq: int
    since_ms: int
    attempts: int = 0
    asked_ms: int = 0


class ReplayPolicy:
    """Asks for the lowest missing number once that has stood for a while, with growing pauses.

    A number that came means that a replay is under way: the waiting begins anew. After `attempts`
    requests without one the numbers are given up: the unit no longer has them.
    """

    def __init__(
        self,
        *,
        patience_ms: int = 3_000,
        tail_patience_ms: int = 10_000,
        pause_ms: int = 20_000,
        attempts: int = 5,
    ) -> None:
        self._patience_ms = patience_ms
        self._tail_patience_ms = tail_patience_ms
        self._pause_ms = pause_ms
        self._attempts = attempts
        # By unit: a unit whose ledgers change and change again must not fill the memory.
        self._cases: dict[str, _Case] = {}
        self._given_up: dict[str, tuple[int, int]] = {}

    def due(self, picture: SiteState, now_ms: int) -> tuple[ReplayRequest, ...]:
        """What to ask for now. Tell `asked` of each that was really sent."""
        if not picture.connected:
            return ()
        asks = [self._of(unit, now_ms) for unit in picture]
        return tuple(ask for ask in asks if ask is not None)

    def asked(self, ask: ReplayRequest, generation: int, now_ms: int) -> None:
        """The request is on its way."""
        case = self._cases.get(ask.unit)
        if case is not None and case.generation == generation:
            case.attempts += 1
            case.asked_ms = now_ms

    def given_up(self, unit: KnownUnit) -> int:
        """Missing numbers up to here are not asked for any more; 0 if there are none."""
        generation, up_to = self._given_up.get(unit.unit, (0, 0))
        return up_to if generation == unit.generation else 0

    def _of(self, unit: KnownUnit, now_ms: int) -> ReplayRequest | None:
        name, generation = unit.unit, unit.generation
        missing = self._missing(unit)
        if missing is None:
            self._cases.pop(name, None)
            return None
        from_seq, up_to, patience_ms = missing
        case = self._cases.get(name)
        if case is None or (case.generation, case.from_seq) != (generation, from_seq):
            self._cases[name] = _Case(generation=generation, from_seq=from_seq, since_ms=now_ms)
            return None
        if case.attempts >= self._attempts and now_ms - case.asked_ms >= self._pause_ms:
            self._given_up[name] = (generation, up_to)
            del self._cases[name]
            return None
        pause_ms = self._pause_ms * 2 ** max(0, case.attempts - 1) if case.attempts else 0
        waited = now_ms - case.since_ms >= patience_ms and now_ms - case.asked_ms >= pause_ms
        answers = unit.state not in (None, UnitState.OFFLINE)
        if case.attempts >= self._attempts or not waited or not answers:
            return None
        return ReplayRequest(unit=name, from_seq=from_seq, up_to=up_to)

    def _missing(self, unit: KnownUnit) -> tuple[int, int, int] | None:
        """(from, up to, patience) of the lowest missing numbers; None if nothing is."""
        given_up = self.given_up(unit)
        gap = next((gap for gap in unit.book.gaps() if gap.last > given_up), None)
        if gap is not None:
            return gap.first, gap.last, self._patience_ms
        # Said to exist, not heard, and no longer waiting at the unit: lost on the way.
        last = unit.book.last_known
        if unit.book.behind and not unit.waiting and last > given_up:
            return last - unit.book.behind + 1, last, self._tail_patience_ms
        return None
