"""Bytes from anywhere become a typed message, or a value that says why they do not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.messages.alarm import AlarmMessage, AlarmState, Severity
from runtime.messages.payloads import (
    EventMessage,
    ExamMessage,
    HealthMessage,
    StatusMessage,
    ViewMessage,
)
from runtime.messages.topics import Topics
from runtime.site.subscriber.parsing import Cleared, CommandHeard, Foreign, ForeignReason, read
from runtime.site.subscriber.topic_parsing import ParsedTopic, TopicKind, place_of
from tests.runtime.site import said

ROOT = f"mammoedge/v1/{said.SITE}"
TOPIC = f"{ROOT}/mammo-1/event"


def changed(arrival, **fields) -> bytes:
    """A good payload with other fields."""
    return json.dumps(json.loads(arrival.payload) | fields).encode()


def reason(topic, payload) -> ForeignReason | None:
    """Why it is foreign; None if it is not."""
    heard = read(topic, payload, site=said.SITE)
    return heard.reason if isinstance(heard, Foreign) else None


@pytest.mark.parametrize(
    ("arrival", "kind"),
    [
        (said.status(3), StatusMessage),
        (said.health(3), HealthMessage),
        (said.exam(3), ExamMessage),
        (said.view(3), ViewMessage),
        (said.event(3), EventMessage),
    ],
)
def test_what_a_unit_says_is_read_as_it_was_meant(arrival, kind):
    """The typed message encodes to the very bytes that came."""
    heard = read(arrival.topic, arrival.payload, site=said.SITE)
    assert isinstance(heard, kind)
    assert heard.encode() == arrival.payload


def test_every_topic_of_a_unit_is_read_back():
    """`Topics` forwards and backwards."""
    topics, key = Topics(site="s", unit="u"), "0f" * 16
    said_there = {
        topics.status: TopicKind.STATUS,
        topics.health: TopicKind.HEALTH,
        topics.event: TopicKind.EVENT,
        topics.drift: TopicKind.DRIFT,
        topics.replay: TopicKind.REPLAY,
        topics.rebirth: TopicKind.REBIRTH,
        topics.exam(key): TopicKind.EXAM,
        topics.view(key, "rcc"): TopicKind.VIEW,
        "mammoedge/v1/s/_site/alarm": TopicKind.ALARM,
        "mammoedge/v1/s/_site/alarm/unit_silent.mammo-1": TopicKind.STANDING_ALARM,
    }
    for topic, what in said_there.items():
        place = place_of(topic)
        assert place is not None
        assert (place.what, place.topic) == (what, topic)
    assert place_of(topics.view(key, "rcc")) == ParsedTopic(
        site="s", unit="u", what=TopicKind.VIEW, exam_key=key, view="rcc"
    )


@pytest.mark.parametrize(
    "topic",
    [
        "", "mammoedge/v1", "mammoedge/v2/s/u/status", "mammoedge/v1/s/u", "mammoedge/v1/s/u/",
        "mammoedge/v1/s/u/status/more", "mammoedge/v1/s/u/exam/ABC", "mammoedge/v1/s//status",
        "mammoedge/v1/s/u/command/stop", "mammoedge/v1/s/_site/status", "mammoedge/v1/s/_x/status",
        "mammoedge/v1/s/u\n/status", f"mammoedge/v1/s/u/exam/{'0f' * 16}/view/RCC",
        "mammoedge/v1/s/" + "u" * 400 + "/status",
    ],
)  # fmt: skip
def test_a_topic_that_is_none_of_ours_has_no_place(topic):
    """Wrong root, names, keys, levels; `_site` as a unit."""
    assert place_of(topic) is None
    assert reason(topic, b"{}") is ForeignReason.TOPIC_UNKNOWN


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "empty"),
        (b"no json", "not_json"),
        (b"\xff\xfe{}", "not_json"),
        (b'{"schema": NaN}', "not_json"),
        (b"[" * 16_000, "too_deep"),
        (b"[" * 50 + b"]" * 50, "too_deep"),
        (b'{"schema": 1e999}', "not_finite"),
        (b"9" * 16_000, "not_json"),
        (b" " * (16 * 1024 + 1), "too_large"),
        (b"x" * 10_000_000, "too_large"),
        (b"[]", "wrong_schema"),
        (b"{}", "schema_unknown"),
        (b'{"schema": "mammoedge.event/0"}', "schema_unknown"),
        (b'{"schema": "mammoedge.event/2"}', "future_version"),
        (b'{"schema": "mammoedge.exam/1"}', "topic_disagrees"),
        (b'{"schema": "mammoedge.event/1"}', "wrong_schema"),
        (b'{"schema": {"a": 1}}', "schema_unknown"),
    ],
)
def test_what_is_no_message_says_why(payload, why):
    """Each kind of nonsense has its own word, and nothing raises."""
    assert reason(TOPIC, payload) == why


@pytest.mark.parametrize(
    ("fields", "why", "where"),
    [
        ({"unit": "mammo-2"}, "topic_disagrees", "unit"),
        ({"site": "other"}, "topic_disagrees", "site"),
        ({"unit": "_site"}, "wrong_schema", "unit"),
        ({"seq": 0}, "wrong_schema", "seq"),
        ({"seq": "7"}, "wrong_schema", "seq"),
        ({"seq": 2**63}, "wrong_schema", "seq"),
        ({"seq": True}, "wrong_schema", "seq"),
        ({"at": "2026-99-99T00:00:00.000Z"}, "wrong_schema", "at"),
        ({"event": "a party"}, "wrong_schema", "event"),
        ({"data": {"a": {"b": 1}}}, "wrong_schema", "data"),
        ({"detail": "x" * 513}, "wrong_schema", "detail"),
    ],
)
def test_a_payload_that_lies_is_foreign(fields, why, where):
    """Other unit, no number, no time, no such event; the fault names a field of our schema."""
    heard = read(TOPIC, changed(said.event(3), **fields), site=said.SITE)
    assert isinstance(heard, Foreign)
    assert (heard.reason, heard.detail, heard.unit) == (why, where, "mammo-1")


def test_a_flag_under_another_exams_topic_is_foreign():
    """The topic's exam key and view are those of the payload."""
    exam, view = said.exam(3), said.view(3)
    other = f"{ROOT}/mammo-1/exam/{'0' * 32}"
    assert reason(other, exam.payload) is ForeignReason.TOPIC_DISAGREES
    assert reason(view.topic.replace("rcc", "lcc"), view.payload) is ForeignReason.TOPIC_DISAGREES


