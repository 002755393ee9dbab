"""The frame protocol without a socket: its tables, and packets of every kind."""

from __future__ import annotations

import json
from contextlib import suppress

import cbor2
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from firmware_bridge.frame_protocol.json_schema import frame_schema
from firmware_bridge.frame_protocol.messages import FIRMWARE_MESSAGES, Hello, Refusal
from firmware_bridge.frame_protocol.protocol import (
    CONNECTION_LIFE,
    EXAM_LIFE,
    EXAMS_REMEMBERED,
    OF_EXAMS,
    TYPES,
    ConnectionState,
    ExamState,
    FrameProtocol,
    MessageRefusedError,
    Packet,
    encode_answer,
)
from tests.firmware_bridge.firmware import STUDY, frame_fields

PIXELS = np.zeros((4, 4))
EXAM = {"study_instance_uid": STUDY}
GOOD = {
    "hello": {"serial": "SN-1", "capabilities": ["frames", "outcomes"]},
    "exam_opened": EXAM,
    "exposure": EXAM | {"laterality": "R", "view": "CC"},
    "frame": frame_fields(PIXELS),
    "repeat": EXAM | {"sop_instance_uid": f"{STUDY}.1", "reason": "motion"},
    "exam_closed": EXAM,
    "fault": {"code": "overheated"},
    "detector": {"temperature_c": 30.0},
    "heartbeat": {},
    "acknowledged": {"seq": 0},
}


def packet(kind, *, number=1, **changes):
    fields = {"type": kind, "version": 1, "id": number} | GOOD[kind] | changes
    return Packet(data=cbor2.dumps(fields), descriptors=int(kind == "frame"))


def refusal(protocol, kind, **changes):
    with pytest.raises(MessageRefusedError) as refused:
        protocol.receive(packet(kind, **changes))
    return refused.value


def ready(*exams):
    protocol = FrameProtocol()
    protocol.receive(packet("hello"))
    for study in exams:
        protocol.receive(packet("exam_opened", study_instance_uid=study))
    return protocol


def test_every_type_has_an_example_here():
    """A new message without a test would not be noticed."""
    assert set(GOOD) == TYPES


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_the_connections_table_holds(kind):
    """In each state exactly the messages of the table are taken."""
    message_type = type(FIRMWARE_MESSAGES.validate_python(cbor2.loads(packet(kind).data)))
    for state in ConnectionState:
        protocol = FrameProtocol() if state is ConnectionState.NEW else ready(STUDY)
        if (state, message_type) in CONNECTION_LIFE:
            assert isinstance(protocol.receive(packet(kind)), message_type)
            assert protocol.state is CONNECTION_LIFE[state, message_type]
        else:
            assert refusal(protocol, kind).reason is Refusal.OUT_OF_ORDER
            assert protocol.state is state


@pytest.mark.parametrize("kind", sorted(kind for kind in GOOD if GOOD[kind].keys() >= EXAM.keys()))
def test_the_exams_table_holds(kind):
    """In each state of its exam exactly the messages of the table are taken."""
    message_type = type(FIRMWARE_MESSAGES.validate_python(cbor2.loads(packet(kind).data)))
    assert message_type in OF_EXAMS
    for state in ExamState:
        protocol = ready(*([] if state is ExamState.UNKNOWN else [STUDY]))
        if state is ExamState.CLOSED:
            protocol.receive(packet("exam_closed"))
        if (state, message_type) in EXAM_LIFE:
            protocol.receive(packet(kind))
        else:
            refused = refusal(protocol, kind)
            assert (refused.reason, refused.id) == (Refusal.OUT_OF_ORDER, 1)
            assert state.value in refused.detail


def test_a_late_view_opens_its_exam_again():
    """Closed, opened, and a frame is taken."""
    protocol = ready(STUDY)
    protocol.receive(packet("exam_closed"))
    refusal(protocol, "frame")
    protocol.receive(packet("exam_opened"))
    protocol.receive(packet("frame"))


def test_exams_of_a_connection_are_bounded():
    """The oldest is forgotten: its firmware opens it again."""
    protocol = ready(*(f"{STUDY}.{n}" for n in range(EXAMS_REMEMBERED + 1)))
    assert refusal(protocol, "frame", study_instance_uid=f"{STUDY}.0").detail.endswith(
        "unknown on this connection"
    )
    protocol.receive(packet("frame", study_instance_uid=f"{STUDY}.1"))


