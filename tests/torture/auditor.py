"""What the sender was told against what a subscriber saw: lost, doubled, wrong, silent.

Nothing of the unit is read: neither its ledger nor its log. Numbers count within a ledger, which a
unit names in its `status`; a ledger that begins anew may say an exam again, one and the same twice
in one ledger is a double.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.support.subscriber import Record


@dataclass(frozen=True, kw_only=True)
class SentExam:
    """An exam as its sender knows it. `answered`: images that the unit answered with Success."""

    study_uid: str
    flag: str
    """Which one is right."""
    answered: frozenset[str]
    """SOP Instance UIDs."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The sums, and who is meant. Exams by Study Instance UID, rows by (ledger, number)."""

    exams: int
    images: int
    rows: int
    delivered_twice: int
    lost: tuple[str, ...]
    """Without a final flag."""
    doubled: tuple[str, ...]
    """The same revision said twice, or two rows under one number."""
    wrong: tuple[str, ...]
    """The last final flag is another one than is right."""
    silent: tuple[str, ...]
    """Images answered with Success of which no outcome was ever said."""
    missing: int
    """Numbers of the last ledger that never came."""

    @property
    def holds(self) -> bool:
        """Whether nothing of the kind happened."""
        return not (self.lost or self.doubled or self.wrong or self.silent or self.missing)


@dataclass
class _Ledger:
    rows: dict[int, Record] = field(default_factory=dict)
    differing: set[int] = field(default_factory=set)


class Auditor:
    """Reads a subscriber's records. `exam_key`, `image_key`: what a site with the key computes."""

    def __init__(self, *, exam_key: Callable[[str], str], image_key: Callable[[str], str]) -> None:
        self._exam_key = exam_key
        self._image_key = image_key

    def judge(self, sent: Iterable[SentExam], records: Iterable[Record]) -> Verdict:
        """All that was sent against all that was heard, in the order of arrival."""
        records = list(records)
        ledgers, twice = self._by_ledger(records)
        rows = [row for ledger in ledgers.values() for row in ledger.rows.values()]
        finals = self._finals(rows)
        outcomes = {row.body["image_key"] for row in rows if "/view/" in row.topic}
        sent = list(sent)
        lost, wrong, silent = [], [], []
        for exam in sent:
            said = finals.get(self._exam_key(exam.study_uid))
            if said is None:
                lost.append(exam.study_uid)
            elif said != exam.flag:
                wrong.append(f"{exam.study_uid}: {said}, not {exam.flag}")
            silent += [uid for uid in exam.answered if self._image_key(uid) not in outcomes]
        return Verdict(
            exams=len(sent),
            images=sum(len(exam.answered) for exam in sent),
            rows=len(rows),
            delivered_twice=twice,
            lost=tuple(lost),
            doubled=tuple(_doubles(ledgers)),
            wrong=tuple(wrong),
            silent=tuple(silent),
            missing=self.missing(records),
        )

    def missing(self, records: Iterable[Record]) -> int:
        """Numbers of the last ledger that have not come."""
        ledgers, _ = self._by_ledger(records)
        if not ledgers:
            return 0
        rows = ledgers[next(reversed(ledgers))].rows
        return max(rows, default=0) - len(rows)

    def lowest_missing(self, records: Iterable[Record]) -> int:
        """Where to ask for a replay from: the first hole, or behind the highest."""
        ledgers, _ = self._by_ledger(records)
        rows = ledgers[next(reversed(ledgers))].rows if ledgers else {}
        return next(seq for seq in range(1, len(rows) + 2) if seq not in rows)

    def unfinished(self, sent: Iterable[SentExam], records: Iterable[Record]) -> list[str]:
        """Exams that have not got the final flag that is right."""
        ledgers, _ = self._by_ledger(records)
        finals = self._finals(row for ledger in ledgers.values() for row in ledger.rows.values())
        return [e.study_uid for e in sent if finals.get(self._exam_key(e.study_uid)) != e.flag]

    @staticmethod
    def _by_ledger(records: Iterable[Record]) -> tuple[dict[str, _Ledger], int]:
        """Rows by ledger in the order in which these were first heard; how many came again."""
        ledger_of: dict[str, str] = {}
        ledgers: defaultdict[str, _Ledger] = defaultdict(_Ledger)
        twice = 0
        for record in records:
            body = record.body
            if record.topic == "status":
                ledger_of[body["boot_id"]] = body.get("ledger_id") or ""
            if "seq" not in body:
                continue
            ledger = ledgers[ledger_of.get(body["boot_id"], "")]
            first = ledger.rows.setdefault(body["seq"], record)
            if first is not record:
                twice += 1
                if _said(first.body) != _said(body) and body.get("event") != "expired":
                    ledger.differing.add(body["seq"])
        return dict(ledgers), twice

    @staticmethod
    def _finals(rows: Iterable[Record]) -> dict[str, str]:
        """The final flag of the highest revision, of the last ledger that said one."""
        finals: dict[str, str] = {}
        for row in rows:
            body = row.body
            if row.topic.startswith("exam/") and body.get("final"):
                finals[body["exam_key"]] = body["flag"]
        return finals


def _doubles(ledgers: Mapping[str, _Ledger]) -> list[str]:
    doubled = []
    for name, ledger in ledgers.items():
        revisions = Counter(
            (row.body["exam_key"], row.body["revision"])
            for row in ledger.rows.values()
            if row.topic.startswith("exam/")
            and "revision" in row.body
            and "/view/" not in row.topic
        )
        doubled += [f"{name}: revision {key}" for key, count in revisions.items() if count > 1]
        doubled += [f"{name}: row {seq}" for seq in sorted(ledger.differing)]
    return doubled


def _said(body: Mapping[str, object]) -> dict[str, object]:
    """What a row says, without who delivers it."""
    return {name: value for name, value in body.items() if name not in ("boot_id", "replayed")}
