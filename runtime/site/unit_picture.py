"""What a subscriber knows of one unit. Pure: every time is handed in; memory is bounded."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from hashlib import blake2b
from statistics import quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.messages import (
    DriftMessage,
    EventKind,
    EventMessage,
    ExamMessage,
    HealthMessage,
    Kind,
    NumberedMessage,
    StatusMessage,
    UnitState,
    ViewMessage,
)
from runtime.site.change import Change, ChangeKind
from runtime.site.seq_book import Seen, SeqBook
from runtime.site.wire import Foreign, ForeignReason
from runtime.timestamps import utc_ms, utc_text
from runtime.topics import Topics

if TYPE_CHECKING:
    from runtime.site.seq_book import Span

MILLISECONDS_KEPT = 200
SKEWS_KEPT = 20


@dataclass(frozen=True, kw_only=True)
class PictureLimits:
    """How much a picture remembers; what is older goes, and is counted where it matters.

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
    longest_jump: int = 1_000_000
    highest_start: int = 10**9


class Row(NamedTuple):
    """A row as the unit's outbox has it."""

    seq: int
    kind: Kind
    topic: str
    payload: bytes


KIND_OF: dict[type[NumberedMessage], Kind] = {
    ExamMessage: Kind.EXAM,
    ViewMessage: Kind.VIEW,
    EventMessage: Kind.EVENT,
    DriftMessage: Kind.DRIFT,
}


