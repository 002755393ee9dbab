"""A unit of a later version speaks: whatever code it says, the message is read, and its flag."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.messages.alarm import AlarmMessage
from runtime.messages.payloads import Message, StatusMessage
from runtime.mqtt_contract import examples
from runtime.mqtt_contract.channels import CHANNELS, ChannelSpeaker
from runtime.mqtt_contract.examples import as_said
from runtime.site.live_model.site_state import SiteState
from runtime.site.subscriber.arrival import Arrival
from runtime.site.subscriber.parsing import read
from runtime.site.terminal.lines import line_of
from tests.support.unknown_codes import code_places, payload_schema_of, with_code

CODES = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)
SITE = "st-anna"
SPOKEN = [
    c
    for c in CHANNELS
    if (c.speaker is ChannelSpeaker.UNIT or c.name == "alarm") and c.name != "probe"
]


def topic_of(channel, body) -> str:
    """The topic of a message of the example unit."""
    places = {"site": SITE, "unit": "mammo-1", "exam_key": body.get("exam_key"),
              "view": body.get("view")}  # fmt: skip
    return channel.address.format(**places)


def flags_of(value) -> list:
    """Every flag in a message, in order."""
    if isinstance(value, dict):
        own = [value["flag"]] if "flag" in value else []
        return own + [flag for inner in value.values() for flag in flags_of(inner)]
    return [flag for inner in value for flag in flags_of(inner)] if isinstance(value, list) else []


def test_every_vocabulary_is_found():
    """The places of the document, so that the tests below test what they say."""
    places = {
        (channel.name, *(step for step in place if not isinstance(step, int)))
        for channel in SPOKEN
        for example in channel.examples
        for place in code_places(payload_schema_of(channel.name), as_said(example))
    }
    assert places >= {
        ("status", "state"), ("status", "reasons", "(more)"),
        ("exam", "completed_by"), ("exam", "reasons", "(more)"), ("exam", "views", "role"),
        ("exam", "views", "outcome"), ("exam", "views", "reasons", "(more)"),
        ("view", "role"), ("view", "outcome"), ("view", "reasons", "(more)"),
        ("view", "remarks", "(more)"), ("event", "event"),
        ("drift", "not_assessed_rate", "(keys)"), ("drift", "descriptors", "baseline"),
        ("drift", "descriptors", "by_name", "(keys)"), ("alarm", "severity"), ("alarm", "state"),
    }  # fmt: skip


@pytest.mark.parametrize("channel", SPOKEN, ids=lambda channel: channel.name)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_message_with_any_unknown_codes_is_read_kept_and_passed_on(channel, data):
    """By our reader and by a stranger's validator; the flag is the same, and so are the codes."""
    said = as_said(data.draw(st.sampled_from(channel.examples)))
    places = code_places(payload_schema_of(channel.name), said)
    changed = said
    for place in data.draw(st.lists(st.sampled_from(places), unique=True)) if places else []:
        changed = with_code(changed, place, data.draw(CODES))
    jsonschema.Draft7Validator(payload_schema_of(channel.name)).validate(changed)
    topic, payload = topic_of(channel, changed), json.dumps(changed).encode()
    message = read(topic, payload, site=SITE)
    assert isinstance(message, Message | AlarmMessage), message
    assert json.loads(message.encode()) == changed
    assert flags_of(json.loads(message.encode())) == flags_of(said)
    # The live model takes it, and both of its forms show it.
    picture = SiteState(SITE)
    heard = Arrival(topic=topic, payload=payload, retained=False, at_ms=1_795_359_845_800)
    changes = picture.hear(heard)
    assert not picture.foreign
    assert changes[-1].as_json()["message"].items() >= changed.items()
    assert line_of(changes[-1])
    assert json.dumps(picture.as_json())
    if isinstance(message, StatusMessage):
        assert str(message.state) in line_of(changes[-1])


@pytest.mark.parametrize("flag", ["recall", "other", None])
def test_an_unknown_flag_is_foreign(flag):
    """Who reads must not take it for one of the three."""
    exam = as_said(examples.EXAM) | {"flag": flag}
    topic = f"mammoedge/v1/{SITE}/mammo-1/exam/{examples.EXAM_KEY}"
    said = read(topic, json.dumps(exam).encode(), site=SITE)
    assert (said.reason, said.detail) == ("wrong_schema", "flag")
