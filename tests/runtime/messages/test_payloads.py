"""What is said on MQTT: shape, limits, pseudonyms."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from runtime.exam_rules.exam_flag import Role
from runtime.image.reasons import Reason
from runtime.messages.payloads import (
    PAYLOAD_LIMIT_BYTES,
    PAYLOAD_TYPES,
    EventKind,
    EventMessage,
    ExamMessage,
    HealthFacts,
    HealthMessage,
    OutboxFacts,
    PayloadTooLargeError,
    StatusFacts,
    StatusMessage,
    ViewMessage,
    payload_schema,
)
from runtime.messages.topics import SiteName, UnitName
from runtime.publishing.message_factory import IdentityPolicy, MessageFactory
from runtime.publishing.pseudonyms import Pseudonyms
from runtime.timing.timestamps import local_text, utc_text
from tests.support.builders import MODEL, exam_flag, image, result, unassessed

KEY = bytes(range(32))
MESSAGE_FACTORY = MessageFactory(site="st-anna", unit="mammo-1", boot_id="b00t", site_key=KEY)
STUDY = "1.2.840.99.7"
AT_MS = 1_795_359_845_678


def spoken(publication, seq=7) -> dict:
    """What a subscriber reads."""
    return json.loads(publication.payload(seq))


def test_an_exam_says_everything_that_the_contract_asks_for():
    """Schema, origin, time, number, flag, what it rests on and what produced it."""
    publication = MESSAGE_FACTORY.exam_message(exam_flag(), at_ms=AT_MS)
    body = spoken(publication)
    exam_key = MESSAGE_FACTORY.exam_key(STUDY)
    assert publication.topic == f"mammoedge/v1/st-anna/mammo-1/exam/{exam_key}"
    assert (publication.retained, publication.expiry_s) == (True, 24 * 3600)
    assert publication.content_key == exam_key
    views = body.pop("views")
    assert body == {
        "schema": "mammoedge.exam/1",
        "site": "st-anna",
        "unit": "mammo-1",
        "boot_id": "b00t",
        "at": "2026-11-22T15:04:05.678Z",
        "seq": 7,
        "exam_key": exam_key,
        "revision": 2,
        "final": True,
        "completed_by": "expected_views",
        "flag": "priority",
        "score": 0.75,
        "reasons": [],
        "missing_views": [],
        "views_omitted": 0,
        "model": {"name": "test", "version": "1.0.0"},
        "operating_point": {"name": "balanced", "threshold": 0.5},
        "precision": "fp32",
        "executed_precision": "f32",
        "requested_device": "CPU",
        "actual_device": "CPU",
    }
    assert [(v["view"], v["outcome"], v["flag"], v["role"]) for v in views] == [
        ("rcc", "judged", "priority", "expected"),
        ("lmlo", "not_assessed", "not_assessed", "additional"),
    ]


def test_a_view_says_who_it_is_and_how_long_it_took():
    """Image key, side, times and stage latencies; no number is given before the ledger does."""
    seen = replace(image("RCC", result(0.2)), acquired_at="20261122160358")
    publication = MESSAGE_FACTORY.view_message(
        seen, study_instance_uid=STUDY, at_ms=AT_MS, stage_ms={"decode": 51.23456}
    )
    body = spoken(publication)
    assert publication.topic.endswith(f"exam/{MESSAGE_FACTORY.exam_key(STUDY)}/view/rcc")
    assert (publication.retained, publication.message.seq) == (False, 0)
    assert body["image_key"] == MESSAGE_FACTORY.image_key("1.2.1")
    assert (body["laterality"], body["view"], body["outcome"]) == ("R", "rcc", "judged")
    assert body["acquired_at"] == "2026-11-22T16:03:58"
    assert body["received_at"] == "1970-01-01T00:00:01.000Z"
    assert body["stage_ms"] == {"decode": 51.235}


def test_a_retaken_view_names_its_retake():
    """`superseded_by` is the image key of the retake."""
    first = image("RCC", result(0.9), image_id=1, role=Role.SUPERSEDED, superseded_by=2)
    retake = image("RCC", result(0.1), image_id=2)
    body = spoken(MESSAGE_FACTORY.exam_message(exam_flag((first, retake)), at_ms=AT_MS))
    keys = {entry["image_key"]: entry["superseded_by"] for entry in body["views"]}
    assert keys == {
        MESSAGE_FACTORY.image_key("1.2.1"): MESSAGE_FACTORY.image_key("1.2.2"),
        MESSAGE_FACTORY.image_key("1.2.2"): None,
    }


@pytest.mark.parametrize(
    ("code", "slug", "side"),
    [("RCC", "rcc", "R"), ("LMLO", "lmlo", "L"), ("R?", "rx", "R"), ("?CC", "xcc", None),
     ("??", "xx", None), ("LXCCL", "lxccl", "L"), ("ROTHER", "rother", "R")],
)  # fmt: skip
def test_unknown_parts_of_a_view_are_said_as_x(code, slug, side):
    """A topic level must not hold a question mark that means nothing to anyone."""
    publication = MESSAGE_FACTORY.view_message(
        image(code, unassessed(Reason.VIEW_UNKNOWN)),
        study_instance_uid=STUDY,
        at_ms=AT_MS,
        stage_ms={},
    )
    body = spoken(publication)
    assert publication.topic.rsplit("/", 1)[1] == slug
    assert (body["view"], body["laterality"], body["reasons"]) == (slug, side, ["view_unknown"])


def test_an_image_without_outcome_is_not_spoken_of():
    """There is no view message before there is an outcome."""
    with pytest.raises(ValueError, match="no outcome yet"):
        MESSAGE_FACTORY.view_message(
            image("RCC", None), study_instance_uid=STUDY, at_ms=0, stage_ms={}
        )


def test_pseudonyms_are_the_first_half_of_an_hmac():
    """Whoever holds the site's key computes the same key from the UID."""
    expected = hmac.new(KEY, STUDY.encode(), hashlib.sha256).hexdigest()[:32]
    keys = Pseudonyms(site_key=KEY)
    assert keys.exam_key(STUDY) == expected == keys.exam_key(STUDY + "\0")
    assert Pseudonyms(site_key=bytes(32)).exam_key(STUDY) != expected
    assert KEY.hex() not in repr(keys)
    assert str(KEY) not in repr(MESSAGE_FACTORY)
    with pytest.raises(ValueError, match="16 bytes"):
        Pseudonyms(site_key=b"short")


