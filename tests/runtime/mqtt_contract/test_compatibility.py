"""A change that would break a subscriber of the last release fails until the version is raised."""

from __future__ import annotations

import copy
import json

import pytest

from runtime.cli.main import main
from runtime.messages.vocabulary import CODE_PATTERN
from runtime.mqtt_contract.asyncapi import asyncapi_document
from runtime.mqtt_contract.compatibility import OPENED, compare
from tests.conftest import ROOT

DOCUMENT = json.loads(json.dumps(asyncapi_document()))


def last_release() -> dict:
    """The newest document in docs/wire/."""
    files = (ROOT / "docs" / "wire").glob("*.json")
    newest = max(files, key=lambda file: tuple(int(n) for n in file.stem.split(".")))
    return json.loads(newest.read_text())


def test_the_code_keeps_what_the_last_release_promised():
    """If this fails: raise CONTRACT_VERSION as it says, and write docs/wire/ anew."""
    verdict = compare(last_release(), DOCUMENT)
    assert not verdict.fault, (verdict.fault, verdict.differences)


def schema(document, name) -> dict:
    """One of the document's schemas."""
    return document["components"]["schemas"][name]


def rename(document, name, old, new) -> None:
    """A field gets another name."""
    part = schema(document, name)
    part["properties"][new] = part["properties"].pop(old)
    part["required"] = [new if field == old else field for field in part["required"]]


def without(document, name, field, *, only_optional=False) -> None:
    """A field goes, or is no longer always there."""
    part = schema(document, name)
    part["required"] = [each for each in part["required"] if each != field]
    if not only_optional:
        del part["properties"][field]


def field(document, name, key) -> dict:
    """A field's schema."""
    return schema(document, name)["properties"][key]


def opened(document, name, key) -> dict:
    """A field's schema that takes other codes as well."""
    return {"anyOf": [field(document, name, key), {"type": "string", "pattern": CODE_PATTERN}]}


BREAKING = {
    "field removed": lambda d: without(d, "ExamMessage", "revision"),
    "field renamed": lambda d: rename(d, "ViewMessage", "image_key", "image"),
    "optional field removed": lambda d: without(d, "ExamMessage", "accession_number"),
    "field no longer always there": lambda d: without(d, "ViewEntry", "role", only_optional=True),
    "type changed": lambda d: field(d, "ExamMessage", "revision").update(type="string"),
    "type widened": lambda d: field(d, "ExamMessage", "revision").update(type="number"),
    "null where none was": lambda d: schema(d, "ExamMessage")["properties"].update(
        final={"anyOf": [{"type": "boolean"}, {"type": "null"}]}
    ),
    "new flag": lambda d: schema(d, "Flag")["enum"].append("maybe"),
    "flag opened": lambda d: schema(d, "ExamMessage")["properties"].update(
        flag=opened(d, "ExamMessage", "flag")
    ),
    "new code of another form": lambda d: schema(d, "EventKind")["enum"].append("a party"),
    "any text for a code": lambda d: field(d, "EventMessage", "event").update(
        anyOf=[{"type": "string"}]
    ),
    "new letter of a closed list": lambda d: field(d, "ViewMessage", "laterality").update(
        anyOf=[{"enum": ["R", "L", "B"], "type": "string"}, {"type": "null"}]
    ),
    "text may be longer": lambda d: field(d, "EventMessage", "detail").update(maxLength=600),
    "text has no limit": lambda d: field(d, "EventMessage", "detail").pop("maxLength"),
    "number may be lower": lambda d: field(d, "ExamMessage", "revision").update(minimum=0),
    "pattern changed": lambda d: field(d, "ViewMessage", "exam_key").update(pattern="^.*$"),
    "map holds another type": lambda d: field(d, "ViewMessage", "stage_ms").update(
        additionalProperties={"type": "string"}
    ),
    "list holds another type": lambda d: field(d, "ExamMessage", "missing_views").update(
        items={"type": "integer"}
    ),
    "payload of a new version": lambda d: field(d, "ExamMessage", "schema").update(
        const="mammoedge.exam/2"
    ),
    "topic changed": lambda d: d["channels"]["event"].update(address="mammoedge/v1/{unit}/event"),
    "topic removed": lambda d: (d["channels"].pop("drift"), d["operations"].pop("sayDrift")),
    "QoS lowered": lambda d: d["operations"]["sayExam"]["bindings"]["mqtt"].update(qos=0),
    "no longer retained": lambda d: d["operations"]["sayStatus"]["bindings"]["mqtt"].update(
        retain=False
    ),
    "other content": lambda d: d["components"]["messages"]["exam"].update(contentType="text/xml"),
    "direction changed": lambda d: d["operations"]["sayEvent"].update(action="receive"),
    "command needs a further field": lambda d: (
        field_added(d, "Replay", "to_seq"),
        schema(d, "Replay")["required"].append("to_seq"),
    ),
    "command's field narrower": lambda d: field(d, "Replay", "from_seq").update(maximum=100),
    "command's field gone": lambda d: without(d, "Replay", "from_seq"),
    "a word that no rule knows": lambda d: field(d, "ExamMessage", "views").update(contains={}),
}


def field_added(document, name, key) -> None:
    """A new field."""
    schema(document, name)["properties"][key] = {"type": "integer"}


