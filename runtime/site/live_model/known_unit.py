"""What a subscriber knows of one unit. Pure: every time is handed in; memory is bounded."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from runtime.messages.payloads import (
    DriftMessage,
    EventKind,
    EventMessage,
    ExamMessage,
    HealthMessage,
    NumberedMessage,
    OtherCode,
    StatusMessage,
    UnitState,
    ViewMessage,
)
from runtime.site.live_model.boots import Boots, Speaker, StatusHeard
from runtime.site.live_model.change import Change, ChangeKind
from runtime.site.live_model.clock_and_latency import ClockAndLatency
from runtime.site.live_model.recent_messages import RecentMessages, row_of
from runtime.site.live_model.sequence_tracker import Generation, Seen, SequenceTracker
from runtime.site.subscriber.parsing import Foreign, ForeignReason
from runtime.timing.timestamps import utc_ms

if TYPE_CHECKING:
    from runtime.site.live_model.memory_limits import MemoryLimits
    from runtime.site.live_model.recent_messages import Row
    from runtime.site.live_model.sequence_tracker import Span

LEDGERS_KEPT = 4


class KnownUnit:
    """One unit as the wire shows it.

    `generation` counts the unit's ledgers as far as one can tell: by their `ledger_id`, and by a
    live word of the unit that counts from further back than was heard.
    """

    def __init__(self, *, site: str, unit: str, at_ms: int, limits: MemoryLimits) -> None:
        self.site = site
        self.unit = unit
        self.first_heard_ms = at_ms
        self.last_heard_ms: int | None = None
        """When it last spoke itself; what the broker had retained says nothing of now."""
        self.status: StatusMessage | None = None
        self.status_retained = False
        self.health: HealthMessage | None = None
        self._memory = RecentMessages(limits)
        self.counts = dict.fromkeys(
            ("rows", "replayed", "doubles", "conflicts", "stale", "forgotten", "foreign",
             "commands", "seq_restarts", "rollbacks", "two_units"), 0
        )  # fmt: skip
        self._limits = limits
        self._times = ClockAndLatency()
        self._boots = Boots(limits.boots)
        self._generations = 0
        self._ledgers: OrderedDict[str, Generation] = OrderedDict()
        self._now = self._new_generation(None)

    # --- what is known ------------------------------------------------------------------------

    @property
    def state(self) -> UnitState | OtherCode | None:
        """As the unit, or its will, last said; None if it said nothing."""
        return self.status.state if self.status else None

    @property
    def boot_id(self) -> str | None:
        """Which start of the unit speaks now."""
        return self._boots.current

    @property
    def generation(self) -> int:
        """Which of the unit's ledgers speaks now; the first is 1."""
        return self._now.number

    @property
    def book(self) -> SequenceTracker:
        """The numbers of that ledger."""
        return self._now.book

    @property
    def kept(self) -> OrderedDict[int, NumberedMessage]:
        """Rows of that ledger, by number."""
        return self._now.kept

    @property
    def waiting(self) -> int | None:
        """Rows in the unit's own outbox, as it said last; None if it said nothing."""
        return self.health.outbox.waiting if self.health else None

    @property
    def skew_ms(self) -> float | None:
        """Our clock minus the unit's (`ClockAndLatency`)."""
        return self._times.skew_ms

    @property
    def latency_ms(self) -> dict[str, float] | None:
        """From the unit's `at` to our hearing of it (`ClockAndLatency.latency_ms`)."""
        return self._times.latency_ms

    @property
    def ledger_id(self) -> str | None:
        """Which ledger speaks now, by its own name; None if it has not said one."""
        return self._now.ledger_id

    @property
    def exams(self) -> OrderedDict[str, ExamMessage]:
        """The highest revision of each remembered exam, by key."""
        return self._memory.exams

    @property
    def views(self) -> OrderedDict[tuple[str, str], ViewMessage]:
        """The newest outcome of each remembered image, by the exam's key and its own."""
        return self._memory.views

    @property
    def events(self) -> list[EventMessage]:
        """What happened of late, in that order."""
        return self._memory.events

    @property
    def drifts(self) -> OrderedDict[tuple[str, str, str], DriftMessage]:
        """By day, model's name and version."""
        return self._memory.drifts

    @property
    def flags(self) -> dict[str, int]:
        """How many of the remembered exams have which flag."""
        return self._memory.flags

    def rows(self) -> list[Row]:
        """The kept rows in the order of their numbers, as the unit's outbox has them."""
        return [row_of(self.kept[seq]) for seq in sorted(self.kept)]

    # --- what comes ---------------------------------------------------------------------------

    def hear_standing(
        self, said: StatusMessage | HealthMessage, *, retained: bool, at_ms: int
    ) -> list[Change]:
        """Birth, change of state, clean stop, the will; or the figures of a moment."""
        if not self.book.plausible(said.last_seq):
            return [self.implausible(at_ms)]
        word = StatusHeard(
            boot_id=said.boot_id,
            at_ms=utc_ms(said.at),
            ledger_id=self._ledger_of(said),
            offline=isinstance(said, StatusMessage) and said.state is UnitState.OFFLINE,
            retained=retained,
        )
        speaker = self._boots.speaker(word)
        if speaker is Speaker.STRAGGLER:
            self.counts["stale"] += 1
            return []
        changes = self._who_speaks(word, speaker, said.last_seq, at_ms)
        if not word.offline:
            # `offline` may be the broker's word, not the unit's: the will.
            self._heard(retained=retained, at_ms=at_ms)
            self._last_word(said, retained=retained, at_ms=at_ms)
        kind = ChangeKind.HEALTH
        if isinstance(said, StatusMessage):
            kind, self.status, self.status_retained = ChangeKind.STATUS, said, retained
        else:
            self.health = said
        return [*changes, self._change(kind, at_ms, message=said)]

    def hear_row(
        self, said: NumberedMessage, payload: bytes, *, retained: bool, at_ms: int
    ) -> list[Change]:
        """A numbered message; `payload` as it came."""
        if self._is_of_another_ledger(said):
            self.counts["stale"] += 1
            return [self._change(ChangeKind.STALE, at_ms, message=said)]
        gaps, seen = self.book.gaps(), self.book.enter(said.seq, live=not retained)
        if seen is Seen.IMPLAUSIBLE:
            return [self.implausible(at_ms)]
        self._heard(retained=retained, at_ms=at_ms)
        if seen is Seen.FORGOTTEN:
            self.counts["forgotten"] += 1
            return [self._change(ChangeKind.FORGOTTEN, at_ms, message=said)]
        if seen is Seen.AGAIN:
            again = self._again(said, payload, retained=retained, at_ms=at_ms)
            before = self.kept.get(said.seq)
            follows = before is not None and said.boot_id == self.boot_id != before.boot_id
            if again.kind is ChangeKind.CONFLICT and follows:
                detail = f"number {said.seq} is given a second time, with another content"
                return [again, self._rolled_back(at_ms, detail)]
            return [again]
        self._now.keep(said, payload)
        return self._new_row(
            said, gaps, replayed=seen is Seen.FILLED, retained=retained, at_ms=at_ms
        )

    def hear_cleared(self, exam_key: str, at_ms: int) -> list[Change]:
        """An expired flag was taken off its topic: it is no longer true."""
        self.exams.pop(exam_key, None)
        return [self._change(ChangeKind.CLEARED, at_ms, detail=exam_key)]

    def implausible(self, at_ms: int) -> Change:
        """A number that the unit cannot have got to: counted, not entered."""
        self.counts["foreign"] += 1
        foreign = Foreign(reason=ForeignReason.SEQ_IMPLAUSIBLE, unit=self.unit)
        return self._change(ChangeKind.FOREIGN, at_ms, message=foreign)

    # --- parts --------------------------------------------------------------------------------

    def _change(self, kind: ChangeKind, at_ms: int, **said: Any) -> Change:
        return Change(kind=kind, at_ms=at_ms, unit=self.unit, generation=self.generation, **said)

    def _heard(self, *, retained: bool, at_ms: int) -> None:
        if not retained:
            self.last_heard_ms = max(self.last_heard_ms or at_ms, at_ms)

    def _again(
        self, said: NumberedMessage, payload: bytes, *, retained: bool, at_ms: int
    ) -> Change:
        before = self.kept.get(said.seq)
        # A row that expired is said as `expired` under its own number, each time with a new time.
        expired = _is_expired(said) or (before is not None and _is_expired(before))
        if expired or not self._now.contradicts(said, payload):
            # What the broker had retained is said again at each subscription: no double delivery.
            self.counts["doubles"] += not retained
            return self._change(ChangeKind.DOUBLE, at_ms, message=said)
        self.counts["conflicts"] += 1
        return self._change(ChangeKind.CONFLICT, at_ms, message=said)

    def _new_row(
        self,
        said: NumberedMessage,
        gaps_before: tuple[Span, ...],
        *,
        replayed: bool,
        retained: bool,
        at_ms: int,
    ) -> list[Change]:
        self.counts["rows"] += 1
        latency_ms = None
        if replayed:
            self.counts["replayed"] += 1
        elif not retained:
            latency_ms = self._times.row(utc_ms(said.at), at_ms)
        self._memory.keep(said, self.generation)
        changes = [
            self._change(
                ChangeKind.ROW, at_ms, message=said, replayed=replayed, latency_ms=latency_ms
            )
        ]
        gaps = self.book.gaps()
        if gaps == gaps_before:
            return changes
        if _missing(gaps) > _missing(gaps_before):
            changes.append(self._gap(ChangeKind.GAP_OPENED, set(gaps) - set(gaps_before), at_ms))
        elif len(gaps) < len(gaps_before):
            changes.append(self._gap(ChangeKind.GAP_CLOSED, set(gaps_before) - set(gaps), at_ms))
        return changes

    def _gap(self, kind: ChangeKind, spans: set[Span], at_ms: int) -> Change:
        ends = tuple(sorted((span.first, span.last) for span in spans))
        return self._change(kind, at_ms, spans=ends)

    def _last_word(
        self, said: StatusMessage | HealthMessage, *, retained: bool, at_ms: int
    ) -> None:
        """The unit's last number and its clock. A will has those of when it was written."""
        unknown = self.book.first is None
        self.book.said_last(said.last_seq)
        if not retained:
            self._times.word(utc_ms(said.at), at_ms)
            if unknown:
                # Heard live, so everything after it is said to us.
                self.book.claim(said.last_seq + 1)

    def _ledger_of(self, said: StatusMessage | HealthMessage) -> str | None:
        own = said.ledger_id if isinstance(said, StatusMessage) else None
        return own or self._boots.ledger_of(said.boot_id)

    def _is_of_another_ledger(self, said: NumberedMessage) -> bool:
        own, its = self._now.ledger_id, self._boots.ledger_of(said.boot_id)
        return self._now.is_of_before(said) or (None not in (own, its) and own != its)

    def _who_speaks(
        self, word: StatusHeard, speaker: Speaker, last_seq: int, at_ms: int
    ) -> list[Change]:
        """Which start of the unit, with which of its ledgers."""
        changes = []
        if speaker is Speaker.BESIDE:
            self.counts["two_units"] += 1
            detail = f"boot_id {word.boot_id}"
            changes.append(self._change(ChangeKind.TWO_UNITS, at_ms, detail=detail))
        follows = speaker is Speaker.NEXT and self._boots.current is not None
        # A unit counts before it speaks, and what it says stays in order on its way.
        back = (follows or self._boots.is_fresh(word)) and last_seq < self.book.highest
        known = self._now.ledger_id
        other = word.ledger_id is not None and known is not None and word.ledger_id != known
        if other or (back and not word.offline):
            same = word.ledger_id is not None and word.ledger_id == known
            changes.append(self._turn_to(word, last_seq, at_ms, anew=back and not other))
            if same:
                changes.append(self._rolled_back(at_ms, changes[-1].detail))
        elif word.ledger_id is not None and known is None:
            self._name_ledger(word.ledger_id)
        self._boots.heard(word)
        return changes

    def _turn_to(self, word: StatusHeard, last_seq: int, at_ms: int, *, anew: bool) -> Change:
        """Another ledger: one that was heard before, or (`anew`, or unknown) a new one."""
        detail = f"after {self.book.highest} the unit counts on from {last_seq}"
        former = self._boots.boots - {word.boot_id}
        self.counts["seq_restarts"] += 1
        self._memory.ledger_changed()
        before = self._ledgers.get(word.ledger_id or "")
        if before is not None and not anew:
            self._now = before
            self._ledgers.move_to_end(word.ledger_id or "")
        else:
            self._now = self._new_generation(word.ledger_id)
            self._now.begins_after, self._now.former_boots = last_seq, former
            # Of a ledger that says its name nothing was heard yet, however far it has counted.
            self.book.claim(last_seq + 1 if anew else 1)
        return self._change(ChangeKind.SEQ_RESTARTED, at_ms, detail=detail)

    def _rolled_back(self, at_ms: int, detail: str) -> Change:
        """The ledger that speaks is an older state of itself: a copy that was put back."""
        self.counts["rollbacks"] += 1
        return self._change(ChangeKind.LEDGER_ROLLED_BACK, at_ms, detail=detail)

    def _new_generation(self, ledger_id: str | None) -> Generation:
        limits = self._limits
        self._generations += 1
        self._now = Generation(
            number=self._generations,
            book=SequenceTracker(
                spans=limits.spans,
                longest_jump=limits.longest_jump,
                highest_start=limits.highest_start,
            ),
            most_rows=limits.rows,
            most_digests=limits.digests,
        )
        if ledger_id is not None:
            self._name_ledger(ledger_id)
        return self._now

    def _name_ledger(self, ledger_id: str) -> None:
        self._now.ledger_id = ledger_id
        self._ledgers[ledger_id] = self._now
        while len(self._ledgers) > LEDGERS_KEPT:
            self._ledgers.popitem(last=False)


def _missing(gaps: tuple[Span, ...]) -> int:
    return sum(gap.count for gap in gaps)


def _is_expired(message: NumberedMessage) -> bool:
    return isinstance(message, EventMessage) and message.event is EventKind.EXPIRED