def test_identity_leaves_the_unit_only_where_the_site_switched_it_on():
    """By default neither UID nor accession number is in the payload, not even as null."""
    default = MESSAGE_FACTORY.exam_message(
        exam_flag(), at_ms=AT_MS, accession_number="A-1"
    ).payload(1)
    assert STUDY.encode() not in default
    assert b"accession" not in default
    assert b"study_instance" not in default
    policy = IdentityPolicy(accession_number=True, study_instance_uid=True)
    open_factory = replace(MESSAGE_FACTORY, identity=policy)
    body = spoken(open_factory.exam_message(exam_flag(), at_ms=AT_MS, accession_number="A-1"))
    assert (body["accession_number"], body["study_instance_uid"]) == ("A-1", STUDY)
    assert "accession_number" not in spoken(open_factory.exam_message(exam_flag(), at_ms=AT_MS))


def test_an_exam_of_many_images_is_shortened_and_says_so():
    """At most 16 KiB; the expected views stay, the count says what is missing."""
    images = [image("LML", unassessed(), image_id=i, role=Role.ADDITIONAL) for i in range(5, 200)]
    images.append(image("RCC", result(0.75), image_id=1))
    payload = MESSAGE_FACTORY.exam_message(exam_flag(images), at_ms=AT_MS).payload(2**53)
    body = json.loads(payload)
    assert len(payload) <= PAYLOAD_LIMIT_BYTES
    assert body["views"][0]["role"] == "expected"
    assert len(body["views"]) + body["views_omitted"] == 196
    assert body["views_omitted"] > 0


