"""What an alarm saw, in any language: its codes and figures, and the sentence around them.

On the wire and in the store an alarm says it in English (`saw`) and in codes and figures (`alarm`,
`data`); a page says it in the reader's language (`alarm.KIND.saw` of the message files). An alarm
whose figures do not fill the sentence, of older or newer software, keeps its English one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from runtime.site.alarms.alarm_rules import AlarmKind
from runtime.site.alarms.urgent_rules import IMAGES_REFUSED
from runtime.site.report.wording import PLACE
from runtime.web.markup import Markup, el

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.site.queries.fleet_summary import AlarmEntry
    from runtime.site.report.wording import Wording

SHARES = frozenset({"share", "baseline", "own", "package", "bound"})
SUBJECT_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        AlarmKind.DRIFT: "suspect",
        AlarmKind.RATE_RISEN: "measure",
        AlarmKind.RATE_FALLEN: "measure",
        AlarmKind.RATE_JUMPED: "measure",
        AlarmKind.RATE_OUT_OF_BOUNDS: "measure",
        AlarmKind.UNIT_CANNOT_JUDGE: "degraded",
    }
)
"""Where a subject is a code that has words; that of others is a name."""


class FactKind(StrEnum):
    """How a fact is written."""

    SHARE = "share"
    FIGURE = "figure"
    WORD = "word"
    """A code; `family.code` of the message files has its words."""
    INDEX = "index"
    """A stability index of something that has a name in the message files."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact of an alarm. `place`: where in the sentence it belongs; indexes share one."""

    place: str
    kind: FactKind
    value: float
    family: str = ""
    code: str = ""


def facts_of(kind: str, subject: str, data: Mapping[str, str | float | int | bool]) -> list[Fact]:
    """What an alarm's codes and figures say."""
    facts = []
    for name, value in data.items():
        if isinstance(value, str):
            facts.append(_word(name, "foreign" if name == "why" else "", value))
        elif kind == AlarmKind.DRIFT:
            facts.append(_index(name, float(value)))
        else:
            written = FactKind.SHARE if name in SHARES else FactKind.FIGURE
            facts.append(Fact(place=name, kind=written, value=float(value)))
    if subject:
        # What the site sees by itself is no reason that a unit says of itself.
        own = subject == IMAGES_REFUSED
        family = "stopped" if own else SUBJECT_FAMILIES.get(kind, "")
        facts.append(_word("subject", family, subject))
    return facts


def _word(place: str, family: str, code: str) -> Fact:
    return Fact(place=place, kind=FactKind.WORD, value=0.0, family=family, code=code)


def _index(name: str, psi: float) -> Fact:
    return Fact(place="indexes", kind=FactKind.INDEX, value=psi, family="descriptor", code=name)


def saw_of(alarm: AlarmEntry, w: Wording) -> Markup | str:
    """What an alarm saw, in the language; in English where its sentence cannot be filled."""
    sentence = w.words("alarm", alarm.kind, ".saw")
    filled: dict[str, list[str]] = {}
    for fact in facts_of(alarm.kind, alarm.subject, alarm.data):
        filled.setdefault(fact.place, []).append(_written(fact, w))
    if sentence is None or not set(PLACE.findall(sentence)) <= set(filled):
        return el("span", alarm.saw, lang="en") if alarm.saw else ""
    return PLACE.sub(lambda place: ", ".join(filled[place[1]]), sentence)


def _written(fact: Fact, w: Wording) -> str:
    if fact.kind is FactKind.SHARE:
        return w.percent(fact.value)
    if fact.kind is FactKind.FIGURE:
        return w.number(fact.value, 0 if fact.value.is_integer() else 1)
    words = w.named(fact.family, fact.code) if fact.family else fact.code
    return words if fact.kind is FactKind.WORD else f"{words} {w.number(fact.value, 2)}"