class UnitPicture:
    """One unit as the wire shows it.

    `generation` counts the unit's ledgers as far as one can tell: it grows when a new start of the
    unit counts from further back. Numbers are unique within one generation only.
    """

    def __init__(self, *, site: str, unit: str, at_ms: int, limits: PictureLimits) -> None:
        self.site = site
        self.unit = unit
        self.first_heard_ms = at_ms
        self.last_heard_ms: int | None = None
        """When it last spoke itself; what the broker had retained says nothing of now."""
        self.status: StatusMessage | None = None
        self.status_retained = False
        self.health: HealthMessage | None = None
        self.boots: OrderedDict[str, int] = OrderedDict()
        """Its starts, the current one last, and the newest `at` of each, ms."""
        self.generation = 1
        self.book = _new_book(limits)
        self.exams: OrderedDict[str, ExamMessage] = OrderedDict()
        self.views: OrderedDict[tuple[str, str], ViewMessage] = OrderedDict()
        self.events: deque[EventMessage] = deque(maxlen=limits.events)
        self.drifts: OrderedDict[tuple[str, str, str], DriftMessage] = OrderedDict()
        self.kept: OrderedDict[int, NumberedMessage] = OrderedDict()
        self.counts = dict.fromkeys(
            ("rows", "replayed", "doubles", "conflicts", "stale", "forgotten", "foreign",
             "commands", "seq_restarts", "two_units"), 0
        )  # fmt: skip
        self._limits = limits
        self._digests: OrderedDict[int, bytes] = OrderedDict()
        self._latencies_ms: deque[float] = deque(maxlen=MILLISECONDS_KEPT)
        self._skews_ms: deque[float] = deque(maxlen=SKEWS_KEPT)
        self._former_boots: frozenset[str] = frozenset()
        self._former_exams: set[str] = set()
        self._restarted_at = 0

    # --- what is known ------------------------------------------------------------------------

    @property
    def state(self) -> UnitState | None:
        """As the unit, or its will, last said; None if it said nothing."""
        return self.status.state if self.status else None

    @property
    def boot_id(self) -> str | None:
        """Which start of the unit speaks now."""
        return next(reversed(self.boots), None)

    @property
    def waiting(self) -> int | None:
        """Rows in the unit's own outbox, as it said last; None if it said nothing."""
        return self.health.outbox.waiting if self.health else None

    @property
    def skew_ms(self) -> float | None:
        """Our clock minus the unit's: the least of late, so the way over the wire counts little.

        Negative: the unit's clock is ahead. None: nothing to tell by.
        """
        return min(self._skews_ms) if self._skews_ms else None

    @property
    def latency_ms(self) -> dict[str, float] | None:
        """From the unit's `at` to our hearing of it, of live rows; skewed as the clocks are."""
        values = list(self._latencies_ms)
        if not values:
            return None
        cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else values * 19
        return {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1), "count": len(values)}

    @property
    def flags(self) -> dict[str, int]:
        """How many of the remembered exams have which flag."""
        counted: dict[str, int] = {}
        for exam in self.exams.values():
            counted[exam.flag.value] = counted.get(exam.flag.value, 0) + 1
        return counted

    def rows(self) -> list[Row]:
        """The kept rows in the order of their numbers, as the unit's outbox has them."""
        return [self._row(self.kept[seq]) for seq in sorted(self.kept)]

    def as_json(self) -> dict[str, Any]:
        """Everything but the rows, for machines."""
        book = self.book
        return {
            "unit": self.unit,
            "state": self.state.value if self.state else None,
            "reasons": list(self.status.reasons) if self.status else [],
            "boot_id": self.boot_id,
            "generation": self.generation,
            "first_heard": utc_text(self.first_heard_ms),
            "last_heard": utc_text(self.last_heard_ms) if self.last_heard_ms else None,
            "seq": {
                "first": book.first,
                "highest": book.highest,
                "last_seq": book.last_known,
                "behind": book.behind,
                "missing": book.missing + book.forgotten_missing,
                "gaps": [[gap.first, gap.last] for gap in book.gaps()],
            },
            "counts": dict(self.counts),
            "flags": self.flags,
            "waiting": self.waiting,
            "skew_ms": self.skew_ms,
            "latency_ms": self.latency_ms,
            "status": _plain(self.status),
            "health": _plain(self.health),
            "exams": [_plain(exam) for exam in self.exams.values()],
            "views": [_plain(view) for view in self.views.values()],
            "events": [_plain(event) for event in self.events],
            "drift": [_plain(drift) for drift in self.drifts.values()],
        }

    # --- what comes ---------------------------------------------------------------------------

    def hear_standing(
        self, said: StatusMessage | HealthMessage, *, retained: bool, at_ms: int
    ) -> list[Change]:
        """Birth, change of state, clean stop, the will; or the figures of a moment."""
        if not self.book.plausible(said.last_seq):
            return [self.implausible(at_ms)]
        changes = self._boot(said, retained=retained, at_ms=at_ms)
        if changes is None:
            self.counts["stale"] += 1
            return []
        self._heard(retained=retained, at_ms=at_ms)
        if not _is_offline(said):
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
        if said.boot_id in self._former_boots and said.seq > self._restarted_at:
            self.counts["stale"] += 1
            return [self._change(ChangeKind.STALE, at_ms, message=said)]
        gaps, seen = self.book.gaps(), self.book.enter(said.seq, live=not retained)
        if seen is Seen.IMPLAUSIBLE:
            return [self.implausible(at_ms)]
        self._heard(retained=retained, at_ms=at_ms)
        digest = blake2b(payload, digest_size=8).digest()
        if seen is Seen.FORGOTTEN:
            self.counts["forgotten"] += 1
            return [self._change(ChangeKind.FORGOTTEN, at_ms, message=said)]
        if seen is Seen.AGAIN:
            return [self._again(said, digest, retained=retained, at_ms=at_ms)]
        self._digests[said.seq] = digest
        while len(self._digests) > self._limits.digests:
            self._digests.popitem(last=False)
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
        return Change(
            kind=kind, at_ms=at_ms, unit=self.unit, generation=self.generation, **said
        )  # fmt: skip

    def _heard(self, *, retained: bool, at_ms: int) -> None:
        if not retained:
            self.last_heard_ms = max(self.last_heard_ms or at_ms, at_ms)

    def _again(self, said: NumberedMessage, digest: bytes, *, retained: bool, at_ms: int) -> Change:
        known = self._digests.get(said.seq, digest)
        before = self.kept.get(said.seq)
        # A row that expired is said as `expired` under its own number, each time with a new time.
        if known == digest or _is_expired(said) or (before and _is_expired(before)):
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
            latency_ms = float(at_ms - utc_ms(said.at))
            self._latencies_ms.append(latency_ms)
        self._keep(said)
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

    def _keep(self, said: NumberedMessage) -> None:
        limits = self._limits
        if limits.rows:
            self.kept[said.seq] = said
            while len(self.kept) > limits.rows:
                self.kept.popitem(last=False)
        if isinstance(said, ExamMessage):
            known = self.exams.get(said.exam_key)
            former = said.exam_key in self._former_exams
            if known is None or former or said.revision >= known.revision:
                self._former_exams.discard(said.exam_key)
                self._put(self.exams, said.exam_key, said, limits.exams)
        elif isinstance(said, ViewMessage):
            key = (said.exam_key, said.image_key)
            known_view = self.views.get(key)
            if known_view is None or said.seq > known_view.seq:
                self._put(self.views, key, said, limits.views)
        elif isinstance(said, DriftMessage):
            self._put(
                self.drifts, (said.day, said.model.name, said.model.version), said, limits.drifts
            )
        elif isinstance(said, EventMessage):
            self.events.append(said)

    @staticmethod
    def _put(where: OrderedDict[Any, Any], key: object, value: object, limit: int) -> None:
        where[key] = value
        where.move_to_end(key)
        while len(where) > limit:
            where.popitem(last=False)

    def _row(self, message: NumberedMessage) -> Row:
        topics = Topics(site=self.site, unit=self.unit)
        kind = KIND_OF[type(message)]
        topic = topics.event if kind is Kind.EVENT else topics.drift
        if isinstance(message, ExamMessage):
            topic = topics.exam(message.exam_key)
        elif isinstance(message, ViewMessage):
            topic = topics.view(message.exam_key, message.view)
        return Row(message.seq, kind, topic, message.encode())

    def _last_word(
        self, said: StatusMessage | HealthMessage, *, retained: bool, at_ms: int
    ) -> None:
        """The unit's last number and its clock. A will has those of when it was written."""
        unknown = self.book.first is None
        self.book.said_last(said.last_seq)
        if not retained:
            self._skews_ms.append(float(at_ms - utc_ms(said.at)))
            if unknown:
                # Heard live, so everything after it is said to us.
                self.book.claim(said.last_seq + 1)

    def _boot(
        self, said: StatusMessage | HealthMessage, *, retained: bool, at_ms: int
    ) -> list[Change] | None:
        """Which start of the unit speaks; None if it is a straggler, to be passed over."""
        boots, boot, said_ms = self.boots, said.boot_id, utc_ms(said.at)
        current, newest_ms = self.boot_id, boots.get(boot)
        fresh = not retained and (newest_ms is None or said_ms > newest_ms)
        if newest_ms is not None and boot != current and (_is_offline(said) or not fresh):
            # A will may come late, a message twice, and a broker that was killed may have kept an
            # old status.
            return None
        if newest_ms is None and current and retained and said_ms < boots[current]:
            return None  # older than what we know: the broker's memory was put back
        changes = []
        if newest_ms is not None and boot != current:
            # A start that speaks anew after another one runs beside it.
            self.counts["two_units"] += 1
            changes.append(self._change(ChangeKind.TWO_UNITS, at_ms, detail=f"boot_id {boot}"))
        first_word = newest_ms is None and current is not None
        if (fresh or first_word) and not _is_offline(said) and said.last_seq < self.book.highest:
            # A unit counts before it speaks, and what it says stays in order on its way.
            changes.append(self._restart(boot, said.last_seq, at_ms))
        boots[boot] = max(said_ms, newest_ms or said_ms)
        boots.move_to_end(boot)
        while len(boots) > self._limits.boots:
            boots.popitem(last=False)
        return changes

    def _restart(self, boot: str, last_seq: int, at_ms: int) -> Change:
        detail = f"after {self.book.highest} the unit counts on from {last_seq}"
        self.counts["seq_restarts"] += 1
        self.generation += 1
        self._former_boots = frozenset(self.boots) - {boot}
        # The new ledger may count an exam's revisions from 1 again.
        self._former_exams = set(self.exams)
        self._restarted_at = last_seq
        self.book = _new_book(self._limits)
        self.book.claim(last_seq + 1)
        self._digests.clear()
        self.kept.clear()
        return self._change(ChangeKind.SEQ_RESTARTED, at_ms, detail=detail)


def _new_book(limits: PictureLimits) -> SeqBook:
    return SeqBook(
        spans=limits.spans, longest_jump=limits.longest_jump, highest_start=limits.highest_start
    )


def _missing(gaps: tuple[Span, ...]) -> int:
    return sum(gap.count for gap in gaps)


def _is_offline(said: StatusMessage | HealthMessage) -> bool:
    return isinstance(said, StatusMessage) and said.state is UnitState.OFFLINE


def _is_expired(message: NumberedMessage) -> bool:
    return isinstance(message, EventMessage) and message.event is EventKind.EXPIRED


def _plain(message: Any) -> dict[str, Any] | None:
    return None if message is None else message.model_dump(mode="json", by_alias=True)