def test_a_message_that_cannot_be_shortened_is_refused():
    """Better an error at the sender than a payload that breaks the contract."""
    facts = StatusFacts(
        intakes=("x" * 256,) * 16, versions={f"{i:0128}": "v" * 128 for i in range(32)}
    )
    status = MESSAGE_FACTORY.status_message(facts, at_ms=AT_MS, last_seq=0)
    assert len(status.payload) <= PAYLOAD_LIMIT_BYTES
    stages = {f"{'é' * 120}{i}": 1.0 for i in range(32)}
    view = MESSAGE_FACTORY.view_message(
        image("RCC", result(0.1)), study_instance_uid=STUDY, at_ms=0, stage_ms=stages
    )
    assert len(view.payload(1)) <= PAYLOAD_LIMIT_BYTES
    # Control characters take six bytes each in JSON.
    data = {"\1" * 127 + chr(97 + i): "\1" * 256 for i in range(16)}
    event = MESSAGE_FACTORY.event_message(EventKind.FAULT, at_ms=0, detail="\1" * 512, data=data)
    with pytest.raises(PayloadTooLargeError) as caught:
        event.payload(1)
    assert caught.value.size_bytes > PAYLOAD_LIMIT_BYTES


def test_numbers_begin_at_one():
    """A message goes out with its number or not at all."""
    with pytest.raises(ValueError, match="begin at 1"):
        MESSAGE_FACTORY.exam_message(exam_flag(), at_ms=AT_MS).payload(0)


def test_event_texts_are_cut_to_the_schema():
    """A long detail must not lose the event."""
    body = spoken(
        MESSAGE_FACTORY.event_message(
            EventKind.FAULT,
            at_ms=0,
            detail="d" * 9000,
            data={"kvp": 28.5, "on": True, "text": "t" * 999},
        )
    )
    assert len(body["detail"]) == 512
    assert body["data"] == {"kvp": 28.5, "on": True, "text": "t" * 256}


def test_an_event_about_a_row_repeats_only_pseudonyms():
    """Expired and parked say which exam it was, whatever the row's payload looks like."""
    payload = MESSAGE_FACTORY.exam_message(exam_flag(), at_ms=AT_MS).payload(4)
    body = spoken(
        MESSAGE_FACTORY.about_row(EventKind.EXPIRED, at_ms=AT_MS, kind="exam", payload=payload), 4
    )
    assert (body["event"], body["seq"]) == ("expired", 4)
    assert body["exam_key"] == MESSAGE_FACTORY.exam_key(STUDY)
    assert body["data"] == {"kind": "exam", "row_at": "2026-11-22T15:04:05.678Z"}
    broken = MESSAGE_FACTORY.about_row(
        EventKind.PARKED, at_ms=0, kind="view", payload=b"{", seq=9, reason_code=0x87
    )
    assert spoken(broken)["data"] == {"kind": "view", "row_seq": 9, "reason_code": 0x87}


def test_state_follows_the_reasons():
    """No reason: online. A reason: degraded. Clean stop and will: offline."""
    said = [
        MESSAGE_FACTORY.status_message(StatusFacts(), at_ms=0, last_seq=3),
        MESSAGE_FACTORY.status_message(StatusFacts(reasons=("disk_low",)), at_ms=0, last_seq=3),
        MESSAGE_FACTORY.last_will(StatusFacts(reasons=("disk_low",)), at_ms=0, last_seq=3),
    ]
    bodies = [json.loads(payload) for _, payload in said]
    assert [body["state"] for body in bodies] == ["online", "degraded", "offline"]
    assert all(body["last_seq"] == 3 and "seq" not in body for body in bodies)
    assert {topic for topic, _ in said} == {"mammoedge/v1/st-anna/mammo-1/status"}


def test_health_speaks_of_the_outbox():
    """Depths, ages and figures; no number of its own."""
    outbox = OutboxFacts(waiting=3, oldest_s=1.5, parked=0, commands_refused=1)
    topic, payload = MESSAGE_FACTORY.health_message(HealthFacts(), outbox, at_ms=0, last_seq=9)
    body = json.loads(payload)
    assert topic.endswith("/health")
    assert (body["outbox"]["waiting"], body["last_seq"]) == (3, 9)
    HealthMessage.model_validate_json(payload)


