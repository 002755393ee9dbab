"""What comes over the wire: topic and bytes in, a frozen typed message or `Foreign` out.

Nothing that comes in raises: a foreign message is a value like any other. Sizes and depth are
looked at before anything is made of the content. A field that a later minor version of the
contract has added is passed over, as the contract asks of every subscriber.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from models.errors import PeerError
from runtime.messages.alarm import AlarmMessage
from runtime.messages.commands import (
    LARGEST_SEQ,
    CommandRefusedError,
    Rebirth,
    Replay,
    parse_rebirth,
    parse_replay,
)
from runtime.messages.payloads import (
    PAYLOAD_LIMIT_BYTES,
    DriftMessage,
    EventMessage,
    ExamMessage,
    HealthMessage,
    Message,
    NumberedMessage,
    StandingMessage,
    StatusMessage,
    ViewMessage,
)
from runtime.site.subscriber.topic_parsing import ParsedTopic, TopicKind, place_of
from runtime.timing.timestamps import utc_ms

DEEPEST = 8
"""Containers inside each other; the deepest of our own messages has 4."""

PAYLOAD_AT: dict[TopicKind, type[Message | AlarmMessage]] = {
    TopicKind.STATUS: StatusMessage,
    TopicKind.EXAM: ExamMessage,
    TopicKind.VIEW: ViewMessage,
    TopicKind.EVENT: EventMessage,
    TopicKind.DRIFT: DriftMessage,
    TopicKind.HEALTH: HealthMessage,
    TopicKind.ALARM: AlarmMessage,
    TopicKind.STANDING_ALARM: AlarmMessage,
}


class ForeignReason(StrEnum):
    """Why a message is none of ours. The list is closed."""

    TOPIC_UNKNOWN = "topic_unknown"
    OTHER_SITE = "other_site"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    NOT_FINITE = "not_finite"
    SCHEMA_UNKNOWN = "schema_unknown"
    FUTURE_VERSION = "future_version"
    WRONG_SCHEMA = "wrong_schema"
    TOPIC_DISAGREES = "topic_disagrees"
    COMMAND_REFUSED = "command_refused"
    TOO_MANY_UNITS = "too_many_units"
    SEQ_IMPLAUSIBLE = "seq_implausible"


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Not ours, and why. What was sent is not repeated: it may hold anything.

    `unit`: whose topic it came on; "" where the topic names none. `detail`: a code or a field's
    name of *our* schema.
    """

    reason: ForeignReason
    unit: str = ""
    size_bytes: int = 0
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "foreign": self.reason.value, "size_bytes": self.size_bytes, "detail": self.detail
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """What stood on a retained topic is no longer true: an expired flag, an alarm that is over."""

    place: ParsedTopic


@dataclass(frozen=True, kw_only=True)
class CommandHeard:
    """Somebody at the site asked a unit for something."""

    place: ParsedTopic
    command: Replay | Rebirth

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"command": self.place.what.value, **self.command.model_dump(mode="json")}


@dataclass(frozen=True, kw_only=True)
class ProbeHeard:
    """A unit's mark for itself: whether its broker remembers. It says nothing to a site."""

    place: ParsedTopic


Said = Message | AlarmMessage | Cleared | CommandHeard | ProbeHeard | Foreign


def read(topic: str, payload: bytes, *, site: str) -> Said:
    """What a message on `topic` says to a subscriber of `site`. Never raises on what came in."""
    place = place_of(topic)
    if place is None:
        return Foreign(reason=ForeignReason.TOPIC_UNKNOWN, size_bytes=len(payload))
    if place.site != site:
        return Foreign(reason=ForeignReason.OTHER_SITE, size_bytes=len(payload))
    try:
        return _read_at(place, payload)
    except _ForeignError as foreign:
        return Foreign(
            reason=foreign.reason,
            unit=place.unit,
            size_bytes=len(payload),
            detail=foreign.detail,
        )


class _ForeignError(PeerError):
    """Inside this module only."""

    def __init__(self, reason: ForeignReason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason)


