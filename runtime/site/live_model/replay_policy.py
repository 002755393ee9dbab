"""When to ask which unit for what it said and we did not hear. Pure; the time is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.messages.payloads import UnitState
from runtime.timing.replay_schedule import ReplaySchedule, Step

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

    A number that came means that a replay is under way: the waiting begins anew. After as many
    requests as the schedule has without one the numbers are given up: the unit no longer has them.
    """

    def __init__(self, schedule: ReplaySchedule | None = None) -> None:
        self._schedule = schedule or ReplaySchedule()
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
        from_seq, up_to, tail = missing
        case = self._cases.get(name)
        if case is None or (case.generation, case.from_seq) != (generation, from_seq):
            self._cases[name] = _Case(generation=generation, from_seq=from_seq, since_ms=now_ms)
            return None
        step = self._schedule.step(
            missing_ms=now_ms - case.since_ms,
            requests=case.attempts,
            asked_ms_ago=now_ms - case.asked_ms,
            tail=tail,
        )
        if step is Step.GIVE_UP:
            self._given_up[name] = (generation, up_to)
            del self._cases[name]
        if step is not Step.ASK or unit.state in (None, UnitState.OFFLINE):
            return None
        return ReplayRequest(unit=name, from_seq=from_seq, up_to=up_to)

    def _missing(self, unit: KnownUnit) -> tuple[int, int, bool] | None:
        """(from, up to, whether above all that came) of the lowest missing; None if nothing is."""
        given_up = self.given_up(unit)
        gap = next((gap for gap in unit.book.gaps() if gap.last > given_up), None)
        if gap is not None:
            return gap.first, gap.last, False
        # Said to exist, not heard, and no longer waiting at the unit: lost on the way.
        last = unit.book.last_known
        if unit.book.behind and not unit.waiting and last > given_up:
            return last - unit.book.behind + 1, last, True
        return None