def test_drift_never_expires():
    """The contract names no expiry for it."""
    publication = MESSAGE_FACTORY.drift_message(
        at_ms=AT_MS, model=MODEL, day="2026-11-22", images=8, exams=2, histogram=[8, 0],
        psi=0.02, priority_rate=0.5, not_assessed_rate={Reason.IMPLANT: 0.125},
    )  # fmt: skip
    assert (publication.retained, publication.expiry_s) == (True, 2**32 - 1)
    assert spoken(publication)["not_assessed_rate"] == {"implant": 0.125}


@pytest.mark.parametrize(
    "name", ["_site", "", "a/b", "a+b", "#", "$SYS", "a\0", "é", "a b", ".a", "x" * 65, "a\n"]
)
def test_names_that_a_topic_cannot_hold_are_refused(name):
    """Also the site service's own place is no unit."""
    with pytest.raises(ValidationError):
        TypeAdapter(UnitName).validate_python(name)
    with pytest.raises(ValidationError):
        TypeAdapter(SiteName).validate_python(name)


@pytest.mark.parametrize("name", ["mammo-1", "A", "7.rad_2", "x" * 64])
def test_plain_names_are_taken(name):
    """Letters, digits, dot, underscore, hyphen."""
    assert TypeAdapter(UnitName).validate_python(name) == name


@pytest.mark.parametrize("kind", PAYLOAD_TYPES, ids=lambda kind: kind.__name__)
def test_every_payload_has_a_closed_schema(kind):
    """Others validate what they read; what may be silent is not required."""
    schema = payload_schema(kind)
    assert schema["additionalProperties"] is False
    assert {"schema", "site", "unit", "boot_id", "at"} <= set(schema["required"])
    assert not set(schema["required"]) & {"accession_number", "study_instance_uid"}
    assert schema["properties"]["schema"]["const"].startswith("mammoedge.")
    assert schema["description"]
    number = "last_seq" if kind in (StatusMessage, HealthMessage) else "seq"
    assert number in schema["required"]
    json.dumps(schema)


def test_what_is_said_can_be_read_back():
    """The schema holds for what is really sent, and unknown keys are refused."""
    payload = MESSAGE_FACTORY.exam_message(exam_flag(), at_ms=AT_MS).payload(3)
    assert ExamMessage.model_validate_json(payload).encode() == payload
    with pytest.raises(ValidationError, match="extra_forbidden"):
        ExamMessage.model_validate_json(payload.replace(b'"final"', b'"patient_name"'))
    for wrong in ({"at": "2026-11-22 15:04"}, {"event": "party"}, {"exam_key": "1.2.3"}):
        body = spoken(MESSAGE_FACTORY.event_message(EventKind.FAULT, at_ms=0)) | wrong
        with pytest.raises(ValidationError):
            EventMessage.model_validate(body)


def test_a_score_outside_0_to_1_is_a_defect():
    """What does not fit the contract is never sent."""
    with pytest.raises(ValidationError):
        MESSAGE_FACTORY.exam_message(exam_flag(score=1.5), at_ms=AT_MS)
    with pytest.raises(ValidationError):
        ViewMessage.model_validate({})


@given(st.integers(min_value=0, max_value=4_102_444_800_000))
def test_times_keep_their_milliseconds(at_ms):
    """UTC, ISO 8601, three decimals."""
    text = utc_text(at_ms)
    assert len(text) == 24
    assert text.endswith(f".{at_ms % 1000:03d}Z")


@pytest.mark.parametrize(
    ("dicom", "iso"),
    [("20261122160358", "2026-11-22T16:03:58"), ("20261122160358.1234", "2026-11-22T16:03:58"),
     ("20261122", "2026-11-22"), ("", None), ("20261322160358", None), ("garbage", None)],
)  # fmt: skip
def test_dicom_times_become_iso_without_zone(dicom, iso):
    """The unit's clock has no zone; what is no time is null."""
    assert local_text(dicom) == iso