def test_another_site_is_foreign():
    """A subscriber of one site takes nothing of another."""
    heard = read("mammoedge/v1/elsewhere/u/event", b"{}", site=said.SITE)
    assert isinstance(heard, Foreign)
    assert heard.reason is ForeignReason.OTHER_SITE


def test_a_field_of_a_later_minor_version_is_passed_over():
    """New fields, at any depth, do not make a message foreign."""
    body = json.loads(said.exam(3).payload) | {"new": {"a": [1]}}
    body["model"]["new"] = "x"
    heard = read(said.exam(3).topic, json.dumps(body).encode(), site=said.SITE)
    assert isinstance(heard, ExamMessage)
    assert heard.encode() == said.exam(3).payload


def test_an_empty_exam_topic_is_an_expired_flag_and_commands_are_heard():
    """Clearing and commands have values of their own; a command that is none is foreign."""
    heard = read(said.exam(3).topic, b"", site=said.SITE)
    assert isinstance(heard, Cleared)
    command = read(f"{ROOT}/mammo-1/command/replay", b'{"from_seq": 4}', site=said.SITE)
    assert isinstance(command, CommandHeard)
    assert command.as_json() == {"command": "command/replay", "from_seq": 4}
    assert reason(f"{ROOT}/mammo-1/command/replay", b'{"from_seq": 0}') == "command_refused"
    assert reason(f"{ROOT}/mammo-1/command/rebirth", b"[]") == "command_refused"


def test_an_alarm_of_the_site_is_read():
    """`_site/alarm` carries the site service's own message."""
    alarm = AlarmMessage(
        site=said.SITE, unit=None, boot_id="b", at="2026-11-22T15:04:05.678Z", alarm="unit_silent",
        state=AlarmState.RAISED, severity=Severity.WARNING, since="2026-11-22T15:00:00.000Z",
        saw="nothing for 5 minutes",
    )  # fmt: skip
    assert read(f"{ROOT}/_site/alarm", alarm.encode(), site=said.SITE) == alarm
    place = f"{ROOT}/_site/alarm/{alarm.key}"
    assert read(place, alarm.encode(), site=said.SITE) == alarm
    assert isinstance(read(place, b"", site=said.SITE), Cleared)


@settings(deadline=None, max_examples=60)
@given(payload=st.binary(max_size=400), topic=st.text(max_size=80))
def test_no_bytes_raise(payload, topic):
    """Any bytes on any topic are a value."""
    assert isinstance(read(topic, payload, site=said.SITE), Foreign)
    read(TOPIC, payload, site=said.SITE)
    read(f"{ROOT}/{topic}", payload, site=said.SITE)


GOOD = json.loads(said.exam(3).payload)


@settings(deadline=None, max_examples=60)
@given(
    key=st.sampled_from(sorted(GOOD)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    ),
)
def test_no_field_makes_it_raise(key, value):
    """A message with one field of anything is a message or foreign; what is read can be said."""
    heard = read(said.exam(3).topic, json.dumps(GOOD | {key: value}).encode(), site=said.SITE)
    if not isinstance(heard, Foreign):
        assert json.loads(heard.encode())["exam_key"] == GOOD["exam_key"]
