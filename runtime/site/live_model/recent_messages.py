"""What a unit's rows said: the newest message of each exam and image, and what happened of late."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.messages.payloads import DriftMessage, EventMessage, ExamMessage, Kind, ViewMessage
from runtime.messages.topics import Topics

if TYPE_CHECKING:
    from runtime.messages.payloads import NumberedMessage
    from runtime.site.live_model.memory_limits import MemoryLimits


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


class RecentMessages:
    """Bounded: the oldest go where there are too many."""

    def __init__(self, limits: MemoryLimits) -> None:
        self._limits = limits
        self._former_exams: set[str] = set()
        self.exams: OrderedDict[str, ExamMessage] = OrderedDict()
        """By key, the highest revision."""
        self.views: OrderedDict[tuple[str, str], ViewMessage] = OrderedDict()
        """By exam's and image's key."""
        self._events: list[tuple[int, int, EventMessage]] = []
        self.drifts: OrderedDict[tuple[str, str, str], DriftMessage] = OrderedDict()
        """By day, model's name and version."""

    @property
    def events(self) -> list[EventMessage]:
        """The newest ones in the order in which they happened, whenever they came."""
        return [event for _, _, event in self._events]

    def keep(self, said: NumberedMessage, generation: int) -> None:
        """A row of that ledger that was not there before."""
        limits = self._limits
        if isinstance(said, ExamMessage):
            known = self.exams.get(said.exam_key)
            former = said.exam_key in self._former_exams
            if known is None or former or said.revision >= known.revision:
                self._former_exams.discard(said.exam_key)
                _put(self.exams, said.exam_key, said, limits.exams)
        elif isinstance(said, ViewMessage):
            key = (said.exam_key, said.image_key)
            known_view = self.views.get(key)
            if known_view is None or said.seq > known_view.seq:
                _put(self.views, key, said, limits.views)
        elif isinstance(said, DriftMessage):
            _put(self.drifts, (said.day, said.model.name, said.model.version), said, limits.drifts)
        elif isinstance(said, EventMessage):
            # By ledger and number: what came by a replay has its place before what followed it.
            insort(self._events, (generation, said.seq, said), key=lambda each: each[:2])
            del self._events[: -limits.events or None]

    def ledger_changed(self) -> None:
        """Another ledger may count an exam's revisions from 1 again."""
        self._former_exams = set(self.exams)

    @property
    def flags(self) -> dict[str, int]:
        """How many of the exams have which flag."""
        counted: dict[str, int] = {}
        for exam in self.exams.values():
            counted[exam.flag.value] = counted.get(exam.flag.value, 0) + 1
        return counted


def _put(where: OrderedDict[Any, Any], key: object, value: object, limit: int) -> None:
    where[key] = value
    where.move_to_end(key)
    while len(where) > limit:
        where.popitem(last=False)


def row_of(message: NumberedMessage) -> Row:
    """The row: equal to the ledger's, where both sides have the same version of the contract."""
    topics = Topics(site=message.site, unit=message.unit)
    kind = KIND_OF[type(message)]
    topic = topics.event if kind is Kind.EVENT else topics.drift
    if isinstance(message, ExamMessage):
        topic = topics.exam(message.exam_key)
    elif isinstance(message, ViewMessage):
        topic = topics.view(message.exam_key, message.view)
    return Row(message.seq, kind, topic, message.encode())