def test_a_refused_message_moves_nothing():
    """A frame with two descriptors leaves the exam as it was."""
    protocol = ready(STUDY)
    closed = packet("exam_closed")
    with pytest.raises(MessageRefusedError):
        protocol.receive(Packet(data=closed.data, descriptors=1))
    protocol.receive(packet("frame"))


def test_a_refusal_names_its_message():
    """The answer has the id, the reason, and null for an id that nobody could read."""
    refused = refusal(FrameProtocol(), "frame", number=77)
    assert cbor2.loads(encode_answer(refused.answer)) == {
        "type": "refused",
        "version": 1,
        "id": 77,
        "reason": "out_of_order",
        "detail": "hello comes first",
    }
    nameless = MessageRefusedError(Refusal.MALFORMED, id=None)
    assert cbor2.loads(encode_answer(nameless.answer))["id"] is None


@pytest.mark.parametrize("number", [-1, 2**32, 1.0, "1", None, True, [1]])
def test_an_id_that_is_none_is_not_repeated(number):
    """Only a number of 32 bits is."""
    assert refusal(FrameProtocol(), "hello", number=number).id is None


def test_what_was_given_is_not_repeated():
    """A field's value may be an identity, an unknown key too."""
    for changes in ({"Doe^Jane": 1}, {"study_instance_uid": "Doe^Jane"}, {"view": "Doe^Jane"}):
        assert "Jane" not in refusal(ready(STUDY), "frame", **changes).detail


def test_the_schema_is_made_from_the_types():
    """`mammoedge frame-schema` names every message and refuses unknown keys as we do."""
    schema = json.loads(json.dumps(frame_schema()))
    assert set(schema["firmware_says"]["discriminator"]["mapping"]) == TYPES
    assert not schema["firmware_says"]["$defs"]["Frame"]["additionalProperties"]


# --- fuzzing -------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=70),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def mutated(draw):
    """A good message with one field replaced, removed or added, or bytes of any kind."""
    if draw(st.integers(0, 5)) == 0:
        return Packet(data=draw(st.binary(max_size=300)), descriptors=draw(st.integers(0, 2)))
    kind = draw(st.sampled_from(sorted(GOOD)))
    fields = {"type": kind, "version": 1, "id": draw(st.integers(0, 9))} | GOOD[kind]
    match draw(st.integers(0, 4)):
        case 0:
            fields[draw(st.sampled_from(sorted(fields)))] = draw(JSON)
        case 1:
            del fields[draw(st.sampled_from(sorted(fields)))]
        case 2:
            fields[draw(st.text(max_size=9))] = draw(JSON)
        case 3 if "study_instance_uid" in fields:
            fields["study_instance_uid"] = f"{STUDY}.{draw(st.integers(0, 99))}"
    data = cbor2.dumps(fields)
    cut = draw(st.sampled_from([len(data)] * 9 + [len(data) // 2]))
    return Packet(
        data=data[:cut],
        descriptors=draw(st.sampled_from([int(kind == "frame")] * 9 + [2])),
        truncated=draw(st.sampled_from([False] * 19 + [True])),
    )


def taken(protocol, packet):
    """The message, or the bytes of the refusal."""
    try:
        return protocol.receive(packet), b""
    except MessageRefusedError as refused:
        return None, encode_answer(refused.answer)


class Conversation(RuleBasedStateMachine):
    """Whatever is said in whatever order: messages and refusals, nothing else; nothing grows."""

    @initialize()
    def connect(self):
        self.protocol = FrameProtocol()

    @rule(packet=mutated())
    def say(self, packet):
        before = self.protocol.state
        message, answer = taken(self.protocol, packet)
        if message is None:
            assert self.protocol.state is before
            assert len(answer) < 1024
            return
        assert before is ConnectionState.READY or isinstance(message, Hello)
        assert len(self.protocol._exams) <= EXAMS_REMEMBERED

    @rule(kind=st.sampled_from(sorted(GOOD)))
    def say_well(self, kind):
        with suppress(MessageRefusedError):
            self.protocol.receive(packet(kind))


TestConversation = seed(4)(Conversation.TestCase)
TestConversation.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@seed(5)
@settings(max_examples=1500, deadline=None)
@given(mutated())
def test_any_packet_is_a_message_or_a_refusal(packet):
    """In the state where most is possible."""
    with suppress(MessageRefusedError):
        ready(STUDY).receive(packet)
