"""A topic of the MQTT contract taken apart: `Topics` backwards."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from runtime.messages.topics import NAME_PATTERN, ROOT, SITE_SERVICE, Topics

LONGEST_TOPIC = 320
"""Above what our own names can make: root 13, names 64 each, keys and the rest 170."""
EXAM_PART = re.compile(r"exam/([0-9a-f]{32})(?:/view/([rlx][a-z]{1,8}))?")

ALARM_PART = re.compile(r"alarm/[a-z_]{1,32}\.[A-Za-z0-9._-]{1,130}")


class TopicKind(StrEnum):
    """What is said at a place."""

    STATUS = "status"
    EXAM = "exam"
    VIEW = "view"
    EVENT = "event"
    DRIFT = "drift"
    HEALTH = "health"
    REPLAY = "command/replay"
    REBIRTH = "command/rebirth"
    PROBE = "command/probe"
    ALARM = "alarm"
    STANDING_ALARM = "alarm/"


@dataclass(frozen=True, kw_only=True)
class ParsedTopic:
    """Where something was said. Keys and `view`: "" where the topic has none."""

    site: str
    unit: str
    """`_site` for what the site's own service says."""
    what: TopicKind
    exam_key: str = ""
    view: str = ""
    alarm_key: str = ""

    @property
    def topic(self) -> str:
        """The topic that this place was read from."""
        topics = Topics(site=self.site, unit=self.unit)
        if self.what is TopicKind.EXAM:
            return topics.exam(self.exam_key)
        if self.what is TopicKind.VIEW:
            return topics.view(self.exam_key, self.view)
        return f"{topics.root}/{self.what.value}{self.alarm_key}"


FIXED = {
    what.value: what
    for what in (
        TopicKind.STATUS,
        TopicKind.EVENT,
        TopicKind.DRIFT,
        TopicKind.HEALTH,
        TopicKind.REPLAY,
        TopicKind.REBIRTH,
        TopicKind.PROBE,
    )
}


def place_of(topic: str) -> ParsedTopic | None:
    """The place that a topic names, or None if it is none of ours."""
    if len(topic) > LONGEST_TOPIC or not topic.startswith(f"{ROOT}/"):
        return None
    site, _, below = topic.removeprefix(f"{ROOT}/").partition("/")
    unit, _, rest = below.partition("/")
    if not _is_name(site):
        return None
    if unit == SITE_SERVICE:
        if rest == TopicKind.ALARM.value:
            return ParsedTopic(site=site, unit=unit, what=TopicKind.ALARM)
        if ALARM_PART.fullmatch(rest):
            key = rest.removeprefix(TopicKind.STANDING_ALARM.value)
            return ParsedTopic(site=site, unit=unit, what=TopicKind.STANDING_ALARM, alarm_key=key)
        return None
    return _place_of_unit(site, unit, rest) if _is_name(unit) else None


def _place_of_unit(site: str, unit: str, rest: str) -> ParsedTopic | None:
    if rest in FIXED:
        return ParsedTopic(site=site, unit=unit, what=FIXED[rest])
    exam = EXAM_PART.fullmatch(rest)
    if exam is None:
        return None
    what = TopicKind.EXAM if exam[2] is None else TopicKind.VIEW
    return ParsedTopic(site=site, unit=unit, what=what, exam_key=exam[1], view=exam[2] or "")


def _is_name(text: str) -> bool:
    # fullmatch: `$` alone would also match before a line feed at the end.
    return re.fullmatch(NAME_PATTERN, text) is not None