HARMLESS = {
    "new event": lambda d: schema(d, "EventKind")["enum"].append("party"),
    "new reason": lambda d: schema(d, "Reason")["enum"].append("display_implausible"),
    "new descriptor": lambda d: schema(d, "Descriptor")["enum"].append("sharpness"),
    "new field": lambda d: field_added(d, "ExamMessage", "waited_ms"),
    "new field that is always there": lambda d: (
        field_added(d, "ViewEntry", "waited_ms"),
        schema(d, "ViewEntry")["required"].append("waited_ms"),
    ),
    "text must be shorter": lambda d: field(d, "EventMessage", "detail").update(maxLength=100),
    "reason no longer given": lambda d: schema(d, "Reason")["enum"].remove("implant"),
    "null no longer said": lambda d: schema(d, "ExamMessage")["properties"].update(
        score={"type": "number", "minimum": 0, "maximum": 1}
    ),
    "optional field now always there": lambda d: schema(d, "ExamMessage")["required"].append(
        "accession_number"
    ),
    "command may say more": lambda d: field_added(d, "Replay", "to_seq"),
    "command's limit wider": lambda d: field(d, "Replay", "from_seq").update(minimum=0),
    "other expiry": lambda d: d["operations"]["sayExam"]["bindings"]["mqtt"].update(
        messageExpiryInterval=60
    ),
    "new topic": lambda d: (
        d["channels"].update(more={**d["channels"]["event"], "address": "mammoedge/v1/more"}),
        d["operations"].update(
            sayMore={**d["operations"]["sayEvent"], "channel": {"$ref": "#/channels/more"}}
        ),
    ),
}  # fmt: skip


def changed(harm, version="1.0") -> dict:
    """The document with a change, under a version."""
    document = copy.deepcopy(DOCUMENT)
    harm(document)
    document["info"]["version"] = version
    return document


RELEASED = changed(lambda _d: None)


@pytest.mark.parametrize("harm", BREAKING.values(), ids=BREAKING.keys())
def test_what_would_break_a_subscriber_needs_a_new_first_figure(harm):
    """Refused under the same and under a minor version; allowed under a new major one."""
    for version, allowed in (("1.0", False), ("1.1", False), ("2.0", True)):
        verdict = compare(RELEASED, changed(harm, version))
        assert verdict.breaking
        assert bool(verdict.fault) is not allowed, (version, verdict)


@pytest.mark.parametrize("harm", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_a_subscriber_passes_over_needs_a_new_second_figure(harm):
    """No breaking difference; refused under the same version, allowed under the next minor one."""
    verdict = compare(RELEASED, changed(harm))
    assert verdict.differences
    assert verdict.breaking == ()
    assert "raise the version" in verdict.fault
    assert not compare(RELEASED, changed(harm, "1.1")).fault


def test_a_vocabulary_that_is_opened_says_who_is_upgraded_first():
    """1.0 listed its codes as closed: opening them is a minor version, and subscribers go first."""
    release = ROOT / "docs" / "wire" / "1.0.json"
    verdict = compare(json.loads(release.read_text()), DOCUMENT)
    assert (verdict.breaking, verdict.fault) == ((), "")
    assert "subscribers that refuse unknown codes are upgraded before units" in OPENED
    said = {each.where for each in verdict.differences if each.what == OPENED}
    assert {"exam/reasons/items", "exam/completed_by", "event/event", "status/state",
            "view/remarks/items", "drift/not_assessed_rate/propertyNames"} <= said  # fmt: skip


def test_new_codes_are_named():
    """What a subscriber will hear for the first time stands in the verdict."""
    document = changed(lambda d: schema(d, "Reason")["enum"].append("a_code_of_tomorrow"), "1.1")
    said = {each.where: each.what for each in compare(RELEASED, document).differences}
    assert said["exam/reasons/items"] == "new codes: a_code_of_tomorrow"


def test_words_for_people_are_no_difference():
    """Descriptions, examples and the order of fields may change at any time."""
    document = copy.deepcopy(RELEASED)
    schema(document, "ExamMessage")["description"] = "other words"
    field(document, "ExamMessage", "final").pop("description", None)
    fields = schema(document, "ExamMessage")["properties"]
    schema(document, "ExamMessage")["properties"] = dict(reversed(fields.items()))
    verdict = compare(RELEASED, document)
    assert (verdict.differences, verdict.fault) == ((), "")


def test_a_version_must_not_go_back():
    """The same document under a lower version is refused."""
    assert "below" in compare(changed(lambda _d: None, "1.1"), RELEASED).fault


def test_the_command_names_each_difference(tmp_path, capsys):
    """`asyncapi --against`: a line for each, exit code 1 where the version had to be raised."""
    old = tmp_path / "old.json"
    old.write_text(json.dumps(RELEASED))
    assert main(["asyncapi", "--against", str(old)]) == 0
    old.write_text(json.dumps(changed(lambda d: field_added(d, "ExamMessage", "gone"), "1.0")))
    assert main(["asyncapi", "--against", str(old)]) == 1
    assert "breaking: exam/gone: field removed or renamed" in capsys.readouterr().out
    old.write_text("{}")
    assert main(["asyncapi", "--against", str(old)]) == 2
    assert "asyncapi --json" in capsys.readouterr().err