def _read_at(place: ParsedTopic, payload: bytes) -> Said:
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        raise _ForeignError(ForeignReason.TOO_LARGE)
    if place.what in (TopicKind.REPLAY, TopicKind.REBIRTH):
        return CommandHeard(place=place, command=_command(place.what, payload))
    if place.what is TopicKind.PROBE:
        return ProbeHeard(place=place)
    if not payload:
        if place.what in (TopicKind.EXAM, TopicKind.STANDING_ALARM):
            return Cleared(place=place)
        raise _ForeignError(ForeignReason.EMPTY)
    kind = PAYLOAD_AT[place.what]
    _check_schema_name(_shallow(payload), kind)
    try:
        # strict: "7" is no integer. ignore: a later minor version may have added fields.
        message = kind.model_validate_json(payload, strict=True, extra="ignore")
    except ValidationError as error:
        raise _ForeignError(ForeignReason.WRONG_SCHEMA, _field(error, kind)) from None
    _check_agreement(place, message)
    return message


def _command(what: TopicKind, payload: bytes) -> Replay | Rebirth:
    try:
        return parse_replay(payload) if what is TopicKind.REPLAY else parse_rebirth(payload)
    except CommandRefusedError as refusal:
        raise _ForeignError(ForeignReason.COMMAND_REFUSED, refusal.why) from None


def _shallow(payload: bytes) -> dict[str, Any]:
    """The JSON object, if it is one, not deep, with finite numbers."""
    try:
        value = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        deep = "recursion limit" in str(error)
        reason = ForeignReason.TOO_DEEP if deep else ForeignReason.NOT_JSON
        raise _ForeignError(reason) from None
    _check_depth(value, DEEPEST)
    if not isinstance(value, dict):
        raise _ForeignError(ForeignReason.WRONG_SCHEMA, "no object")
    return value


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, dict | list):
        if left == 0:
            raise _ForeignError(ForeignReason.TOO_DEEP)
        for inner in value.values() if isinstance(value, dict) else value:
            _check_depth(inner, left - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        # 1e999 is JSON by its grammar, and no number that anybody can use.
        raise _ForeignError(ForeignReason.NOT_FINITE)


def schema_id(kind: type[Message | AlarmMessage]) -> str:
    """`mammoedge.exam/1` of the exam's message, and so on."""
    return str(kind.model_fields["schema_id"].default)


def _check_schema_name(body: dict[str, Any], kind: type[Message | AlarmMessage]) -> None:
    said = body.get("schema")
    name, _, version = schema_id(kind).partition("/")
    if said == schema_id(kind):
        return
    match = re.fullmatch(r"(mammoedge\.[a-z_]{1,32})/([1-9][0-9]{0,5})", str(said)[:64])
    if match is None:
        raise _ForeignError(ForeignReason.SCHEMA_UNKNOWN)
    if match[1] != name:
        raise _ForeignError(ForeignReason.TOPIC_DISAGREES, "schema")
    if int(match[2]) > int(version):
        raise _ForeignError(ForeignReason.FUTURE_VERSION)
    raise _ForeignError(ForeignReason.SCHEMA_UNKNOWN)


def _check_agreement(place: ParsedTopic, message: Message | AlarmMessage) -> None:
    """The payload says what its topic says; numbers and times are such."""
    if isinstance(message, Message):
        said = {
            "site": (message.site, place.site),
            "unit": (message.unit, place.unit),
            "exam_key": (getattr(message, "exam_key", None), place.exam_key),
            "view": (getattr(message, "view", None), place.view),
        }
        for name in ("site", "unit", *_KEYS_IN_TOPIC.get(place.what, ())):
            if said[name][0] != said[name][1]:
                raise _ForeignError(ForeignReason.TOPIC_DISAGREES, name)
    elif message.site != place.site:
        raise _ForeignError(ForeignReason.TOPIC_DISAGREES, "site")
    if isinstance(message, NumberedMessage) and not 1 <= message.seq <= LARGEST_SEQ:
        raise _ForeignError(ForeignReason.WRONG_SCHEMA, "seq")
    if isinstance(message, StandingMessage) and message.last_seq > LARGEST_SEQ:
        raise _ForeignError(ForeignReason.WRONG_SCHEMA, "last_seq")
    try:
        utc_ms(message.at)
    except ValueError:
        raise _ForeignError(ForeignReason.WRONG_SCHEMA, "at") from None


_KEYS_IN_TOPIC = {TopicKind.EXAM: ("exam_key",), TopicKind.VIEW: ("exam_key", "view")}


def _field(error: ValidationError, kind: type[Message | AlarmMessage]) -> str:
    """The field of our schema in which the first fault lies; a key of theirs is not repeated."""
    location = error.errors(include_input=False, include_url=False)[0]["loc"]
    names = {field.alias or name for name, field in kind.model_fields.items()}
    first = str(location[0]) if location else ""
    return first if first in names else ""
